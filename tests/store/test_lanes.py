import pytest

from store.errors import Lost
from store.lanes import Claimed, Lanes
from store.log import Log
from tests.conftest import CONTEXT
from tests.store.commands import completed
from tests.store.waiting import NEVER_IDLE_MS, depth, dispatched, lanes_of, uploaded


async def one(lanes: Lanes) -> Claimed:
    (claimed,) = await lanes.claim(0, 1)
    return claimed


async def test_an_urgent_task_is_claimed_before_those_that_came_earlier(log: Log) -> None:
    low, normal, high = [await uploaded(log, priority) for priority in (9, 5, 1)]
    await dispatched(log)
    lanes = await lanes_of(log)

    order = [each.task.photo_id for each in await lanes.claim(0, 2)]
    order += [each.task.photo_id for each in await lanes.claim(0, 2)]

    assert order == [high.photo_id, normal.photo_id, low.photo_id]


async def test_the_result_removes_its_task(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    claimed = await one(lanes)

    await log.execute(
        completed(command, "validation"), client_id="alice", context=CONTEXT, claim=claimed.claim
    )

    assert await depth(log) == 0


async def test_a_worker_whose_task_was_taken_is_told_so(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    late, heir = await lanes_of(log, "late"), await lanes_of(log, "heir")
    lost = await one(late)

    (taken,) = await heir.abandoned(0, idle_ms=0, dead=None)

    assert taken.deliveries == 2
    assert await late.refresh([lost.claim]) == [False]
    with pytest.raises(Lost):
        await log.execute(
            completed(command, "validation"), client_id="alice", context=CONTEXT, claim=lost.claim
        )
    assert await heir.refresh([taken.claim]) == [True]


async def test_taking_over_from_a_dead_process_counts_no_stall(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    await one(await lanes_of(log, "host:1:aaaa"))
    heir = await lanes_of(log, "host:1:bbbb")

    (taken,) = await heir.abandoned(0, idle_ms=NEVER_IDLE_MS, dead="host:1:")

    assert taken.deliveries == 1


async def test_tasks_whose_delivery_was_never_seen_are_recalled(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    claimed = await one(lanes)

    assert await lanes.recall(0) == [claimed]


async def test_a_dead_process_is_told_from_another_with_a_longer_name(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    await one(await lanes_of(log, "host:12:aaaa"))
    heir = await lanes_of(log, "host:1:bbbb")

    assert await heir.abandoned(0, idle_ms=NEVER_IDLE_MS, dead="host:1:") == []


async def test_an_entry_that_is_no_task_is_removed(log: Log) -> None:
    lanes = await lanes_of(log)
    await log.redis.xadd(log.keys.lane(0, "validation", "normal"), {"b": b"\xff"})

    assert await lanes.claim(0, 10) == []
    assert await depth(log) == 0


async def test_waiting_ends_for_a_task_added_before_the_wait(log: Log) -> None:
    lanes = await lanes_of(log)
    assert await lanes.claim(0, 1) == []
    await uploaded(log)
    await dispatched(log)

    await lanes.wait(0, block_ms=5_000)

    assert await lanes.claim(0, 1)
