"""A worker with real decoders: pipelines, failures, takeovers and shutdown."""

from typing import Any, cast

import anyio
import msgspec
import pytest

from domain.photo.commands import DeletePhoto
from domain.pipeline.failures import Category
from domain.pipeline.retries import STRATEGIES
from domain.pipeline.stages import PIPELINES
from handlers.decoder.pool import DecoderPool
from handlers.stage import Output
from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from store.blobs import damaged
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.queue.dispatch import DISPATCH
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT, home, one_and_three
from tests.handlers.workers import (
    DEADLINE_S,
    Frozen,
    Scripted,
    Working,
    data_of,
    history,
    types_when_ended,
    uploaded,
)
from tests.system.checker import Findings, Redis, examine
from tests.system.photos import jpeg
from tests.system.stored import Folder


async def test_a_worker_that_was_busy_is_woken_by_the_next_task(
    log: Log, blobs: FolderBlobs, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but a wake-up helps.
    monkeypatch.setattr("handlers.worker.task_source.WAIT_MS", 3_600_000)

    async with working(pool=Scripted()):
        with anyio.fail_after(DEADLINE_S):
            for number in range(10):
                command = await uploaded(log, blobs, b"%d" % number)
                types = await types_when_ended(log, command.photo_id)

                assert types[-1] == "photo.processing.completed"


async def _none(*_: object, **__: object) -> list[Any]:
    return []


async def _deliveries(redis: Any, key: str) -> int:
    pending = await redis.xpending_range(key, "validation", "-", "+", 1)
    return pending[0]["times_delivered"] if pending else 0


async def _delivered_again(redis: Any, key: str) -> None:
    """Wait until something ends the idle time of the pending task."""
    idle_ms = 0
    while True:
        [pending] = await redis.xpending_range(key, "validation", "-", "+", 1)
        if pending["time_since_delivered"] < idle_ms:
            return
        idle_ms = pending["time_since_delivered"]
        await anyio.sleep(0.01)


class Held(Scripted):
    """A pool that holds every stage until ``go_on``."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go_on = anyio.Event(), anyio.Event()

    async def run(self, *, stage: str, affinity: str, **options: object) -> Output:
        self.began.set()
        await self.go_on.wait()
        return await super().run(stage=stage, affinity=affinity, **options)


@pytest.mark.parametrize("how", ["as a new one", "as an abandoned one"])
async def test_a_task_that_is_delivered_again_to_the_worker_that_holds_it_runs_once_and_is_not_lost(
    log: Log,
    blobs: FolderBlobs,
    working: Working,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis: Any = log.redis
    pool = Held()
    monkeypatch.setattr("handlers.worker.task_source.WAIT_MS", 50)
    patient = WorkerSettings(stalled_after_s=0.4 if how == "as an abandoned one" else 30.0)
    async with working(pool=pool, settings=patient) as worker:
        command = await uploaded(log, blobs, b"one")
        partition = home(log, "alice")
        with anyio.fail_after(DEADLINE_S):
            await pool.began.wait()
            key = log.keys.lane(partition, "validation", "normal")
            if how == "as a new one":  # the failover lost its delivery
                monkeypatch.setattr(Lanes, "abandoned", _none)
                await redis.xgroup_destroy(key, "validation")
                await redis.xgroup_create(key, "validation", id="0")
                while not await _deliveries(redis, key):
                    await anyio.sleep(0.01)
            else:
                monkeypatch.setattr(Lanes, "refresh", _none)
                await _delivered_again(redis, key)
            assert worker.in_hand == 1
            pool.go_on.set()
            types = await types_when_ended(log, command.photo_id)
            while worker.in_hand:
                await anyio.sleep(0.01)

    assert types[-1] == "photo.processing.completed"
    assert [stage for stage, _ in pool.ran].count("validation") == 1


@one_and_three
async def test_a_photo_goes_through_all_its_stages(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one", (800, 600)))

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types[:2] == ["photo.uploaded", "photo.processing.started"]
    assert types.count("photo.thumbnail.generated") == 3
    assert types.count("photo.processing.stage.completed") == len(PIPELINES["full_processing"])
    assert types[-1] == "photo.processing.completed"
    found = await checked(log, blobs)
    assert (found.problems, found.stray) == ([], [])


async def test_a_short_pipeline_runs_only_its_own_stages(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types.count("photo.processing.stage.completed") == 2


async def test_the_metadata_stage_knows_the_name_of_the_file(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), filename="IMG_20240131_120000.jpg")

    async with working():
        await types_when_ended(log, command.photo_id)

    completed = await data_of(log, command.photo_id, "photo.processing.stage.completed")
    (result,) = [each["result"] for each in completed if each["stage"] == "metadata"]
    assert (result["takenAt"], result["takenAtSource"]) == ("2024-01-31T12:00:00", "filename")


async def test_events_without_tasks_are_acknowledged(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"), "quick_processing")

    async with working():
        await types_when_ended(log, command.photo_id)
        with anyio.fail_after(DEADLINE_S):
            while (await log.redis.xpending(log.keys.log(0), DISPATCH))["pending"]:
                await anyio.sleep(0.02)


async def test_every_event_of_a_stage_names_its_cause_and_trace(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))

    async with working():
        await types_when_ended(log, command.photo_id)

    events = await history(log, command.photo_id)
    positions = {str(each.position) for each in events}
    for each in events[1:]:
        assert each.event.metadata.cause in positions
        assert each.event.metadata.trace_id == CONTEXT.trace_id
        assert each.event.metadata.actor.startswith("stage:")


async def test_a_file_that_is_no_picture_fails_with_its_reason_and_keeps_its_original(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, b"\xff\xd8\xff\xe0 not a picture")

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types[-2:] == ["photo.processing.stage.failed", "photo.processing.failed"]
    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["category"], failed["stage"]) == ("data", "validation")
    assert failed["code"] == "unreadable-image"
    assert await blobs.size(command.key) == command.file_size


async def test_one_bad_photo_does_not_stop_the_next(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    await uploaded(log, blobs, b"\xff\xd8\xff\xe0 bad")
    good = await uploaded(log, blobs, jpeg("good"))

    async with working():
        types = await types_when_ended(log, good.photo_id)

    assert types[-1] == "photo.processing.completed"


async def test_a_missing_original_fails_with_that_reason(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    await blobs.delete(command.key)

    async with working():
        await types_when_ended(log, command.photo_id)

    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert failed["code"] == "blob-missing"
    (noted,) = await damaged.noted(log)
    assert (noted.key, noted.damage, noted.name) == (command.key, "missing", "original")


@pytest.mark.parametrize("harm", ["another picture", "half"])
async def test_an_altered_original_makes_no_renditions(
    log: Log, blobs: FolderBlobs, working: Working, harm: str
) -> None:
    data = jpeg("one")
    command = await uploaded(log, blobs, data)
    await blobs.put(
        command.key, jpeg("two") if harm == "another picture" else data[: len(data) // 2]
    )

    async with working():
        types = await types_when_ended(log, command.photo_id)

    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["code"], failed["category"]) == ("blob-damaged", "data")
    (noted,) = await damaged.noted(log)
    assert (noted.key, noted.damage, noted.sha256) == (command.key, "altered", command.sha256)
    assert "photo.processing.stage.completed" not in types


async def test_a_file_that_takes_too_long_holds_a_decoder_twice_and_no_more(
    log: Log, blobs: FolderBlobs
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    at_once = msgspec.structs.replace(STRATEGIES[Category.RESOURCE], base_s=0.0)
    table = "tests.handlers.failing_stages:TABLE_THAT_HANGS"
    async with DecoderPool(count=1, registry=table) as children, anyio.create_task_group() as tasks:
        worker = Worker(
            *(log, blobs, children),
            consumer="one",
            settings=WorkerSettings(stage_timeout_s=0.2),
            strategies=STRATEGIES | {Category.RESOURCE: at_once},
        )
        tasks.start_soon(worker.run)
        await types_when_ended(log, command.photo_id)
        worker.stop()

    types = [each.event.type for each in await history(log, command.photo_id)]
    assert types.count("photo.processing.stage.failed") == 2
    assert types[-1] == "photo.processing.failed"
    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["code"], failed["attempts"]) == ("decode-timeout", 2)


@one_and_three
async def test_deleting_a_photo_removes_its_files(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))

    async with working():
        await types_when_ended(log, command.photo_id)
        delete = DeletePhoto(photo_id=command.photo_id)
        await log.execute(delete, client_id="alice", context=CONTEXT)
        types = await types_when_ended(log, command.photo_id, ("photo.erased",))

    assert types[-2:] == ["photo.deleted", "photo.erased"]
    assert await blobs.keys("") == []


async def test_a_photo_deleted_before_its_turn_is_erased_and_not_processed(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    delete = DeletePhoto(photo_id=command.photo_id)
    await log.execute(delete, client_id="alice", context=CONTEXT)

    async with working():
        types = await types_when_ended(log, command.photo_id)

    assert types == ["photo.uploaded", "photo.deleted", "photo.erased"]
    assert await blobs.keys("") == []


@one_and_three
async def test_a_restarted_worker_takes_over_what_the_dead_one_held(
    log: Log, blobs: FolderBlobs, working: Working, children: DecoderPool
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(10)]
    async with anyio.create_task_group() as tasks:
        worker = Worker(log, blobs, children, consumer="host:1:aaaa")
        tasks.start_soon(worker.run)
        await types_when_ended(log, photos[0].photo_id, ("photo.processing.stage.completed",))
        tasks.cancel_scope.cancel()  # like a kill: nothing is handed back

    async with working("host:1:bbbb", dead="host:1:"):
        for photo in photos:
            assert "photo.processing.completed" in await types_when_ended(log, photo.photo_id)

    found = await checked(log, blobs)
    assert (found.problems, found.stray) == ([], [])


async def checked(log: Log, blobs: FolderBlobs) -> Findings:
    return await examine(cast("Redis", log.redis), log.keys.prefix, Folder(blobs.root))


@one_and_three
async def test_many_workers_count_each_result_once(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(12)]

    async with working("one"), working("two"), working("three"):
        for photo in photos:
            await types_when_ended(log, photo.photo_id)

    found = await checked(log, blobs)
    assert (found.problems, found.stray) == ([], [])
    assert len(found.completed) == len(photos)


@one_and_three
async def test_a_stopped_worker_finishes_what_it_holds(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photos = [await uploaded(log, blobs, jpeg(f"{n}")) for n in range(6)]

    async with working():
        await types_when_ended(log, photos[0].photo_id, ("photo.processing.started",))

    pending = 0
    for key, stage in log.keys.lanes(home(log), tuple(PIPELINES["full_processing"])):
        summary = await log.redis.xpending(key, stage)
        pending += summary["pending"]
    assert pending == 0


async def test_a_task_that_stalls_too_often_fails_its_photo(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    command = await uploaded(log, blobs, jpeg("one"))
    quick = WorkerSettings(stalled_after_s=0.1, max_stalls=1)
    async with anyio.create_task_group() as tasks:
        worker = Worker(log, blobs, Frozen(), consumer="frozen")  # type: ignore[arg-type]
        tasks.start_soon(worker.run)
        await types_when_ended(log, command.photo_id, ("photo.processing.started",))
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        frozen = Frozen()
        worker = Worker(log, blobs, frozen, consumer="frozen-too", settings=quick)  # type: ignore[arg-type]
        tasks.start_soon(worker.run)
        with anyio.fail_after(DEADLINE_S):
            await frozen.began.wait()
        tasks.cancel_scope.cancel()

    async with working("heir", settings=quick):
        await types_when_ended(log, command.photo_id)

    failed = msgspec.msgpack.decode((await history(log, command.photo_id))[-1].body)["data"]
    assert (failed["category"], failed["code"]) == ("resource", "stalled")
