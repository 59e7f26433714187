from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.moments import iso
from domain.photo import commands as c
from domain.photo.commands import UploadPhoto
from domain.pipeline.failures import Category
from domain.pipeline.stages import ERASURE
from domain.rejections import UnknownStage
from store.log.log import Log
from store.queue import losses
from store.queue.cancel import cancel
from tests.conftest import CONTEXT
from tests.store.commands import completed
from tests.store.waiting import depth, dispatched, lanes_of, uploaded

OPERATOR = msgspec.structs.replace(CONTEXT, actor="operator:ann")
MANY = 1_000


async def cancelled(log: Log, *stages: str, most: int = MANY) -> int:
    wanted = stages or ("validation",)
    return await cancel(log, wanted, reason="a bad batch", context=OPERATOR, most=most)


async def waiting(log: Log, *priorities: int) -> list[UploadPhoto]:
    """Upload photos whose validation waits in prepared lanes."""
    photos = [await uploaded(log, priority) for priority in priorities or (5,)]
    await dispatched(log)
    await lanes_of(log)
    return photos


async def fail_once(log: Log, photo: UploadPhoto) -> None:
    """Fail the first attempt, with a retry in an hour."""
    (claimed,) = await (await lanes_of(log, "worker")).claim(0, 1)
    await log.execute(
        c.RecordStageFailed(
            photo_id=photo.photo_id,
            job_id=photo.job_id,
            stage=claimed.task.stage,
            attempt=1,
            category=Category.TEMPORARY,
            code="blob-away",
            error="The disk is away.",
            retry_at=iso(await log.now() + timedelta(hours=1)),
        ),
        client_id="alice",
        context=CONTEXT,
        claim=claimed.claim,
    )


async def history(log: Log, photo: UploadPhoto) -> list[dict[str, Any]]:
    return [
        msgspec.msgpack.decode(each.body)
        async for each in log.scan(0)
        if each.event.data.photo_id == photo.photo_id
    ]


async def test_waiting_tasks_of_all_lanes_fail_with_the_operators_reason(log: Log) -> None:
    photos = await waiting(log, 1, 5, 10)

    assert await cancelled(log) == 3

    assert await depth(log) == 0
    for photo in photos:
        _, attempt, end = await history(log, photo)
        assert (attempt["type"], end["type"]) == (
            "photo.processing.stage.failed",
            "photo.processing.failed",
        )
        assert end["metadata"]["actor"] == "operator:ann"
        assert (end["data"]["category"], end["data"]["code"]) == ("configuration", "cancelled")
        assert end["data"]["error"] == "a bad batch"
        assert end["data"]["attempts"] == 0


async def test_no_more_tasks_are_cancelled_than_requested(log: Log) -> None:
    await waiting(log, *[5] * 5)

    assert [await cancelled(log, most=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_tasks_that_a_worker_has_begun_are_left_alone(log: Log) -> None:
    begun, _ = await waiting(log, 1, 5)
    worker = await lanes_of(log, "worker")
    (claimed,) = await worker.claim(0, 1)

    assert await cancelled(log) == 1

    assert claimed.task.photo_id == begun.photo_id
    assert await worker.refresh([claimed.claim]) == [True]


async def test_another_stage_is_left_alone(log: Log) -> None:
    (photo,) = await waiting(log)

    assert await cancelled(log, "metadata") == 0

    assert len(await history(log, photo)) == 1
    assert await depth(log) == 1


async def test_delayed_tasks_are_cancelled_even_if_many_others_are_delayed_too(log: Log) -> None:
    (photo,) = await waiting(log)
    others: Any = log.redis
    await others.zadd(log.keys.timers(0), {f"metadata:low:{n}": 1_000 + n for n in range(1_500)})
    await fail_once(log, photo)
    await dispatched(log)

    assert await cancelled(log) == 1

    last = (await history(log, photo))[-1]
    assert (last["type"], last["data"]["attempts"]) == ("photo.processing.failed", 1)
    assert await log.redis.zcount(log.keys.timers(0), "-inf", "(+inf") == 1_500


async def test_several_stages_share_the_maximum(log: Log) -> None:
    one, two, three = await waiting(log, 1, 5, 5)
    for photo in (one, two):
        await log.execute(completed(photo, "validation"), client_id="alice", context=CONTEXT)
    await dispatched(log)

    failed = [await cancelled(log, "metadata", "validation", most=2) for _ in range(2)]

    # The second cancel removes the validations of jobs that have failed meanwhile, without events.
    assert failed == [2, 0]
    assert len(await history(log, three)) == 1


async def test_a_cancelled_photo_can_be_retried(log: Log) -> None:
    (photo,) = await waiting(log)
    await cancelled(log)

    retry = c.RetryProcessing(photo_id=photo.photo_id, job_id="another")
    await log.execute(retry, client_id="alice", context=OPERATOR)
    await dispatched(log)

    (claimed,) = await (await lanes_of(log)).claim(0, 10)
    assert (claimed.task.job_id, claimed.task.stage) == ("another", "validation")


async def test_a_task_of_an_ended_job_is_removed_without_an_event(log: Log) -> None:
    (photo,) = await waiting(log)
    await log.execute(completed(photo, "validation"), client_id="alice", context=CONTEXT)
    await dispatched(log)
    await cancelled(log, "metadata")
    before = await history(log, photo)

    assert await cancelled(log) == 0

    assert await depth(log) == 0
    assert await history(log, photo) == before


async def test_lanes_that_nobody_has_prepared_are_left_to_recovery(
    log: Log,
) -> None:
    await waiting(log)
    await log.redis.delete(*[key for key, _ in log.keys.lanes(0, ("validation", "metadata"))])

    assert await cancelled(log) == 0

    await lanes_of(log)
    assert await losses.are_noted(log, 0)


async def test_cancelling_leaves_no_consumer_behind(log: Log) -> None:
    await waiting(log)

    await cancelled(log)

    lane = log.keys.lane(0, "validation", "normal")
    assert await log.redis.xinfo_consumers(lane, "validation") == []


async def test_erasures_are_not_cancelled(log: Log) -> None:
    with pytest.raises(UnknownStage):
        await cancelled(log, ERASURE)
