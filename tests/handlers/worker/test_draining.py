"""A drained stage becomes idle: with several workers, during a claim, and after a crash."""

from typing import Any

import anyio
import pytest

from domain.pipeline.control import PauseStage, ResumeStage
from domain.pipeline.stages import ROOT, all_stages
from handlers.stage import Output
from handlers.worker.partitions import Partitions
from handlers.worker.stage_limits import StageLimits
from handlers.worker.worker import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.control import ControlLog
from store.log.log import Log
from store.queue.drain import Rest, inspect_rest
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT
from tests.handlers.worker.test_steering import until_waiting
from tests.handlers.workers import DEADLINE_S, Scripted, Working, types_when_ended, uploaded
from tests.system.photos import jpeg

STAGES = all_stages()
ALIVE_MS = 60_000
LOOK_S = 0.05


class Held(Scripted):
    """A pool whose stages end when they may ``go_on``."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go_on = anyio.Event(), anyio.Event()

    async def run(self, *, stage: str, affinity: str, **options: object) -> Output:
        self.began.set()
        await self.go_on.wait()
        return await super().run(stage=stage, affinity=affinity, **options)


async def pause(log: Log, stage: str | None) -> None:
    await ControlLog(log).execute(PauseStage(stage=stage), CONTEXT)


async def rest(log: Log, alive_ms: int = ALIVE_MS) -> Rest:
    return await inspect_rest(log, await ControlLog(log).load(), alive_ms)


async def until_idle(log: Log, *, alive_ms: int = ALIVE_MS) -> Rest:
    with anyio.fail_after(DEADLINE_S):
        while not (found := await rest(log, alive_ms)).is_idle(STAGES):
            await anyio.sleep(LOOK_S)
    return found


async def until_followed(log: Log) -> None:
    """Wait until every worker follows the controls as they are."""
    with anyio.fail_after(DEADLINE_S):
        while (await rest(log)).unaware:
            await anyio.sleep(LOOK_S)


def waiting(found: Rest) -> int:
    return sum(each.waiting for each in found.queues.stages)


async def test_stages_are_idle_once_every_worker_has_ended_its_tasks(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(2)]
    pools = [Held(), Held()]
    one_each = WorkerSettings(concurrency=1)

    async with (
        working("one", pool=pools[0], settings=one_each),
        working("two", pool=pools[1], settings=one_each),
    ):
        for pool in pools:
            with anyio.fail_after(DEADLINE_S):
                await pool.began.wait()
        await pause(log, None)
        await until_followed(log)
        both = await rest(log)
        pools[0].go_on.set()
        with anyio.fail_after(DEADLINE_S):
            while (one := await rest(log)).running(STAGES) == 2:
                await anyio.sleep(LOOK_S)
        pools[1].go_on.set()
        done = await until_idle(log)
        await ControlLog(log).execute(ResumeStage(stage=None), CONTEXT)
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    assert (both.running(STAGES), both.is_idle(STAGES)) == (2, False)
    assert {each.name for each in both.workers(STAGES)} == {"one", "two"}
    assert not one.is_idle(STAGES)
    assert (done.running(STAGES), waiting(done)) == (0, 6)  # what follows the validations


async def test_a_stage_is_not_idle_while_a_worker_may_not_know_of_the_pause(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working("one", pool=Scripted()):
        await until_followed(log)
        load = StageLimits.load
        looks, may_look = anyio.Event(), anyio.Event()

        async def later(limits: StageLimits) -> bool:
            looks.set()
            await may_look.wait()
            return await load(limits)

        monkeypatch.setattr(StageLimits, "load", later)
        with anyio.fail_after(DEADLINE_S):
            await looks.wait()
        await pause(log, None)
        before = await rest(log)
        may_look.set()
        await until_idle(log)

    assert (before.running(STAGES), before.unaware) == (0, ["one"])
    assert not before.is_idle(STAGES)


async def test_a_task_that_a_claim_brings_after_the_pause_is_put_back(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, claim = Scripted(), Partitions.claim
    brought: list[str] = []

    async def late(partitions: Partitions, *bounds: Any) -> Any:
        found = await claim(partitions, *bounds)
        if found and not brought:
            brought.extend(claimed.task.stage for _, claimed in found)
            await pause(log, None)
            await until_followed(log)
        return found

    monkeypatch.setattr(Partitions, "claim", late)
    await uploaded(log, blobs, jpeg("one"))

    async with working("one", pool=pool):
        with anyio.fail_after(DEADLINE_S):
            while not brought:
                await anyio.sleep(LOOK_S)
        found = await until_idle(log)

    assert (pool.ran, brought, waiting(found)) == ([], ["validation"], 1)


async def test_tasks_of_a_dead_worker_are_put_back_while_all_stages_are_paused(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted()
    await pause(log, None)
    await uploaded(log, blobs, jpeg("one"))

    async with working("one", pool=pool):
        await until_waiting(log, 1)
    dead = Lanes(log, "dead", STAGES)
    await dead.prepare(0)
    (claimed,) = await dead.claim(0, 1)
    held = await rest(log)
    async with working("two", pool=pool, settings=WorkerSettings(stalled_after_s=0.2)):
        found = await until_idle(log, alive_ms=1_000)

    assert claimed.task.stage == "validation"
    assert not held.is_idle(STAGES)
    assert (pool.ran, waiting(found)) == ([], 1)


class HeldLater(Held):
    """As ``Held``, after the validation."""

    async def run(self, *, stage: str, affinity: str, **options: object) -> Output:
        if stage != ROOT:
            return await super().run(stage=stage, affinity=affinity, **options)
        return await Scripted.run(self, stage=stage, affinity=affinity, **options)


async def test_a_stopping_worker_puts_back_what_it_has_not_begun(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = HeldLater()
    await uploaded(log, blobs, jpeg("one"))
    other = Lanes(log, "two", STAGES)

    async with working(pool=pool, settings=WorkerSettings(concurrency=1)) as worker:
        with anyio.fail_after(DEADLINE_S):
            await pool.began.wait()
            assert await other.claim(0, 3) == []
            worker.stop()
            found = await other.claim(0, 3)
            while len(found) < 2:
                await anyio.sleep(LOOK_S)
                found += await other.claim(0, 3)
        in_hand = worker.in_hand
        pool.go_on.set()

    assert sorted(each.task.stage for each in found) == ["optimization", "thumbnails"]
    assert in_hand == 1
