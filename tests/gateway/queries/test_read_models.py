from pathlib import Path

import pytest

from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway

PROJECTIONS = "/api/ops/projections"


async def test_the_generation_and_its_progress_are_shown(gateway: Gateway, tmp_path: Path) -> None:
    end = (await gateway.upload()).json()["position"]
    await gateway.get("/api/photos", after=end)

    answer = await gateway.get(PROJECTIONS, name="auditor")

    live = Generations(tmp_path / "read-model").current()
    assert live is not None
    assert answer.json() == {
        "generation": live.name,
        "partitions": [{"partition": 0, "checkpoint": end, "end": end, "lagMs": 0}],
    }


async def test_clients_may_not_see_it(gateway: Gateway) -> None:
    answer = await gateway.get(PROJECTIONS, name="alice")

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


class TestWithoutProjector:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_missing_read_model_is_unavailable(self, gateway: Gateway) -> None:
        answer = await gateway.get(PROJECTIONS, name="operator")

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
