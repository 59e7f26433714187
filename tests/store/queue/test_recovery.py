"""Lost lanes and timers are recovered from the log."""

import uuid
from datetime import timedelta

from domain.photo.commands import (
    DeletePhoto,
    PhotoCommand,
    RecordRenditionsRemoved,
    RecordStageCompleted,
    RecordStageFailed,
    RequestProcessing,
    UploadPhoto,
)
from domain.photo.events import iso
from domain.photo.results import Rendition
from domain.pipeline.failures import Category
from domain.pipeline.stages import ERASURE, TREE
from store.log.log import Log
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from store.queue.recovery import refill
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import completed
from tests.store.waiting import dispatched, uploaded

pytestmark = one_and_three

STAGES = (*TREE, ERASURE)


async def lanes_of(log: Log) -> Lanes:
    lanes = Lanes(log, "one", STAGES)
    await lanes.prepare(home(log))
    return lanes


async def run(log: Log, command: PhotoCommand) -> None:
    await log.execute(command, client_id="alice", context=CONTEXT)


async def lose_everything(log: Log) -> None:
    for key, _ in log.keys.lanes(home(log), STAGES):
        await log.redis.delete(key)
    await log.redis.delete(log.keys.timers(home(log)))


async def waiting(log: Log, lanes: Lanes) -> set[tuple[str, str, int]]:
    """Claim all tasks; return the photo, stage and attempt of each."""
    claimed = await lanes.claim(home(log), 1_000)
    return {(each.task.photo_id, each.task.stage, each.task.attempt) for each in claimed}


async def test_every_lost_task_is_recovered_and_no_other(log: Log) -> None:
    fresh, begun, gone, later = [await uploaded(log) for _ in range(4)]
    await run(log, completed(begun, "validation"))
    await run(log, completed(begun, "metadata"))
    await run(log, DeletePhoto(photo_id=gone.photo_id))
    again = RecordStageFailed(
        photo_id=later.photo_id,
        job_id=later.job_id,
        stage="validation",
        attempt=1,
        category=Category.TEMPORARY,
        code="x",
        error="why",
        retry_at=iso(await log.now() + timedelta(hours=1)),
    )
    await run(log, again)
    await dispatched(log)
    await lose_everything(log)
    lanes = await lanes_of(log)

    assert lanes.lost == {home(log)}
    assert await refill(log, home(log), STAGES) == 5

    assert await waiting(log, lanes) == {
        (fresh.photo_id, "validation", 1),
        (begun.photo_id, "thumbnails", 1),
        (begun.photo_id, "optimization", 1),
        (gone.photo_id, ERASURE, 1),
    }
    assert await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf") == 1


async def test_existing_tasks_are_not_added_again(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    held = await lanes.claim(home(log), 1)
    await uploaded(log)
    await dispatched(log, "two")

    assert await refill(log, home(log), STAGES) == 0
    assert len(held) == 1


async def test_events_that_are_not_dispatched_yet_are_left_to_the_dispatchers(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare(home(log))
    await dispatch.read(home(log), count=10, block_ms=10)  # then it dies before it commits
    await uploaded(log)
    await lanes_of(log)

    assert await refill(log, home(log), STAGES) == 0


async def test_new_lanes_on_an_empty_log_have_lost_nothing(log: Log) -> None:
    assert (await lanes_of(log)).lost == set()


async def test_an_invalid_entry_triggers_a_recovery_of_the_partition(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    key = log.keys.lane(home(log), "validation", "normal")
    await log.redis.delete(key)
    await lanes.prepare(home(log))
    lanes.lost.clear()
    await log.redis.xadd(key, {"b": b"\xff"})

    assert await waiting(log, lanes) == set()
    assert lanes.lost == {home(log)}
    await refill(log, home(log), STAGES)
    assert await waiting(log, lanes) == {(command.photo_id, "validation", 1)}


async def processed_again(log: Log, photo: UploadPhoto) -> str:
    """Process the photo twice, so that renditions are superseded; return the second job's id."""
    first = [("thumbnails", "thumbnail-150"), ("optimization", "optimized")]
    for stage in ("validation", "metadata", "thumbnails", "placeholder", "optimization"):
        await run(log, _made(photo, photo.job_id, stage, dict(first).get(stage)))
    job_id = str(uuid.uuid4())
    again = RequestProcessing(
        photo_id=photo.photo_id, job_id=job_id, pipeline="full_processing", priority=5
    )
    await run(log, again)
    await run(log, _made(photo, job_id, "validation", None))
    for stage, name in first:
        await run(log, _made(photo, job_id, stage, name))
    return job_id


def _made(photo: UploadPhoto, job_id: str, stage: str, name: str | None) -> RecordStageCompleted:
    rendition = Rendition(
        name=name or "",
        key=f"renditions/{photo.photo_id}/{job_id}/{name}",
        width=1,
        height=1,
        file_size=4,
        mime_type="image/webp",
        sha256="",
    )
    return RecordStageCompleted(
        photo_id=photo.photo_id,
        job_id=job_id,
        stage=stage,
        attempt=1,
        duration_ms=1,
        result={},
        renditions=(rendition,) if name else (),
        remove_at="2126-11-23T11:00:00.000Z",
    )


async def removals(log: Log) -> int:
    return await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf")


async def test_lost_removals_are_recovered_until_they_are_done(log: Log) -> None:
    photo = await uploaded(log)
    await processed_again(log, photo)
    await dispatched(log)
    assert await removals(log) == 2  # one per stage
    loaded = (await log.load(photo.photo_id, "alice")).photo
    assert loaded is not None
    first, second = loaded.holding.superseded
    await lanes_of(log)

    await log.redis.zpopmin(log.keys.timers(home(log)))
    assert await refill(log, home(log), STAGES) == 1
    assert await removals(log) == 2
    assert await refill(log, home(log), STAGES) == 0

    await run(log, RecordRenditionsRemoved(photo_id=photo.photo_id, keys=(first,)))
    await log.redis.delete(log.keys.timers(home(log)))
    await refill(log, home(log), STAGES)
    assert await removals(log) == 1

    await run(log, RecordRenditionsRemoved(photo_id=photo.photo_id, keys=(second,)))
    await log.redis.delete(log.keys.timers(home(log)))
    await refill(log, home(log), STAGES)
    assert await removals(log) == 0


async def test_only_the_erasure_of_a_deleted_photo_is_recovered(log: Log) -> None:
    photo = await uploaded(log)
    await processed_again(log, photo)
    await run(log, DeletePhoto(photo_id=photo.photo_id))
    await dispatched(log)
    await lose_everything(log)
    lanes = await lanes_of(log)

    assert await refill(log, home(log), STAGES) == 1

    assert await waiting(log, lanes) == {(photo.photo_id, ERASURE, 1)}
