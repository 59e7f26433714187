"""Report and read how processes fare: log size, live workers, failing tasks, sandbox gaps."""

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any, cast

import msgspec
from redis import exceptions

from domain.pipeline.stages import LANES, ROOT
from store.errors import GroupGone
from store.log.log import Log
from store.redis.connection import translated

PARTITION = 0
"""The partition in which workers report."""

_BEYOND_ALL = "18446744073709551615-0"
"""Beyond every entry id, so reading one's own tasks after it delivers none again."""


class LogSize(msgspec.Struct, frozen=True, kw_only=True):
    """``memory_bytes`` is the server's estimate; None if the server does not give one."""

    events: int
    memory_bytes: int | None


async def log_size(log: Log, partition: int) -> LogSize:
    key = log.keys.log(partition)
    redis: Any = log.redis
    with translated():
        events = msgspec.convert(await redis.xlen(key), int)
        try:
            memory_bytes = msgspec.convert(await redis.memory_usage(key) or 0, int)
        except exceptions.ResponseError:  # a hosted server may forbid it
            memory_bytes = None
    return LogSize(events=events, memory_bytes=memory_bytes)


async def report(log: Log, consumer: str) -> None:
    """Show that the worker ``consumer`` is alive, even if idle.

    Redis before 7.2 does not notice a consumer that asks for new tasks and gets none.
    """
    with translated():
        await log.redis.xreadgroup(ROOT, consumer, {_report_lane(log): _BEYOND_ALL}, count=1)


async def workers(log: Log, within_ms: int) -> int:
    """Return how many workers have reported within the last ``within_ms``."""
    return len(await _alive(log, within_ms))


async def _alive(log: Log, within_ms: int) -> set[str]:
    try:
        with translated():
            found = await log.redis.xinfo_consumers(_report_lane(log), ROOT)
            return {
                cast("bytes", each["name"]).decode("utf-8", "replace")
                for each in found
                if cast("int", each["idle"]) <= within_ms
            }
    except GroupGone:  # no worker has ever created it
        return set()


FOLLOWING_TTL_MS = 3_600_000

FOLLOWING_MAX = 10_000
"""The maximum number of reports read at once."""


async def report_following(log: Log, consumer: str, version: int, before: int | None) -> None:
    """Show that the worker begins no task that the controls of ``version`` forbid.

    ``before`` is the version that it reported last. The key belongs to ``Keys.following``.
    """
    redis: Any = log.redis
    key = log.keys.following(PARTITION)
    with translated():
        now_ms = await _now_ms(log)
        await redis.zadd(key, {f"{version}/{consumer}": now_ms})
        if before not in (None, version):
            await redis.zrem(key, f"{before}/{consumer}")
        await redis.pexpire(key, FOLLOWING_TTL_MS)


async def unaware(log: Log, version: int, within_ms: int) -> list[str]:
    """Return the workers that may still follow older controls than those of ``version``, by name.

    Workers that have been silent for longer than ``within_ms`` are left out. Workers of version 0.1
    never report what they follow, so they are always among them.
    """
    redis: Any = log.redis
    key = log.keys.following(PARTITION)
    with translated():
        reply = await redis.zrangebyscore(
            key, "-inf", "+inf", start=0, num=FOLLOWING_MAX, withscores=True
        )
        reports = msgspec.convert(reply, list[tuple[bytes, float]])
        since_ms = await _now_ms(log) - within_ms
        if old := [member for member, at_ms in reports if at_ms < since_ms]:
            await redis.zrem(key, *old)
    follows: dict[str, int] = {}
    for member, at_ms in reports:  # the newest report of a worker comes last
        reported, _, consumer = member.decode("utf-8", "replace").partition("/")
        if at_ms >= since_ms:
            follows[consumer] = int(reported) if reported.isdecimal() else 0
    found = await _alive(log, within_ms) | follows.keys()
    return sorted(each for each in found if follows.get(each, -1) < version)


Running = dict[str, int]
"""When running tasks began, in ms since 1970, by ``task_name``."""


def task_name(lane_key: str, entry_id: str) -> str:
    """Return the name of a held task in the reports of workers."""
    return f"{lane_key} {entry_id}"


