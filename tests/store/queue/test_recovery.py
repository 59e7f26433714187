"""Lost lanes and timers are recovered from the log."""

import uuid
from datetime import timedelta

import pytest

from domain.moments import iso
from domain.photo.commands import (
    DeletePhoto,
    PhotoCommand,
    PrioritizeJob,
    RecordRenditionsRemoved,
    RecordStageCompleted,
    RecordStageFailed,
    RequestProcessing,
    UploadPhoto,
)
from domain.photo.results import Rendition
from domain.pipeline.failures import Category
from domain.pipeline.stages import ERASURE, PIPELINES, TREE
from store.errors import Unavailable
from store.log.log import Log
from store.queue import losses
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from store.queue.recovery import Recovery, refill
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import completed
from tests.store.waiting import dispatched, uploaded

pytestmark = one_and_three

STAGES = (*TREE, ERASURE)


async def lanes_of(log: Log) -> Lanes:
    lanes = Lanes(log, "one", STAGES)
    await lanes.prepare(home(log))
    return lanes


LEASE_S = 30.0


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

    assert await losses.are_noted(log, home(log))
    assert await refill(log, home(log), STAGES) == 5

    assert await waiting(log, lanes) == {
        (fresh.photo_id, "validation", 1),
        (begun.photo_id, "thumbnails", 1),
        (begun.photo_id, "optimization", 1),
        (gone.photo_id, ERASURE, 1),
    }
    assert await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf") == 1


async def test_a_recovered_task_has_the_priority_that_the_job_has_now(log: Log) -> None:
    photo = await uploaded(log)
    await run(log, PrioritizeJob(photo_id=photo.photo_id, job_id=photo.job_id, priority=1))
    await dispatched(log)
    await lose_everything(log)
    lanes = await lanes_of(log)

    assert await refill(log, home(log), STAGES) == 1

    (claimed,) = await lanes.claim(home(log), 5)
    assert claimed.task.priority == 1
    assert claimed.claim.lane_key.endswith("validation:high")


async def test_existing_tasks_are_not_added_again(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    held = await lanes.claim(home(log), 1)
    await uploaded(log)
    await dispatched(log, "two")

    assert await refill(log, home(log), STAGES) == 0
    assert len(held) == 1


async def test_existing_tasks_of_a_stage_that_this_version_lacks_are_not_added_again(
    log: Log,
) -> None:
    with pytest.MonkeyPatch.context() as newer:
        newer.setitem(TREE, "colour", "validation")
        newer.setitem(PIPELINES, "full_processing", frozenset(TREE))
        command = await uploaded(log)
    await run(log, completed(command, "validation"))
    lanes = await lanes_of(log)
    await dispatched(log)

    assert await refill(log, home(log), STAGES) == 0

    await lose_everything(log)
    await log.redis.delete(log.keys.lane(home(log), "colour", "normal"))
    await lanes_of(log)
    assert await refill(log, home(log), STAGES) == 4
    assert await log.redis.xlen(log.keys.lane(home(log), "colour", "normal")) == 1
    assert {stage for _, stage, _ in await waiting(log, lanes)} == {
        "metadata",
        "thumbnails",
        "optimization",
    }


async def test_events_that_are_not_dispatched_yet_are_left_to_the_dispatchers(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare(home(log))
    await dispatch.read(home(log), count=10, block_ms=10)  # then it dies before it commits
    await uploaded(log)
    await lanes_of(log)

    assert await refill(log, home(log), STAGES) == 0


async def test_new_lanes_on_an_empty_log_have_lost_nothing(log: Log) -> None:
    await lanes_of(log)
    assert not await losses.are_noted(log, home(log))


async def test_a_loss_that_a_dead_worker_noticed_is_left_to_another_one(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    await lanes_of(log)
    await lose_everything(log)
    lanes = await lanes_of(log)  # it creates the groups, and dies before it has refilled them
    dying = await losses.claim(log, home(log), LEASE_S)

    await Recovery(log, STAGES, LEASE_S).run(home(log))
    assert await waiting(log, lanes) == set()
    await Recovery(log, STAGES, lease_s=0.0).run(home(log))

    assert dying
    assert await waiting(log, lanes) == {(command.photo_id, "validation", 1)}
    assert not await losses.are_noted(log, home(log))


async def test_a_loss_during_a_refill_stays_noted(log: Log) -> None:
    await uploaded(log)
    await losses.note(log, home(log))
    notes = await losses.claim(log, home(log), LEASE_S)
    await losses.note(log, home(log))

    await losses.renew(log, home(log), notes)
    await losses.forget(log, home(log), notes)

    assert len(await losses.claim(log, home(log), LEASE_S)) == 1


async def test_a_refill_that_failed_is_tried_again_by_the_same_worker(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = await uploaded(log)
    await dispatched(log)
    await lose_everything(log)
    lanes = await lanes_of(log)
    recovery = Recovery(log, STAGES, LEASE_S)
    with monkeypatch.context() as away:
        away.setattr(log.keys, "timers", log.keys.log)
        with pytest.raises(Unavailable):
            await recovery.run(home(log))

    await recovery.run(home(log))

    assert await waiting(log, lanes) == {(command.photo_id, "validation", 1)}


async def test_an_invalid_entry_triggers_a_recovery_of_the_partition(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    key = log.keys.lane(home(log), "validation", "normal")
    await log.redis.delete(key)
    await lanes.prepare(home(log))
    await log.redis.delete(log.keys.losses(home(log)))
    await log.redis.xadd(key, {"b": b"\xff"})

    assert await waiting(log, lanes) == set()
    assert await losses.are_noted(log, home(log))
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
