import time

import anyio

from domain.pipeline.stages import ERASURE, TREE
from store.log.log import Log
from store.queue import liveness
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT, home
from tests.store.commands import upload

DEADLINE_S = 10.0
AN_HOUR_MS = 3_600_000


async def ready(log: Log, consumer: str) -> Lanes:
    lanes = Lanes(log, consumer, (*TREE, ERASURE))
    await lanes.prepare(home(log))
    return lanes


async def test_the_size_of_the_log_grows_with_it(log: Log) -> None:
    before = await liveness.log_size(log, 0)

    for _ in range(3):
        await log.execute(upload(), client_id="alice", context=CONTEXT)

    after = await liveness.log_size(log, 0)
    assert (before.events, before.memory_bytes, after.events) == (0, 0, 3)
    assert after.memory_bytes is not None
    assert after.memory_bytes > 500


async def test_a_log_without_workers_counts_none(log: Log) -> None:
    assert await liveness.workers(log, AN_HOUR_MS) == 0


async def test_idle_workers_are_counted(log: Log) -> None:
    for consumer in ("one", "two"):
        await ready(log, consumer)
        await liveness.report(log, consumer)

    await liveness.report(log, "one")

    assert await liveness.workers(log, AN_HOUR_MS) == 2


async def test_a_worker_counts_as_long_as_it_reports(log: Log) -> None:
    await ready(log, "silent")
    await ready(log, "here")
    await liveness.report(log, "silent")

    with anyio.fail_after(DEADLINE_S):
        began = time.monotonic()
        while await liveness.workers(log, 200) != 1 or time.monotonic() - began < 0.2:
            await liveness.report(log, "here")

    assert await liveness.workers(log, AN_HOUR_MS) == 2


async def test_a_report_claims_no_task_and_does_not_touch_held_ones(log: Log) -> None:
    await ready(log, "one")
    key = log.keys.lane(0, "validation", "high")
    await log.redis.xadd(key, {"b": b"held"})
    await log.redis.xreadgroup("validation", "one", {key: ">"})
    await log.redis.xadd(key, {"b": b"waiting"})

    await liveness.report(log, "one")

    [held] = await log.redis.xpending_range(key, "validation", "-", "+", 10)
    assert held["times_delivered"] == 1
    assert await log.redis.xlen(key) == 2


async def test_the_clocks_of_one_machine_agree(log: Log) -> None:
    assert abs(await liveness.clock_ahead_ms(log)) < 500


async def test_missing_parts_of_the_sandbox_are_reported_for_a_while(log: Log) -> None:
    assert await liveness.unconfined(log, AN_HOUR_MS) == []

    await liveness.report_unconfined(log, ())
    await liveness.report_unconfined(log, ("seccomp", "landlock"))
    await liveness.report_unconfined(log, ("landlock",))

    assert await liveness.unconfined(log, AN_HOUR_MS) == ["landlock", "seccomp"]
    assert await liveness.unconfined(log, -AN_HOUR_MS) == []


async def test_a_worker_is_unaware_until_it_follows_the_version(log: Log) -> None:
    for worker, version in (("one", 3), ("two", 4)):
        await liveness.report_following(log, worker, version, before=None)

    before = await liveness.unaware(log, 4, AN_HOUR_MS)
    await liveness.report_following(log, "one", 4, before=3)

    assert before == ["one"]
    assert await liveness.unaware(log, 4, AN_HOUR_MS) == []
    assert await liveness.unaware(log, 5, AN_HOUR_MS) == ["one", "two"]


async def test_a_worker_whose_log_went_back_follows_the_earlier_version(log: Log) -> None:
    await liveness.report_following(log, "one", 4, before=None)
    await liveness.report_following(log, "one", 3, before=4)

    assert await liveness.unaware(log, 3, AN_HOUR_MS) == []
    assert await liveness.unaware(log, 4, AN_HOUR_MS) == ["one"]


async def test_a_worker_that_never_reports_what_it_follows_is_unaware(log: Log) -> None:
    await ready(log, "old")
    await liveness.report(log, "old")

    assert await liveness.unaware(log, 0, AN_HOUR_MS) == ["old"]


async def test_silent_workers_are_forgotten(log: Log) -> None:
    await liveness.report_following(log, "gone", 1, before=None)
    with anyio.fail_after(DEADLINE_S):
        while await liveness.unaware(log, 2, 1):
            await anyio.sleep(0.01)

    assert await log.redis.exists(log.keys.following(liveness.PARTITION)) == 0
