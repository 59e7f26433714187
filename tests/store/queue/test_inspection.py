from datetime import datetime, timedelta
from typing import Any

from domain.pipeline.stages import LANES
from store.log.log import Log
from store.queue import liveness, losses
from store.queue.dispatch import Dispatch
from store.queue.inspection import Doing, LaneDepth, StageQueue, look
from tests.conftest import CONTEXT, home
from tests.store.commands import completed
from tests.store.queue.test_turns import bulk, put, task
from tests.store.waiting import STAGES, depth, dispatched, lanes_of, uploaded


async def validation(log: Log) -> StageQueue:
    return next(each for each in (await look(log, STAGES)).stages if each.stage == "validation")


async def test_lanes_that_nobody_has_prepared_are_empty(log: Log) -> None:
    found = await look(log, STAGES)

    assert [each.stage for each in found.stages] == list(STAGES)
    assert all(each.lanes == dict.fromkeys(LANES, LaneDepth()) for each in found.stages)
    assert found.workers == []


async def test_waiting_tasks_are_counted_by_lane(log: Log) -> None:
    for priority in (1, 5, 5, 10, 10, 10):
        await uploaded(log, priority)
    await dispatched(log)
    await lanes_of(log)

    queue = await validation(log)

    assert {name: lane.waiting for name, lane in queue.lanes.items()} == {
        "high": 1,
        "normal": 2,
        "low": 3,
    }
    assert (queue.waiting, queue.in_progress, queue.added) == (6, 0, 6)


async def test_a_held_task_is_in_progress_and_shown_with_its_worker(log: Log) -> None:
    photo = await uploaded(log)
    await uploaded(log)
    await dispatched(log)
    (claimed,) = await (await lanes_of(log, "worker-1")).claim(0, 1)

    found = await look(log, STAGES)

    queue = await validation(log)
    assert (queue.waiting, queue.in_progress, queue.added) == (1, 1, 2)
    (worker,) = found.workers
    (doing,) = worker.doing
    assert worker.name == "worker-1"
    assert doing == Doing(
        stage="validation",
        photo_id=photo.photo_id,
        job_id=claimed.task.job_id,
        attempt=1,
        silent_ms=doing.silent_ms,
        client_id=photo.client_id,
    )
    assert 0 <= doing.silent_ms < 60_000


