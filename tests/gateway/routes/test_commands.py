import pytest

from gateway.commands import position_header
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client
from tests.gateway.conftest import Gateway


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    return await Log.open(redis, partitions=2, prefix=prefix)


def test_of_several_positions_the_last_of_each_partition_is_told() -> None:
    positions = [Position(1, 5, 0), None, Position(0, 7, 0), Position(1, 9, 0), Position(1, 8, 0)]

    assert position_header(*positions) == {"X-Log-Position": "1:9-0,0:7-0"}
    assert position_header(None) == {}


async def test_all_of_them_can_be_waited_for(gateway: Gateway) -> None:
    ends = [(await gateway.upload(name=name)).json()["position"] for name in ("alice", "bob")]
    assert {end[0] for end in ends} == {"0", "1"}

    answer = await gateway.get("/api/photos", name="operator", after=",".join(ends))

    assert len(answer.json()["items"]) == 2


@pytest.mark.parametrize("after", ["0:1-0,", ",", "0:1-0,now"])
async def test_one_that_is_none_is_refused(gateway: Gateway, after: str) -> None:
    answer = await gateway.get("/api/photos", after=after)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position")


@pytest.mark.parametrize("after", ["0:1-0", "0:0-0,99:0-0"])
@pytest.mark.parametrize("name", ["alice", "operator"])
async def test_one_that_the_log_does_not_have_is_refused(
    gateway: Gateway, after: str, name: str
) -> None:
    answer = await gateway.get("/api/photos", after=after, name=name)

    assert (answer.status_code, answer.json()["code"]) == (409, "unknown-position")
