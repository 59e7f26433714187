"""Renditions that a later job has replaced are removed after a grace time, by a separate task."""

import uuid

import anyio

from domain.photo.commands import RequestProcessing, UploadPhoto
from domain.photo.plan import plan
from domain.pipeline.stages import ERASURE
from handlers.worker.settings import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log import codec
from store.log.log import Log
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT, home
from tests.handlers.workers import DEADLINE_S, Scripted, Working, data_of, history, uploaded

REMOVED = "photo.renditions.removed"


async def process_again(log: Log, photo: UploadPhoto) -> None:
    """Request another job; the running one must have ended."""
    again = RequestProcessing(
        photo_id=photo.photo_id,
        job_id=str(uuid.uuid4()),
        pipeline="quick_processing",
        priority=5,
    )
    await log.execute(again, client_id="alice", context=CONTEXT)


async def until_recorded(log: Log, photo: UploadPhoto, kind: str, times: int = 1) -> None:
    with anyio.fail_after(DEADLINE_S):
        position = await log.end(home(log))
        while [each.event.type for each in await history(log, photo.photo_id)].count(kind) < times:
            seen = await log.read(position, block_ms=1_000)
            position = seen[-1].position if seen else position


async def thumbnail_of(log: Log, photo: UploadPhoto) -> str:
    loaded = (await log.load(photo.photo_id, "alice")).photo
    assert loaded is not None
    return loaded.keys["thumbnail-150"]


async def until_planned(log: Log) -> None:
    """Wait until the removal is in the timers."""
    with anyio.fail_after(DEADLINE_S):
        while not await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf"):
            await anyio.sleep(0.01)


async def stored(blobs: FolderBlobs) -> set[str]:
    return {blob.key for blob in await blobs.keys("")}


async def run_twice(log: Log, photo: UploadPhoto) -> tuple[str, str]:
    """Process the photo twice; return the keys of the first and second thumbnail."""
    await until_recorded(log, photo, "photo.processing.completed")
    first = await thumbnail_of(log, photo)
    await process_again(log, photo)
    await until_recorded(log, photo, "photo.processing.completed", 2)
    return first, await thumbnail_of(log, photo)


async def test_they_are_removed_after_the_grace_time_and_no_longer_count(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photo = await uploaded(log, blobs, b"photo", "quick_processing")

    async with working(pool=Scripted(), settings=WorkerSettings(superseded_grace_s=0.05)):
        first, second = await run_twice(log, photo)
        await until_recorded(log, photo, REMOVED)

    assert await stored(blobs) == {photo.key, second}
    assert await data_of(log, photo.photo_id, REMOVED) == [
        {"photoId": photo.photo_id, "files": [{"key": first, "fileSize": 1}]}
    ]
    assert (await log.usage("alice")).usage.bytes == len(b"photo") + 1


async def test_until_then_they_stay_and_count(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photo = await uploaded(log, blobs, b"photo", "quick_processing")

    async with working(pool=Scripted()):
        first, second = await run_twice(log, photo)
        await until_planned(log)

    assert await stored(blobs) == {photo.key, first, second}
    assert (await log.usage("alice")).usage.bytes == len(b"photo") + 2
    assert await data_of(log, photo.photo_id, REMOVED) == []


async def test_a_worker_records_the_removal_of_one_that_died_before_its_event(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photo = await uploaded(log, blobs, b"photo", "quick_processing")
    async with working(pool=Scripted()):
        first, second = await run_twice(log, photo)
        await until_planned(log)
    dying = Lanes(log, "dead-1", (ERASURE,))
    await dying.prepare(home(log))
    await dying.promote(home(log), all_of=ERASURE)
    assert len(await dying.claim(home(log), 1)) == 1
    await blobs.delete(first)

    async with working("two", dead="dead-", pool=Scripted()):
        await until_recorded(log, photo, REMOVED)

    assert await stored(blobs) == {photo.key, second}
    assert len(await data_of(log, photo.photo_id, REMOVED)) == 1


async def test_a_repeated_removal_records_nothing(
    log: Log, blobs: FolderBlobs, working: Working
) -> None:
    photo = await uploaded(log, blobs, b"photo", "quick_processing")
    async with working(pool=Scripted(), settings=WorkerSettings(superseded_grace_s=0.05)):
        await run_twice(log, photo)
        await until_recorded(log, photo, REMOVED)
        # As recovery does if it cannot tell whether the task is done.
        [task] = [
            each
            for recorded in await history(log, photo.photo_id)
            for each in plan(recorded.event, str(recorded.position))
            if each.stage == ERASURE
        ]
        lane = log.keys.lane(home(log), ERASURE, "low")
        await log.redis.xadd(lane, {"b": codec.encode_task(task)})
        with anyio.fail_after(DEADLINE_S):
            while await log.redis.xlen(lane):
                await anyio.sleep(0.01)

    assert len(await data_of(log, photo.photo_id, REMOVED)) == 1
