"""Delayed tasks wait in the timers and return to their lanes by the server's clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.moments import iso
from domain.photo.commands import RecordStageFailed
from domain.pipeline.failures import Category
from store.log.log import Log
from store.queue import losses
from store.queue.lanes import BATCHES_AT_ONCE
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.waiting import dispatched, lanes_of, uploaded

pytestmark = one_and_three


async def failed_until(log: Log, due: datetime, priority: int = 9) -> str:
    """Upload a photo whose first stage fails and is to be retried at ``due``; return its id."""
    command = await uploaded(log, priority)
    await log.execute(
        RecordStageFailed(
            photo_id=command.photo_id,
            job_id=command.job_id,
            stage="validation",
            attempt=1,
            category=Category.TEMPORARY,
            code="x",
            error="why",
            retry_at=iso(due),
        ),
        client_id="alice",
        context=CONTEXT,
    )
    return command.photo_id


async def drop_first_attempts(log: Log) -> None:
    """Acknowledge the first attempts, which the uploads have added."""
    lanes = await lanes_of(log, "first")
    for each in await lanes.claim(home(log), 100):
        await log.acknowledge(each.task, each.claim)


async def in_timers(log: Log, members: dict[bytes, int]) -> None:
    redis: Any = log.redis
    await redis.zadd(log.keys.timers(home(log)), members)


async def test_a_task_waits_until_it_is_due_and_comes_back_to_its_lane(log: Log) -> None:
    now = await log.now()
    due = await failed_until(log, now - timedelta(seconds=1))
    await failed_until(log, now + timedelta(hours=1))
    await dispatched(log)
    await drop_first_attempts(log)
    lanes = await lanes_of(log)

    moved, next_s = await lanes.promote(home(log))

    (claimed,) = await lanes.claim(home(log), 10)
    assert (claimed.task.photo_id, claimed.task.attempt) == (due, 2)
    assert claimed.claim.lane_key == log.keys.lane(home(log), "validation", "low")
    assert moved == 1
    assert next_s is not None
    assert 3_500 < next_s <= 3_600


async def test_empty_timers_hold_no_task(log: Log) -> None:
    assert await (await lanes_of(log)).promote(home(log)) == (0, None)


@pytest.mark.parametrize("unknown", [1, 1_000, 2_500])
async def test_timers_of_unknown_stages_stay_and_block_no_others(log: Log, unknown: int) -> None:
    due = await failed_until(log, datetime.now(UTC) - timedelta(seconds=1))
    await dispatched(log)
    await drop_first_attempts(log)
    others = {b"faces:low:%d" % n: n for n in range(unknown)}
    others |= {b"validation:urgent:%d" % n: n for n in range(unknown)}
    await in_timers(log, others)
    lanes = await lanes_of(log)

    assert await lanes.promote(home(log)) == (1, None)

    (claimed,) = await lanes.claim(home(log), 10)
    assert claimed.task.photo_id == due
    assert await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf") == len(others)


async def test_a_promotion_continues_after_very_many_timers_of_unknown_stages(log: Log) -> None:
    due = await failed_until(log, datetime.now(UTC) - timedelta(seconds=1))
    await dispatched(log)
    await drop_first_attempts(log)
    await in_timers(log, {b"faces:low:%d" % n: n for n in range(BATCHES_AT_ONCE * 1_000)})
    lanes = await lanes_of(log)

    looks = [(await lanes.promote(home(log)))[0] for _ in range(2)]
    second = await failed_until(log, datetime.now(UTC) - timedelta(seconds=1))
    await dispatched(log)
    looks += [(await lanes.promote(home(log)))[0] for _ in range(2)]

    assert looks == [0, 1, 0, 1]
    found = [each.task.photo_id for each in await lanes.claim(home(log), 10)]
    assert sorted(found) == sorted([due, second, second])


@pytest.mark.parametrize("all_of", [None, "validation"])
async def test_invalid_timers_are_removed_and_recovered_from_the_log(
    log: Log, all_of: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    due = await failed_until(log, datetime.now(UTC) - timedelta(seconds=1))
    await dispatched(log)
    await drop_first_attempts(log)
    await in_timers(log, {b"no task %d" % n: n for n in range(1_000)})
    lanes = await lanes_of(log)

    assert await lanes.promote(home(log), all_of=all_of) == (1, None)

    assert [each.task.photo_id for each in await lanes.claim(home(log), 10)] == [due]
    assert await log.redis.zcount(log.keys.timers(home(log)), "-inf", "(+inf") == 0
    assert await losses.are_noted(log, home(log))
    assert "1000 invalid timers" in caplog.text


async def test_all_tasks_of_a_stage_can_be_moved_before_they_are_due(log: Log) -> None:
    await failed_until(log, await log.now() + timedelta(hours=1))
    await dispatched(log)
    await drop_first_attempts(log)
    lanes = await lanes_of(log)

    assert (await lanes.promote(home(log), all_of="metadata"))[0] == 0
    assert (await lanes.promote(home(log), all_of="validation"))[0] == 1
    assert len(await lanes.claim(home(log), 10)) == 1


async def test_a_task_is_due_at_the_millisecond_that_its_event_records(log: Log) -> None:
    due = datetime(2027, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    await failed_until(log, due)
    await dispatched(log)

    redis: Any = log.redis
    ((_, score),) = await redis.zrange(log.keys.timers(home(log)), 0, 0, withscores=True)

    assert score == due.timestamp() * 1000
