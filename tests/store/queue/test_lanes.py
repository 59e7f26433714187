import pytest

from store.errors import Lost
from store.log.log import Log
from store.queue.lanes import LOW_FIRST_EVERY, NORMAL_FIRST_EVERY, Claimed, Lanes
from store.queue.turns import ClaimRequest
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import completed
from tests.store.waiting import NEVER_IDLE_MS, depth, dispatched, lanes_of, uploaded

pytestmark = one_and_three


async def one(log: Log, lanes: Lanes) -> Claimed:
    (claimed,) = await lanes.claim(home(log), 1)
    return claimed


async def test_an_urgent_task_is_claimed_before_those_that_came_earlier(log: Log) -> None:
    low, normal, high = [await uploaded(log, priority) for priority in (9, 5, 1)]
    await dispatched(log)
    lanes = await lanes_of(log)

    order = [each.task.photo_id for each in await lanes.claim(home(log), 2)]
    order += [each.task.photo_id for each in await lanes.claim(home(log), 2)]

    assert order == [high.photo_id, normal.photo_id, low.photo_id]


async def test_the_result_removes_its_task(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    claimed = await one(log, lanes)

    await log.execute(
        completed(command, "validation"), client_id="alice", context=CONTEXT, claim=claimed.claim
    )

    assert await depth(log) == 0


async def test_a_worker_learns_that_its_task_was_taken_over(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    late, heir = await lanes_of(log, "late"), await lanes_of(log, "heir")
    lost = await one(log, late)

    (taken,) = await heir.abandoned(home(log), idle_ms=0, dead=None)

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
    await one(log, await lanes_of(log, "host:1:aaaa"))
    heir = await lanes_of(log, "host:1:bbbb")

    (taken,) = await heir.abandoned(home(log), idle_ms=NEVER_IDLE_MS, dead="host:1:")

    assert taken.deliveries == 1


async def test_tasks_whose_delivery_was_never_seen_are_recalled(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)
    claimed = await one(log, lanes)

    assert await lanes.recall(home(log)) == [claimed]


async def test_a_dead_process_is_not_confused_with_one_of_a_longer_name(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    await one(log, await lanes_of(log, "host:12:aaaa"))
    heir = await lanes_of(log, "host:1:bbbb")

    assert await heir.abandoned(home(log), idle_ms=NEVER_IDLE_MS, dead="host:1:") == []


async def test_an_invalid_entry_is_removed(log: Log) -> None:
    lanes = await lanes_of(log)
    await log.redis.xadd(log.keys.lane(home(log), "validation", "normal"), {"b": b"\xff"})

    assert await lanes.claim(home(log), 10) == []
    assert await depth(log) == 0


async def test_a_wait_ends_for_a_task_added_before_it(log: Log) -> None:
    lanes = await lanes_of(log)
    assert await lanes.claim(home(log), 1) == []
    await uploaded(log)
    await dispatched(log)

    await lanes.wait(home(log), block_ms=5_000)

    assert await lanes.claim(home(log), 1)


async def test_low_lanes_move_however_many_tasks_are_urgent(log: Log) -> None:
    low = await uploaded(log, 9)
    normal = await uploaded(log, 5)
    for _ in range(2 * LOW_FIRST_EVERY):
        await uploaded(log, 1)
    await dispatched(log)
    lanes = await lanes_of(log)

    order = [(await one(log, lanes)).task.photo_id for _ in range(LOW_FIRST_EVERY)]

    assert order.index(normal.photo_id) == NORMAL_FIRST_EVERY - 1
    assert order.index(low.photo_id) == LOW_FIRST_EVERY - 1


async def test_a_task_that_was_taken_over_stays_in_its_lane(log: Log) -> None:
    await uploaded(log, 9)
    await dispatched(log)
    await one(log, await lanes_of(log, "late"))
    heir = await lanes_of(log, "heir")

    (taken,) = await heir.abandoned(home(log), idle_ms=0, dead=None)
    await heir.release([taken.claim])

    assert taken.claim.lane_key == log.keys.lane(home(log), "validation", "low")
    assert (await one(log, heir)).claim.lane_key == taken.claim.lane_key


async def test_any_worker_can_claim_a_task_handed_back_as_if_new(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes, other = await lanes_of(log), await lanes_of(log, "other")
    claimed = await one(log, lanes)

    assert await lanes.release([claimed.claim]) == 1
    assert await lanes.release([claimed.claim]) == 0

    again = await one(log, other)
    assert (again.task, again.deliveries) == (claimed.task, 1)
    assert await depth(log) == 1


async def test_only_the_requested_stages_are_claimed(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    lanes = await lanes_of(log)

    assert await lanes.claim(home(log), 1, ClaimRequest(stages=("metadata",))) == []
    assert await lanes.claim(home(log), 1, ClaimRequest(stages=())) == []
    assert len(await lanes.claim(home(log), 1, ClaimRequest(stages=("validation",)))) == 1


async def test_the_entries_of_consumers_that_hold_nothing_are_removed(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    idle, holder, observer = [await lanes_of(log, name) for name in ("idle", "holder", "observer")]
    held = await one(log, holder)
    assert await idle.claim(home(log), 1) == []

    await observer.forget_idle(home(log), idle_ms=-1)

    key = log.keys.lane(home(log), "validation", "normal")
    names = [each["name"] for each in await log.redis.xinfo_consumers(key, "validation")]
    assert names == [b"holder"]
    assert await holder.refresh([held.claim]) == [True]
