"""What health reports about workers: how many there are, their sandbox, and paused stages."""

from typing import Any, get_args

import anyio
import msgspec
import pytest

from gateway.http.limits import Limits
from store.queue import decoder_outages, known_stages, liveness
from store.queue.decoder_outages import Reason
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.health.checking import EASY, employ, statuses


@pytest.mark.parametrize(
    ("missing", "status"),
    [
        (["memory-limit"], "ok"),
        (["landlock", "own-user"], "ok"),  # seccomp forbids what Landlock does
        (["landlock", "seccomp"], "degraded"),
        (["memory-limit", "no-new-privileges"], "degraded"),
    ],
)
async def test_a_missing_sandbox_layer_is_named_and_degrades_health_if_it_matters(
    gateway: Gateway, missing: list[str], status: str
) -> None:
    await employ(gateway.log)
    await liveness.report_unconfined(gateway.log, missing)

    pool = (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    assert (pool["status"], pool["decodersWithout"]) == (status, missing)
    assert ("decoder_seccomp" in pool.get("reason", "")) == (status == "degraded")


@pytest.mark.parametrize("reason", get_args(Reason))
async def test_health_says_what_to_do_while_no_worker_can_start_decoders(
    gateway: Gateway, reason: Reason
) -> None:
    await employ(gateway.log)
    await decoder_outages.report(gateway.log, "one", reason, before=None)

    pool = (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    assert (pool["status"], pool["workersWithoutDecoders"]) == ("degraded", 1)
    assert pool["reason"].startswith("no worker can start decoders, so photos wait: ")
    assert "log says why" not in pool["reason"] or reason == "ends-at-start"


async def test_health_counts_the_workers_that_cannot_start_decoders(gateway: Gateway) -> None:
    async def workers() -> dict[str, Any]:
        return (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    await employ(gateway.log, "one")
    await employ(gateway.log, "two")
    await decoder_outages.report(gateway.log, "one", "no-memory", before=None)
    assert "1 of 2 workers cannot start decoders" in (await workers())["reason"]

    await decoder_outages.report(gateway.log, "one", "no-processes", before="no-memory")
    assert "processes and threads" in (await workers())["reason"]
    assert "memory" not in (await workers())["reason"]

    await decoder_outages.report(gateway.log, "one", None, before="no-processes")
    assert await workers() == {"status": "ok", "workers": 2}


async def test_health_names_a_stage_that_no_live_worker_runs(gateway: Gateway) -> None:
    await employ(gateway.log)
    await known_stages.note_planned(gateway.log, 0, ["colour"])
    before = (await gateway.client.get("/health")).json()["checks"]["workerPool"]
    await gateway.log.redis.xadd(gateway.log.keys.lane(0, "colour", "low"), {"b": b"a task"})

    pool = (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    assert before == {"status": "ok", "workers": 1}
    assert (pool["status"], pool["unserved"]) == ("degraded", {"colour": 1})
    assert pool["reason"].startswith("no worker runs colour (1 task waits): ")


async def test_a_reason_of_a_newer_worker_is_reported_too(gateway: Gateway) -> None:
    await employ(gateway.log)
    newer: Any = "something-new"
    await decoder_outages.report(gateway.log, "one", newer, before=None)

    pool = (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    assert pool["reason"].endswith("the worker's log says why")


async def test_a_system_without_workers_is_degraded_and_not_down(gateway: Gateway) -> None:
    status_code, status, checks = await statuses(gateway)

    assert (status_code, status, checks["workerPool"]) == (200, "degraded", "degraded")
    assert (await statuses(gateway, "/health/ready"))[:2] == (200, "ok")


class TestSilentWorkers:
    @pytest.fixture
    def limits(self) -> Limits:
        return msgspec.structs.replace(EASY, stalled_after_s=0.05)

    async def test_a_silent_worker_does_not_count(self, gateway: Gateway) -> None:
        await employ(gateway.log)

        found: dict[str, Any] = {}
        with anyio.fail_after(DEADLINE_S):
            while found != {"status": "degraded", "workers": 0}:
                found = (await gateway.client.get("/health")).json()["checks"]["workerPool"]


async def test_health_names_paused_stages_and_stays_ok(gateway: Gateway) -> None:
    operator = gateway.bearer("operator")

    async def paused() -> list[str] | None:
        health = (await gateway.client.get("/health")).json()
        return health["checks"]["workerPool"].get("paused")

    assert await paused() is None
    for stage in ("thumbnails", "metadata"):
        await gateway.client.post(f"/api/ops/queues/{stage}/pause", headers=operator)
    assert await paused() == ["metadata", "thumbnails"]
    await gateway.client.post("/api/ops/queues/all/pause", headers=operator)
    assert await paused() == ["all"]
    await gateway.client.post("/api/ops/queues/all/resume", headers=operator)
    assert await paused() is None
