"""Operators' controls take effect on running workers, and persist."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from domain.photo.commands import DeletePhoto, UploadPhoto
from domain.pipeline.control import ControlCommand, LimitStage, PauseStage, ResumeStage
from domain.pipeline.control_events import Limit, Rate, StageResumed
from domain.pipeline.stages import ERASURE, PIPELINES, TREE
from handlers import registry
from handlers.decoder.pool import DecoderPool
from handlers.registry import Stage
from handlers.stage import Output
from handlers.worker.dispatcher import Dispatcher
from handlers.worker.settings import WorkerSettings
from handlers.worker.stage_limits import StageLimits
from handlers.worker.task_source import URGENT_LOOK_S
from handlers.worker.worker import Worker
from store.blobs.folder import FolderBlobs
from store.errors import Full
from store.log.control import ControlLog
from store.log.log import Log
from store.queue import liveness
from store.queue.lanes import Claimed, Lanes
from store.queue.rates import Rates
from tests.conftest import CONTEXT
from tests.handlers.failing_stages import Seen, look
from tests.handlers.workers import (
    DEADLINE_S,
    Scripted,
    Working,
    data_of,
    types_when_ended,
    uploaded,
)
from tests.store.waiting import NEVER_IDLE_MS
from tests.system.photos import jpeg


async def steer(log: Log, command: ControlCommand) -> None:
    await ControlLog(log).execute(command, CONTEXT)


async def test_a_paused_stage_does_not_run_until_it_is_resumed(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted()
    await steer(log, PauseStage(stage="metadata"))
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool):
        await until_done(log, command.photo_id, {"validation", "thumbnails", "optimization"})
        assert "metadata" not in {stage for stage, _ in pool.ran}
        await steer(log, ResumeStage(stage="metadata"))
        types = await types_when_ended(log, command.photo_id)

    assert types[-1] == "photo.processing.completed"


@pytest.mark.parametrize(
    "limit", [Limit(concurrency=1), Limit(rate=Rate(max=1_000))], ids=["concurrency", "rate"]
)
async def test_tasks_of_a_limited_stage_go_through_its_lanes(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch, limit: Limit
) -> None:
    claim, claimed = Lanes.claim, list[str]()

    async def noted(lanes: Lanes, *args: Any) -> list[Claimed]:
        found = await claim(lanes, *args)
        claimed.extend(each.task.stage for each in found)
        return found

    monkeypatch.setattr(Lanes, "claim", noted)
    await steer(log, LimitStage(stage="metadata", limit=limit))
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=Scripted()):
        await types_when_ended(log, command.photo_id)

    assert "metadata" in claimed
    assert "thumbnails" not in claimed


class Holding(Scripted):
    """A pool that holds the stage ``metadata`` until ``let_go``."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = anyio.Event()

    async def run(self, *, stage: str, affinity: str, **rest: object) -> Output:
        if stage == "metadata":
            await self.let_go.wait()
        return await super().run(stage=stage, affinity=affinity, **rest)


