from pathlib import Path

import anyio
import pytest

from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway
from tests.projections.conftest import DEADLINE_S

PROJECTIONS = "/api/ops/projections"


async def test_the_generation_and_its_progress_are_shown(gateway: Gateway, tmp_path: Path) -> None:
    end = (await gateway.upload()).json()["position"]
    await gateway.get("/api/photos", after=end)

    answer = await gateway.get(PROJECTIONS, name="auditor")

    live = Generations(tmp_path / "read-model").current()
    assert live is not None
    found = answer.json()
    (generation,) = found.pop("generations")
    assert (generation["name"], generation["live"]) == (live.name, True)
    assert generation["sizeBytes"] == live.stat().st_size
    assert found == {
        "generation": live.name,
        "partitions": [{"partition": 0, "checkpoint": end, "end": end, "lagMs": 0}],
    }


async def test_clients_may_not_see_it(gateway: Gateway) -> None:
    answer = await gateway.get(PROJECTIONS, name="alice")

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_an_operator_has_them_rebuilt(gateway: Gateway, tmp_path: Path) -> None:
    await gateway.upload()
    generations = Generations(tmp_path / "read-model")
    old = generations.current()

    path = f"{PROJECTIONS}/rebuild"
    answer = await gateway.client.post(
        path, headers=gateway.bearer("operator"), json={"reason": "a new disk"}
    )
    refused = await gateway.client.post(path, headers=gateway.bearer("auditor"))

    assert answer.status_code == 202
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    with anyio.fail_after(DEADLINE_S):
        while generations.current() == old:
            await anyio.sleep(0.01)
    after = answer.headers["X-Log-Position"]
    audit = await gateway.get("/api/audit", name="auditor", after=after)
    assert audit.json()["items"][0]["what"] == "projections.rebuild.requested"


class TestWithoutProjector:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_missing_read_model_is_unavailable(self, gateway: Gateway) -> None:
        answer = await gateway.get(PROJECTIONS, name="operator")

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