async def test_a_task_in_progress_says_since_when_its_worker_runs_it(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    (claimed,) = await (await lanes_of(log, "worker-1")).claim(0, 1)
    name = liveness.task_name(claimed.claim.lane_key, claimed.claim.entry_id)
    before = await log.now()

    await liveness.report_running(log, "worker-1", {name: 2.5}, ttl_ms=60_000)
    (worker,) = (await look(log, STAGES)).workers

    since = datetime.fromisoformat(worker.doing[0].since or "")
    assert timedelta(seconds=2) < before - since <= timedelta(seconds=2.501)


async def test_a_damaged_report_of_running_tasks_is_ignored(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)
    await (await lanes_of(log, "worker-1")).claim(0, 1)
    await log.redis.set(log.keys.running(0, "worker-1"), b"\xc1")

    (worker,) = (await look(log, STAGES)).workers

    assert [each.since for each in worker.doing] == [None]


async def test_a_worker_without_a_task_is_shown_too(log: Log) -> None:
    photo = await uploaded(log)
    await dispatched(log)
    (claimed,) = await (await lanes_of(log, "worker-2")).claim(0, 1)
    result = completed(photo, "validation")
    await log.execute(result, client_id="alice", context=CONTEXT, claim=claimed.claim)

    workers = (await look(log, STAGES)).workers

    assert [(each.name, each.doing) for each in workers] == [("worker-2", [])]


async def test_the_age_is_that_of_the_first_task_that_waits(log: Log) -> None:
    lane = log.keys.lane(0, "validation", "low")
    now_ms = int((await log.now()).timestamp() * 1000)
    await lanes_of(log)
    for age_ms in (50_000, 30_000):
        await log.redis.xadd(lane, {"b": b""}, id=f"{now_ms - age_ms}-0")
    (await log.redis.xreadgroup("validation", "worker", {lane: ">"}, count=1))

    queue = await validation(log)

    age = queue.lanes["low"].oldest_age_ms
    assert age is not None
    assert 30_000 <= age < 50_000
    assert queue.lanes["high"].oldest_age_ms is None


async def test_delayed_tasks_are_counted_by_stage(log: Log) -> None:
    timers: Any = log.redis
    members = ("validation:low:a", "validation:high:b", "metadata:low:c", "gone:low:d")
    await timers.zadd(log.keys.timers(0), dict.fromkeys(members, 1))

    found = await look(log, STAGES)

    assert {each.stage: each.delayed for each in found.stages} == {"metadata": 1, "validation": 2}


async def test_partitions_are_counted_together(redis: Any, prefix: str) -> None:
    log = await Log.open(redis, partitions=2, prefix=prefix)
    await lanes_of(log)
    for partition in range(2):
        await log.redis.xadd(log.keys.lane(partition, "validation", "low"), {"b": b""})

    assert (await validation(log)).lanes["low"].waiting == 2


async def test_each_partition_shows_its_dispatchers_and_their_backlog(
    redis: Any, prefix: str
) -> None:
    log = await Log.open(redis, partitions=3, prefix=prefix)
    await uploaded(log)
    await dispatched(log, "one")
    await uploaded(log)
    await Dispatch(log, "two").read(home(log), count=1, block_ms=10)
    await uploaded(log)

    found = (await look(log, STAGES)).partitions

    assert [(each.partition, each.answers, each.server) for each in found] == [
        (partition, True, None) for partition in range(3)
    ]
    assert [reader.name for reader in found[home(log)].readers] == ["one", "two"]
    assert found[home(log)].to_plan == 2
    assert [each.readers for each in found if each.partition != home(log)] == [[], []]


async def test_an_invalid_held_entry_is_in_progress_but_not_shown(log: Log) -> None:
    lane = log.keys.lane(0, "validation", "normal")
    await lanes_of(log)
    await log.redis.xadd(lane, {"b": b"\xff"})
    await log.redis.xreadgroup("validation", "worker", {lane: ">"}, count=1)

    found = await look(log, STAGES)

    assert (await validation(log)).in_progress == 1
    assert [each.doing for each in found.workers] == [[]]


async def test_clients_are_counted_before_and_after_the_first_claim(log: Log) -> None:
    lanes = await lanes_of(log)
    await put(log, *bulk("a", 3), task("b"), task("c", priority=9))

    def clients(queue: StageQueue) -> dict[str, int]:
        return {name: lane.clients for name, lane in queue.lanes.items()}

    assert clients(await validation(log)) == {"high": 0, "normal": 2, "low": 1}
    first, second = await lanes.claim(0, 2)  # the only task of b, and one of a
    assert {first.task.client_id, second.task.client_id} == {"a", "b"}
    assert clients(await validation(log)) == {"high": 0, "normal": 1, "low": 1}
    await put(log, *bulk("d", 2_000), task("a"), task("e"))

    assert clients(await validation(log)) == {"high": 0, "normal": 3, "low": 1}


async def test_clients_are_counted_where_their_turns_were_lost(log: Log) -> None:
    lanes = await lanes_of(log)
    await put(log, task("a"), task("b"), task("c"))
    (held,) = await lanes.claim(0, 1)
    await log.redis.delete(log.keys.turns(0, "validation", "normal"))

    assert held.task.client_id == "a"
    assert (await validation(log)).lanes["normal"].clients == 2


async def test_an_inspection_changes_nothing(log: Log) -> None:
    await uploaded(log)
    await dispatched(log)

    await look(log, STAGES)

    await lanes_of(log)
    assert await losses.are_noted(log, 0)
    assert await depth(log) == 1
