from domain.photo.plan import plan
from store.log.log import Log
from store.queue.dispatch import Dispatch
from tests.conftest import home, one_and_three
from tests.store.waiting import NEVER_IDLE_MS, dispatched, lanes_of, uploaded

pytestmark = one_and_three


async def test_an_event_becomes_its_task_once(log: Log) -> None:
    command = await uploaded(log)
    await dispatched(log)
    await dispatched(log, "two")
    lanes = await lanes_of(log)

    claimed = await lanes.claim(home(log), 10)

    assert [each.task.photo_id for each in claimed] == [command.photo_id]


async def test_a_batch_dispatched_twice_adds_its_tasks_once(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare(home(log))
    events = await dispatch.read(home(log), count=10, block_ms=10)
    planned = [(each.position, plan(each.event, str(each.position))) for each in events]

    await dispatch.commit(planned)
    await dispatch.commit(planned)

    assert len(await (await lanes_of(log)).claim(home(log), 10)) == 1


async def test_events_of_a_dead_dispatcher_are_taken_over_at_once(log: Log) -> None:
    await uploaded(log)
    dead = Dispatch(log, "host:1:aaaa")
    await dead.prepare(home(log))
    unfinished = await dead.read(home(log), count=10, block_ms=10)
    heir = Dispatch(log, "host:1:bbbb")

    assert await heir.abandoned(home(log), idle_ms=NEVER_IDLE_MS, dead="host:1:") == unfinished
    assert await heir.abandoned(home(log), idle_ms=NEVER_IDLE_MS, dead="host:1:") == []


async def test_events_whose_delivery_was_never_seen_are_recalled(log: Log) -> None:
    await uploaded(log)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare(home(log))
    events = await dispatch.read(home(log), count=10, block_ms=10)

    assert await dispatch.recall(home(log)) == events
