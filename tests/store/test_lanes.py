from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from domain.commands import UploadPhoto
from domain.pipeline import plan
from store.client import connect
from store.errors import Lost
from store.lanes import Claimed, Dispatch, Lanes
from store.log import Log
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload

STAGES = ("metadata", "validation")
NEVER_IDLE_MS = 3_600_000


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


async def dispatched(log: Log, consumer: str = "one") -> Dispatch:
    """A dispatcher that has planned everything in the log."""
    dispatch = Dispatch(log, consumer)
    await dispatch.prepare()
    events = await dispatch.read(0, count=100, block_ms=10)
    await dispatch.commit([(r.position, plan(r.event, str(r.position))) for r in events])
    return dispatch


async def lanes_of(log: Log, consumer: str = "one") -> Lanes:
    lanes = Lanes(log, consumer, STAGES)
    await lanes.prepare()
    return lanes


async def uploaded(log: Log, priority: int = 5) -> UploadPhoto:
    import msgspec

    command = msgspec.structs.replace(upload(), priority=priority)
    await log.execute(command, client_id="alice", context=CONTEXT)
    return command


async def one(lanes: Lanes) -> Claimed:
    (claimed,) = await lanes.claim(0, 1)
    return claimed


async def test_an_event_becomes_its_task_once(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    await dispatched(log, "two")
    lanes = await lanes_of(log)

    claimed = await lanes.claim(0, 10)

    assert [each.task.photo_id for each in claimed] == [command.photo_id]


async def test_a_batch_dispatched_twice_adds_its_tasks_once(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare()
    events = await dispatch.read(0, count=10, block_ms=10)
    planned = [(each.position, plan(each.event, str(each.position))) for each in events]

    await dispatch.commit(planned)
    await dispatch.commit(planned)

    assert len(await (await lanes_of(log)).claim(0, 10)) == 1


async def test_events_of_a_dead_dispatcher_are_taken_over_at_once(log: Log) -> None:
    await uploaded(log)
    dead = Dispatch(log, "host:1:aaaa")
    await dead.prepare()
    unfinished = await dead.read(0, count=10, block_ms=10)
    heir = Dispatch(log, "host:1:bbbb")

    assert await heir.abandoned(0, idle_ms=NEVER_IDLE_MS, dead="host:1:") == unfinished
    assert await heir.abandoned(0, idle_ms=NEVER_IDLE_MS, dead="host:1:") == []


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

    assert sum((await lanes.depth(0)).values()) == 0


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


async def test_events_whose_delivery_was_never_seen_are_recalled(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare()
    events = await dispatch.read(0, count=10, block_ms=10)

    assert await dispatch.recall(0) == events


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
    assert sum((await lanes.depth(0)).values()) == 0


async def test_waiting_ends_for_a_task_added_before_the_wait(log: Log) -> None:
    lanes = await lanes_of(log)
    assert await lanes.claim(0, 1) == []
    await uploaded(log)
    await dispatched(log)

    await lanes.wait(0, block_ms=5_000)

    assert await lanes.claim(0, 1)
