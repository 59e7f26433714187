"""Report and read which workers cannot start decoder processes, and why."""

from typing import Any, Literal

import msgspec

from store.log.log import Log
from store.redis.connection import translated

PARTITION = 0
"""The partition in which workers report."""

REPORT_TTL_MS = 3_600_000

REPORTS_MAX = 1_000
"""The maximum number of reports read at once."""

Reason = Literal[
    "no-memory", "no-processes", "no-descriptors", "not-executable", "ends-at-start", "no-answer"
]
"""Why no decoder process starts; ``gateway.health.decoders`` says what to do about each."""


async def report(log: Log, consumer: str, reason: Reason | None, before: Reason | None) -> None:
    """Report why the worker cannot start decoders; None if it can.

    ``before`` is the reason that it reported last. The key belongs to ``Keys.undecoding``.
    """
    redis: Any = log.redis
    key = log.keys.undecoding(PARTITION)
    with translated():
        if before not in (None, reason):
            await redis.zrem(key, f"{before}/{consumer}")
        if reason is not None:
            now_ms = int((await log.now()).timestamp() * 1000)
            await redis.zadd(key, {f"{reason}/{consumer}": now_ms})
            await redis.pexpire(key, REPORT_TTL_MS)


async def reported(log: Log, within_ms: int) -> dict[str, str]:
    """Return the reason by worker, from the reports of the last ``within_ms``; delete others."""
    redis: Any = log.redis
    key = log.keys.undecoding(PARTITION)
    with translated():
        reply = await redis.zrangebyscore(
            key, "-inf", "+inf", start=0, num=REPORTS_MAX, withscores=True
        )
        found = msgspec.convert(reply, list[tuple[bytes, float]])
        if not found:
            return {}
        since_ms = int((await log.now()).timestamp() * 1000) - within_ms
        if old := [member for member, at_ms in found if at_ms < since_ms]:
            await redis.zrem(key, *old)
    reports = (
        member.decode("utf-8", "replace").partition("/")
        for member, at_ms in found
        if at_ms >= since_ms
    )
    return {consumer: reason for reason, _, consumer in reports}