async def report_running(log: Log, consumer: str, seconds: dict[str, float], ttl_ms: int) -> None:
    """Report for how many ``seconds`` the worker has been running each task.

    The report is forgotten after ``ttl_ms``.
    """
    key = log.keys.running(PARTITION, consumer)
    with translated():
        now_ms = await _now_ms(log)
        began = {name: now_ms - round(1000 * each) for name, each in seconds.items()}
        await log.redis.set(key, msgspec.msgpack.encode(began), px=ttl_ms)


async def running(log: Log, consumers: Collection[str]) -> Running:
    """Return when the tasks that these workers report began."""
    if not consumers:
        return {}
    with translated():
        pipe = log.redis.pipeline(transaction=False)
        for consumer in consumers:
            pipe.get(log.keys.running(PARTITION, consumer))
        replies = await pipe.execute(raise_on_error=False)
    found: Running = {}
    for reply in replies:
        if isinstance(reply, bytes):
            with suppress(msgspec.DecodeError):  # a damaged report is replaced by the next
                found |= msgspec.msgpack.decode(reply, type=Running)
    return found


FAILING_TTL_MS = 3_600_000

FAILING_MAX = 100
"""The maximum number of tasks read at once."""


async def report_failing(log: Log, process: str, tasks: Collection[str]) -> None:
    """Report that these tasks of the process have failed recently, for gateways to show."""
    redis: Any = log.redis
    key = log.keys.failing(PARTITION)
    with translated():
        now_ms = await _now_ms(log)
        await redis.zadd(key, {f"{process}/{task}": now_ms for task in tasks})
        await redis.pexpire(key, FAILING_TTL_MS)


async def failing(log: Log, within_ms: int) -> list[tuple[str, str]]:
    """Return process and task of the reports within ``within_ms``; delete older ones."""
    redis: Any = log.redis
    key = log.keys.failing(PARTITION)
    with translated():
        reply = await redis.zrangebyscore(
            key, "-inf", "+inf", start=0, num=FAILING_MAX, withscores=True
        )
        found = msgspec.convert(reply, list[tuple[bytes, float]])
        if not found:
            return []
        since_ms = await _now_ms(log) - within_ms
        if old := [member for member, at_ms in found if at_ms < since_ms]:
            await redis.zrem(key, *old)
    return [
        (process, task)
        for process, _, task in (
            member.decode("utf-8", "replace").partition("/")
            for member, at_ms in found
            if at_ms >= since_ms
        )
    ]


async def _now_ms(log: Log) -> int:
    return int((await log.now()).timestamp() * 1000)


UNCONFINED_TTL_MS = 3_600_000

UNCONFINED_MAX = 20
"""The maximum number of names read at once."""

CONFINING = frozenset({"seccomp", "no-new-privileges"})
"""Parts of the decoders' sandbox that no other part compensates for."""


async def report_unconfined(log: Log, missing: Collection[str]) -> None:
    """Report what is missing from the sandbox around a worker's decoders."""
    if not missing:
        return
    redis: Any = log.redis
    key = log.keys.unconfined(PARTITION)
    with translated():
        seconds = await _now_ms(log) // 1000
        await redis.zadd(key, dict.fromkeys(missing, seconds))
        await redis.pexpire(key, UNCONFINED_TTL_MS)


async def unconfined(log: Log, within_ms: int) -> list[str]:
    """Return the missing sandbox parts reported within the last ``within_ms``, by name."""
    redis: Any = log.redis
    with translated():
        seconds = await _now_ms(log) // 1000
        reply = await redis.zrangebyscore(
            log.keys.unconfined(PARTITION),
            seconds - within_ms / 1000 - 1,  # reports are in whole seconds
            "+inf",
            start=0,
            num=UNCONFINED_MAX,
        )
        found = msgspec.convert(reply, list[bytes])
    return sorted(name.decode("utf-8", "replace") for name in found)


async def clock_ahead_ms(log: Log) -> float:
    """Return how far the server's clock, which gives the positions, is ahead of this machine's."""
    began = time.time()
    theirs = (await log.now()).timestamp()
    ours = (began + time.time()) / 2
    return (theirs - ours) * 1000


def _report_lane(log: Log) -> str:
    """Return the lane in whose group workers report."""
    return log.keys.lane(PARTITION, ROOT, LANES[0])
