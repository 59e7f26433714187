"""Which stages workers run, and what waits for a worker that runs it."""

import msgspec

from domain.pipeline.stages import ERASURE, TREE, Task
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.queue import known_stages, losses
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT, home, one_and_three
from tests.store.commands import upload

pytestmark = one_and_three

STAGES = (*TREE, ERASURE)
AN_HOUR_MS = 3_600_000
NOW_MS = -60_000
"""No report counts as new, even if clocks differ by a little."""


async def read_one(log: Log) -> tuple[Dispatch, Recorded]:
    """Return a dispatcher and the event of an upload that it has read."""
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    dispatch = Dispatch(log, "one")
    await dispatch.prepare(home(log))
    (event,) = await dispatch.read(home(log), count=1, block_ms=10)
    return dispatch, event


def task(stage: str, position: Position, due: str | None = None) -> Task:
    return Task(
        photo_id="a",
        client_id="alice",
        job_id="b",
        stage=stage,
        priority=5,
        trace_id="t",
        cause=str(position),
        due=due,
    )


async def test_without_reports_live_workers_count_as_workers_that_run_the_first_stages(
    log: Log,
) -> None:
    assert await known_stages.unserved(log, STAGES, AN_HOUR_MS) == {}
    assert await known_stages.unserved(log, (*STAGES, "colour"), AN_HOUR_MS) == {"colour": 0}


async def test_an_expected_stage_that_no_worker_reports_is_unserved(log: Log) -> None:
    await Lanes(log, "one", STAGES).prepare(0)

    assert await known_stages.unserved(log, STAGES, AN_HOUR_MS) == {}
    assert await known_stages.unserved(log, (*STAGES, "colour"), AN_HOUR_MS) == {"colour": 0}

    await Lanes(log, "two", (*STAGES, "colour")).prepare(0)
    assert await known_stages.unserved(log, (*STAGES, "colour"), AN_HOUR_MS) == {}


async def test_a_stage_of_a_worker_that_is_gone_is_unserved_while_tasks_of_it_wait(
    log: Log,
) -> None:
    await Lanes(log, "gone", (*STAGES, "colour")).prepare(home(log))
    assert await known_stages.unserved(log, STAGES, NOW_MS) == {}

    dispatch, event = await read_one(log)
    await dispatch.commit([(event.position, (task("colour", event.position),))])

    assert await known_stages.unserved(log, STAGES, NOW_MS) == {"colour": 1}
    assert await known_stages.unserved(log, STAGES, AN_HOUR_MS) == {}


async def test_a_stage_that_only_events_name_is_unserved_with_its_delayed_tasks(log: Log) -> None:
    dispatch, event = await read_one(log)
    later = "2099-01-01T00:00:00.000Z"
    tasks = (task("colour", event.position), task("colour", event.position, later))

    await dispatch.commit([(event.position, tasks)])

    assert await known_stages.unserved(log, STAGES, AN_HOUR_MS) == {"colour": 2}


async def test_tasks_of_a_new_stage_wait_for_its_first_worker_which_reads_no_log(log: Log) -> None:
    await Lanes(log, "older", STAGES).prepare(home(log))
    dispatch, event = await read_one(log)
    await dispatch.commit([(event.position, (task("colour", event.position),))])
    older, newer = Lanes(log, "older", STAGES), Lanes(log, "newer", (*STAGES, "colour"))
    await older.prepare(home(log))
    assert await older.claim(home(log), 10) == []

    await newer.prepare(home(log))

    assert not await losses.are_noted(log, home(log))
    (claimed,) = await newer.claim(home(log), 10)
    assert (claimed.task.stage, claimed.deliveries) == ("colour", 1)


async def test_a_lane_that_is_lost_before_a_worker_runs_its_stage_is_refilled(log: Log) -> None:
    await Lanes(log, "older", STAGES).prepare(home(log))
    dispatch, event = await read_one(log)
    await dispatch.commit([(event.position, (task("colour", event.position),))])
    await log.redis.delete(log.keys.lane(home(log), "colour", "normal"))

    lanes = Lanes(log, "newer", (*STAGES, "colour"))
    await lanes.prepare(home(log))

    assert await losses.are_noted(log, home(log))


async def test_a_lost_lane_of_a_stage_that_a_worker_has_run_is_refilled(log: Log) -> None:
    await read_one(log)
    stages = (*STAGES, "colour")
    await Lanes(log, "one", stages).prepare(home(log))
    await log.redis.delete(log.keys.lane(home(log), "colour", "normal"))

    lanes = Lanes(log, "two", stages)
    await lanes.prepare(home(log))

    assert await losses.are_noted(log, home(log))


async def test_without_reports_no_stage_counts_as_new(log: Log) -> None:
    await read_one(log)

    lanes = Lanes(log, "one", (*STAGES, "colour"))
    await lanes.prepare(home(log))

    assert await losses.are_noted(log, home(log))
    assert await known_stages.are_new(log, home(log), ["colour"]) == frozenset()


async def test_reports_of_a_later_version_are_read_as_they_are(log: Log) -> None:
    await log.redis.zadd(log.keys.stages(0), {b"\xff": 1})

    assert await known_stages.unserved(log, STAGES, AN_HOUR_MS) == {}
    assert msgspec.convert(await log.redis.zcard(log.keys.stages(0)), int) == 1
