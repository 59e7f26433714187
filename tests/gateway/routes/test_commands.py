import pytest

from gateway.commands import position_header
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client
from tests.gateway.conftest import Gateway


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    return await Log.open(redis, partitions=2, prefix=prefix)


def test_the_header_has_the_last_position_of_each_partition() -> None:
    positions = [Position(1, 5, 0), None, Position(0, 7, 0), Position(1, 9, 0), Position(1, 8, 0)]

    assert position_header(*positions) == {"X-Log-Position": "1:9-0,0:7-0"}
    assert position_header(None) == {}


async def test_a_query_can_wait_for_several_positions(gateway: Gateway) -> None:
    ends = [(await gateway.upload(name=name)).json()["position"] for name in ("alice", "bob")]
    assert {end[0] for end in ends} == {"0", "1"}

    answer = await gateway.get("/api/photos", name="operator", after=",".join(ends))

    assert len(answer.json()["items"]) == 2


@pytest.mark.parametrize("after", ["0:1-0,", ",", "0:1-0,now"])
async def test_an_invalid_position_is_rejected(gateway: Gateway, after: str) -> None:
    answer = await gateway.get("/api/photos", after=after)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position")


@pytest.mark.parametrize("after", ["0:1-0", "0:0-0,99:0-0"])
@pytest.mark.parametrize("name", ["alice", "operator"])
async def test_a_position_missing_from_the_log_is_rejected(
    gateway: Gateway, after: str, name: str
) -> None:
    answer = await gateway.get("/api/photos", after=after, name=name)

    assert (answer.status_code, answer.json()["code"]) == (409, "unknown-position")