async def test_a_kept_task_obeys_a_rate_that_is_set_while_it_waits(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool, rate = Holding(), Rate(max=1, duration_ms=3_600_000)
    await Rates(log).take("optimization", rate)
    command = await uploaded(log, blobs, jpeg("one"))

    async with working(pool=pool, settings=WorkerSettings(concurrency=1)):
        await until_done(log, command.photo_id, {"validation"})
        await steer(log, LimitStage(stage="optimization", limit=Limit(rate=rate)))
        version = (await ControlLog(log).load()).version
        with anyio.fail_after(DEADLINE_S):
            while await liveness.unaware(log, version, NEVER_IDLE_MS):
                await anyio.sleep(0.01)
        pool.let_go.set()
        # It is the last one of the tree, and comes after all that were kept before.
        await until_done(log, command.photo_id, {"metadata", "thumbnails", "placeholder"})
        before = [stage for stage, _ in pool.ran]
        await steer(log, LimitStage(stage="optimization", limit=Limit()))
        types = await types_when_ended(log, command.photo_id)

    assert "optimization" not in before
    assert types[-1] == "photo.processing.completed"


async def test_a_pause_that_ends_by_itself_ends_though_every_worker_was_restarted(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1)
    early = datetime.now(UTC) - timedelta(hours=1)
    await steer(log, PauseStage(stage="metadata", now=early, until=until))
    command = await uploaded(log, blobs, jpeg("one"))
    async with working(pool=Scripted()):
        await until_done(log, command.photo_id, {"validation"})

    async with working(pool=Scripted()):
        types = await types_when_ended(log, command.photo_id)

    assert types[-1] == "photo.processing.completed"
    resumed = [
        (each.event.data.ended, each.event.metadata.actor, each.event.timestamp)
        async for each in log.scan(0)
        if isinstance(each.event.data, StageResumed)
    ]
    assert [(ended, actor) for ended, actor, _ in resumed] == [(True, "worker")]
    assert datetime.fromisoformat(resumed[0][2]) >= until - timedelta(milliseconds=1)


async def test_a_starting_worker_knows_the_paused_stages_before_its_first_task(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted()
    await steer(log, PauseStage(stage="validation"))
    waiting = await uploaded(log, blobs, jpeg("one"))
    unwanted = await uploaded(log, blobs, jpeg("two"))
    await log.execute(DeletePhoto(photo_id=unwanted.photo_id), client_id="alice", context=CONTEXT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Dispatcher(log, consumer="x", dead=None, stalled_after_s=30).run)
        await until_waiting(log, 1)
        await until_waiting(log, 1, ERASURE)
        tasks.cancel_scope.cancel()

    async with working(pool=pool):
        # A worker takes erasures last.
        await types_when_ended(log, unwanted.photo_id, ("photo.erased",))
        assert pool.ran == []
        await steer(log, ResumeStage(stage="validation"))
        await types_when_ended(log, waiting.photo_id)


async def until_done(log: Log, photo_id: str, stages: set[str]) -> None:
    """Wait until at least these stages are completed."""
    position = await log.end(0)
    with anyio.fail_after(DEADLINE_S):
        while True:
            done = await data_of(log, photo_id, "photo.processing.stage.completed")
            if stages <= {each["stage"] for each in done}:
                return
            seen = await log.read(position, block_ms=1_000)
            position = seen[-1].position if seen else position


async def test_a_running_worker_obeys_a_new_concurrency(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted()
    await steer(log, LimitStage(stage=None, limit=Limit(concurrency=1)))
    photos = [await uploaded(log, blobs, jpeg(f"{n}"), "quick_processing") for n in range(6)]

    async with working(pool=pool, settings=WorkerSettings(concurrency=6)):
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    assert pool.most_at_once == 1


async def test_a_rate_is_shared_by_all_workers(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, refused = [Scripted(), Scripted()], set[int]()
    take = StageLimits.take

    async def observed(limits: StageLimits, stages: Collection[str]) -> dict[str, Rate | None]:
        tokens = await take(limits, stages)
        if limits.wait_s is not None:
            refused.add(id(limits))
        return tokens

    def begun() -> list[str]:
        return [photo for pool in pools for stage, photo in pool.ran if stage == "validation"]

    monkeypatch.setattr(StageLimits, "take", observed)
    await steer(log, limited(Rate(max=2, duration_ms=3_600_000)))
    photos = [await uploaded(log, blobs, jpeg(f"{n}"), "quick_processing") for n in range(6)]

    async with working("one", pool=pools[0]), working("two", pool=pools[1]):
        with anyio.fail_after(DEADLINE_S):
            while len(begun()) < 2:
                await anyio.sleep(0.01)
            refused.clear()
            while len(refused) < len(pools):
                await anyio.sleep(0.01)
        before = begun()
        await steer(log, limited(Rate(max=2, duration_ms=400)))
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    assert len(before) == 2


def limited(rate: Rate) -> LimitStage:
    return LimitStage(stage="validation", limit=Limit(rate=rate))


async def test_a_full_disk_does_not_keep_a_deletion_from_freeing_it(
    log: Log, blobs: FolderBlobs, children: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(3)]
    unwanted = await uploaded(log, blobs, jpeg("unwanted"))
    put = blobs.put

    async def refuse(key: str, data: bytes) -> None:
        raise Full("the disk of the blobs is full")

    monkeypatch.setattr(blobs, "put", refuse)
    worker = Worker(log, blobs, children, consumer="one", settings=WorkerSettings(concurrency=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until_done(log, stuck[0].photo_id, {"validation"})

        delete = DeletePhoto(photo_id=unwanted.photo_id)
        await log.execute(delete, client_id="alice", context=CONTEXT)
        await types_when_ended(log, unwanted.photo_id, ("photo.erased",))

        monkeypatch.setattr(blobs, "put", put)  # as if the erasure had freed enough
        for photo in stuck:
            assert (await types_when_ended(log, photo.photo_id))[-1] == "photo.processing.completed"
        worker.stop()


async def test_an_urgent_photo_does_not_wait_for_earlier_bulk(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    pool = Scripted()
    bulk = [
        await uploaded(log, blobs, jpeg(f"{n}"), "quick_processing", priority=9) for n in range(40)
    ]
    urgent = await uploaded(log, blobs, jpeg("urgent"), "quick_processing", priority=1)

    async with working(pool=pool, settings=WorkerSettings(concurrency=1)):
        await types_when_ended(log, urgent.photo_id)
        ended = [photo for stage, photo in pool.ran if stage == "thumbnails"]
        for photo in bulk:
            await types_when_ended(log, photo.photo_id)

    # It is planned among the others; after that, only the low lanes' share comes before it.
    assert urgent.photo_id in ended
    assert len(ended) < 10


async def test_an_urgent_photo_does_not_wait_for_kept_tasks_of_one_in_progress(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    begun = await uploaded(log, blobs, jpeg("begun"))
    urgent: list[UploadPhoto] = []

    class Interrupted(Scripted):
        async def run(self, *, stage: str, affinity: str, **rest: object) -> Output:
            if stage == "metadata" and not urgent:
                urgent.append(await uploaded(log, blobs, jpeg("urgent"), priority=1))
                await until_waiting(log, 1, lane="high")
                await anyio.sleep(URGENT_LOOK_S)
            return await super().run(stage=stage, affinity=affinity, **rest)

    pool = Interrupted()
    async with working(pool=pool, settings=WorkerSettings(concurrency=1)):
        await types_when_ended(log, begun.photo_id)

    assert pool.ran[:2] == [("validation", begun.photo_id), ("metadata", begun.photo_id)]
    assert pool.ran[2] == ("validation", urgent[0].photo_id)


async def test_a_new_stage_needs_an_entry_in_the_tree_and_a_function(
    log: Log, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TREE, "look", "validation")
    monkeypatch.setitem(PIPELINES, "full_processing", PIPELINES["full_processing"] | {"look"})
    stages = {**registry.STAGES, "look": Stage(result=Seen, run=look)}
    command = await uploaded(log, blobs, jpeg("one", (80, 60)))

    async with DecoderPool(count=1, registry="tests.handlers.failing_stages:TABLE") as pool:
        worker = Worker(log, blobs, pool, consumer="one", stages=stages)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await types_when_ended(log, command.photo_id, ("photo.processing.completed",))
            worker.stop()

    done = await data_of(log, command.photo_id, "photo.processing.stage.completed")
    assert {each["stage"]: each["result"] for each in done}["look"]["width"] == 80


async def test_lanes_that_are_deleted_while_a_worker_runs_are_filled_again(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    await steer(log, PauseStage(stage=None))
    photos = [await uploaded(log, blobs, jpeg(f"{n}"), "quick_processing") for n in range(3)]

    async with working(pool=Scripted(), settings=WorkerSettings(stalled_after_s=0.4)):
        await until_waiting(log, len(photos))
        for key, _ in log.keys.lanes(0, (*TREE, ERASURE)):
            await log.redis.delete(key)
        await steer(log, ResumeStage(stage=None))

        for photo in photos:
            assert (await types_when_ended(log, photo.photo_id))[-1] == "photo.processing.completed"

    done = await data_of(log, photos[0].photo_id, "photo.processing.stage.completed")
    assert sorted(each["stage"] for each in done) == ["thumbnails", "validation"]


async def until_waiting(
    log: Log, count: int, stage: str = "validation", lane: str = "normal"
) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await log.redis.xlen(log.keys.lane(0, stage, lane)) < count:
            await anyio.sleep(0.02)
