"""Inflict random faults on a system while it works.

A ``random.Random`` chooses them and their times, so a seed repeats the same faults; what the system
is doing at those times still differs.
"""

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar, cast

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ops.bench.system import System
from ops.process.embedded_valkey import url_in
from store.redis.connection import connect

STALLED_AFTER_S = 2.0
"""The system's ``stalled_after_s``: short, so that a frozen worker loses its tasks."""

STAGE_TIMEOUT_S = 4.0
"""The system's ``stage_timeout_s``: short, so that a frozen decoder is killed."""

ROLES = (
    *("gateway", "projector", "worker", "worker", "handlers.decoder.child"),
    *("archiver", "valkey-server"),
)
"""The names in ``System.processes``; there are two workers."""

S = TypeVar("S")

FaultOf = Callable[[S, random.Random], Awaitable[str]]
"""Inflict the fault on a system, and return a description."""

Fault = FaultOf[System]


async def torment(
    system: S,
    chance: random.Random,
    faults: Sequence[FaultOf[S]],
    *,
    pause_s: float,
    count: int | None = None,
) -> None:
    """Inflict ``count`` faults, or faults until cancelled, ``pause_s`` apart on average.

    No fault is repeated before each has occurred once. They overlap; frozen processes resume at the
    end.
    """
    began = time.monotonic()
    deck: list[FaultOf[S]] = []

    async def inflict(fault: FaultOf[S], chance: random.Random) -> None:
        at = time.monotonic() - began
        did = await fault(system, chance)
        print(f"{time.strftime('%H:%M:%S')} {at:6.1f} s: {did}")

    async with anyio.create_task_group() as tasks:
        for _ in itertools.count() if count is None else range(count):
            deck = deck or chance.sample(faults, len(faults))
            await anyio.sleep(chance.uniform(0, 2 * pause_s))
            tasks.start_soon(inflict, deck.pop(), random.Random(chance.random()))


def ending(role: str, number: signal.Signals) -> Fault:
    async def end(system: System, chance: random.Random) -> str:
        pid = _one(system, role, chance)
        if pid is None:
            return f"no {role} to end"
        _signal(pid, number)
        return f"sent {number.name} to {role} {pid}"

    return end


def freezing(role: str, least_s: float, most_s: float) -> Fault:
    async def freeze(system: System, chance: random.Random) -> str:
        pid, seconds = _one(system, role, chance), chance.uniform(least_s, most_s)
        if pid is None:
            return f"no {role} to freeze"
        _signal(pid, signal.SIGSTOP)
        try:
            await anyio.sleep(seconds)
        finally:
            _signal(pid, signal.SIGCONT)
        return f"had frozen {role} {pid} for {seconds:.1f} s"

    return freeze


def forgetting(pattern: str, share: float) -> Fault:
    """Return a fault that deletes a ``share`` of the keys that match ``pattern``."""

    async def forget(system: System, chance: random.Random) -> str:
        redis = connect(url_in(system.data / "valkey"))
        try:
            keys = await _keys(redis, pattern)
            chosen = [key for key in keys if chance.random() < share]
            if chosen:
                await redis.delete(*chosen)
        except (RedisError, OSError) as error:
            return f"could not delete {pattern}: {error}"
        finally:
            await redis.aclose()
        return f"deleted {len(chosen)} of {len(keys)} keys {pattern}"

    return forget


async def forget_read_model(system: System, _chance: random.Random) -> str:
    shutil.rmtree(system.data / "read-model", ignore_errors=True)
    return "deleted the read model"


PROCESSES: tuple[Fault, ...] = (
    *(ending(role, signal.SIGKILL) for role in ROLES),
    *(ending(role, signal.SIGTERM) for role in ("gateway", "worker", "valkey-server")),
    freezing("worker", 1.2 * STALLED_AFTER_S, 2 * STALLED_AFTER_S),
    freezing("projector", 1, 3),
    freezing("archiver", 1, 3),
    freezing("gateway", 1, 3),
    freezing("handlers.decoder.child", 1, 2 * STAGE_TIMEOUT_S),
    freezing("valkey-server", 0.5, 3),
)
"""Kill, restart and freeze every process."""

CACHES: tuple[Fault, ...] = (
    forgetting("photolog:{*}:photo:*", 0.5),
    forgetting("photolog:{*}:photo:*", 1.0),
    forget_read_model,
)
"""Delete what is only a fold of the log."""

TASKS: tuple[Fault, ...] = (
    forgetting("photolog:{*}:stage:*", 0.5),
    forgetting("photolog:{*}:timers", 1.0),
)
"""Delete the tasks that wait: they, too, follow from the log."""


def _one(system: System, role: str, chance: random.Random) -> int | None:
    pids = sorted(pid for pid, name in system.processes().items() if name == role)
    return chance.choice(pids) if pids else None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def _keys(redis: Redis, pattern: str) -> list[bytes]:
    return [
        cast("bytes", key)
        async for key in redis.scan_iter(pattern, count=1_000)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # the library's Any
    ]
