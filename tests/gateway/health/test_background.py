"""A long-running task fails: readers miss nothing, and health reports it."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from gateway.http.limits import Limits
from gateway.rooms.hub import Hub
from store.queue import liveness
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from tests.gateway.conftest import DEADLINE_S, Gateway, until
from tests.gateway.listeners import following, positions, record

LIMITS = Limits(degraded_load=1e6, degraded_memory_percent=100, min_free_bytes=0)


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@contextmanager
def broken_history(folder: Path) -> Generator[None]:
    """Give the read model an unknown schema, so that every query of the hub fails in SQLite."""

    def rename(old: str, new: str) -> None:
        path = Generations(folder).current()
        assert path is not None
        with closing(open_writer(path)) as db:
            db.execute(f"ALTER TABLE history RENAME COLUMN {old} TO {new}")

    rename("body", "corpse")
    try:
        yield
    finally:
        rename("corpse", "body")


async def checks(gateway: Gateway, path: str = "/health") -> tuple[int, dict[str, dict[str, str]]]:
    answer = await gateway.client.get(path)
    return answer.status_code, answer.json()["checks"]


async def test_readers_of_a_hub_that_failed_resume_without_gap_or_duplicate(
    gateway: Gateway, tmp_path: Path
) -> None:
    received: list[str] = []
    async with following(gateway) as stream:
        await record(gateway.log, 20)
        received += [frame.id for frame in await stream.take(20)]
        with broken_history(tmp_path / "read-model"):
            assert await stream.next() is None  # it ends cleanly
            assert gateway.deps.background.failures["hub"] >= 1

            status, found = await checks(gateway, "/health/ready")

            assert (status, found["rooms"]["status"]) == (503, "down")
    await record(gateway.log, 20)
    async with following(gateway, header=received[-1]) as stream:
        assert stream.ready.data["recovered"] is True
        await record(gateway.log, 20)
        received += [frame.id for frame in await stream.take(40)]

    assert received == await positions(gateway.log)
    status, found = await checks(gateway)
    assert (status, found["rooms"]["status"]) == (200, "degraded")
    assert found["background"]["reason"] == "failed recently: hub (gateway)"
    metrics = (await gateway.client.get("/metrics")).text
    assert 'photolog_background_failures_total{task="hub"}' in metrics


async def test_a_client_that_connects_while_the_hub_restarts_waits(
    gateway: Gateway, tmp_path: Path
) -> None:
    entered = anyio.Event()

    async def follow() -> None:
        async with following(gateway):
            entered.set()

    await record(gateway.log, 3)
    async with anyio.create_task_group() as tasks:
        with broken_history(tmp_path / "read-model"):
            await until(lambda: gateway.deps.background.failures["hub"] > 0, "the hub fails")
            tasks.start_soon(follow)
            await gateway.client.get("/health/live")
            assert not entered.is_set()

        with anyio.fail_after(DEADLINE_S):
            await entered.wait()


async def test_failures_of_other_processes_are_reported_for_a_while(gateway: Gateway) -> None:
    await liveness.report_failing(gateway.log, "worker-1:12345678", ["claims", "timers"])

    _, found = await checks(gateway)

    assert found["background"] == {
        "status": "degraded",
        "reason": "failed recently: claims (worker-1), timers (worker-1)",
    }
    assert await liveness.failing(gateway.log, within_ms=-1) == []
    _, found = await checks(gateway)
    assert found["background"] == {"status": "ok"}


async def test_a_check_that_fails_unexpectedly_is_down_and_the_others_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.health.host_load.load_per_processor", lambda: 1 / 0)

    status, found = await checks(gateway)

    assert status == 503
    assert found["systemResources"] == {"status": "down", "reason": "cannot be checked"}
    assert found["redis"]["status"] == "ok"
    assert "health check" in gateway.deps.background.failing


async def test_a_hub_that_keeps_failing_ends_the_process(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.background.LONGEST_PAUSE_S", 0.01)
    hub = Hub(gateway.log, gateway.deps.reader, LIMITS, gateway.deps.background)

    async def run() -> None:
        async with hub.running():
            await anyio.sleep_forever()

    with (
        broken_history(tmp_path / "read-model"),
        anyio.fail_after(DEADLINE_S),
        pytest.raises(ExceptionGroup),
    ):
        await run()

    assert gateway.deps.background.gave_up is not None
