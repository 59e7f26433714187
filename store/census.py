"""Redis seen from outside: how much waits, how much is kept, who works, and whose tasks fail."""

import time
from collections.abc import Collection
from typing import Any, cast

import msgspec
from redis import exceptions

from domain.pipeline import LANES, ROOT
from store.client import translated
from store.errors import GroupGone
from store.log import Log

PARTITION = 0
"""Where workers report."""

_BEYOND_ALL = "18446744073709551615-0"
"""No task has such an id, so reading one's own tasks after it delivers none again."""


class LogSize(msgspec.Struct, frozen=True, kw_only=True):
    """``memory_bytes`` is an estimate of the server's; None if it does not tell."""

    events: int
    memory_bytes: int | None


async def log_size(log: Log, partition: int) -> LogSize:
    key = log.keys.log(partition)
    redis: Any = log.redis
    with translated():
        events = await redis.xlen(key)
        try:
            memory_bytes = await redis.memory_usage(key) or 0
        except exceptions.ResponseError:  # a server that is rented may forbid it
            memory_bytes = None
    return LogSize(events=events, memory_bytes=memory_bytes)


async def report(log: Log, consumer: str) -> None:
    """Show that the worker ``consumer`` lives, whether there is work or not.

    Redis before 7.2 takes no notice of a consumer that asks for new tasks in vain.
    """
    with translated():
        await log.redis.xreadgroup(ROOT, consumer, {_roll(log): _BEYOND_ALL}, count=1)


async def workers(log: Log, within_ms: int) -> int:
    """How many workers have reported within the last ``within_ms``."""
    try:
        with translated():
            found = await log.redis.xinfo_consumers(_roll(log), ROOT)
    except GroupGone:  # no worker has ever been there to make it
        return 0
    return sum(cast("int", consumer["idle"]) <= within_ms for consumer in found)


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks of one process that failed of late, at ``at_ms`` by the clock of the log."""

    at_ms: int
    tasks: list[str]


FAILING_TTL_S = 3_600

FAILING_MAX = 1_000
"""Processes that are read at once."""

_failing = msgspec.msgpack.Decoder(Failing)


async def report_failing(log: Log, process: str, tasks: Collection[str]) -> None:
    """Show that these tasks of the process have failed of late, for gateways to tell."""
    redis: Any = log.redis
    with translated():
        seconds, microseconds = await redis.time()
        found = Failing(at_ms=seconds * 1000 + microseconds // 1000, tasks=sorted(tasks))
        key = log.keys.failing(PARTITION)
        await redis.hset(key, process, msgspec.msgpack.encode(found))
        await redis.expire(key, FAILING_TTL_S)


async def failing(log: Log, within_ms: int) -> dict[str, list[str]]:
    """The processes that have reported failing tasks within ``within_ms``; forgets older ones."""
    redis: Any = log.redis
    key = log.keys.failing(PARTITION)
    with translated():
        if not await redis.exists(key):
            return {}
        seconds, _ = await redis.time()
        _, fields = await redis.hscan(key, count=FAILING_MAX)
        found: dict[str, list[str]] = {}
        for process, body in fields.items():
            try:
                reported = _failing.decode(body)
            except msgspec.MsgspecError:
                reported = Failing(at_ms=0, tasks=[])
            if seconds * 1000 - reported.at_ms <= within_ms:
                found[process.decode("utf-8", "replace")] = reported.tasks
            else:
                await redis.hdel(key, process)
    return found


async def clock_ahead_ms(log: Log) -> float:
    """How far the server's clock, which gives the positions, is ahead of this machine's."""
    began = time.time()
    redis: Any = log.redis
    with translated():
        seconds, microseconds = await redis.time()
    ours = (began + time.time()) / 2
    return (seconds + microseconds / 1e6 - ours) * 1000


def _roll(log: Log) -> str:
    """The lane on which workers report: each has its group."""
    return log.keys.lane(PARTITION, ROOT, LANES[0])
