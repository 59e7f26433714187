"""Measure how many tasks enter and leave the lanes, over the last minute.

Redis stores only totals, so a running gateway samples them repeatedly and derives the rates from
the differences. Shortly after the gateway's start, the rates cover less than a minute.
"""

import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec

from domain.pipeline.stages import ERASURE, TREE
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.queue.counters import Passed, passed

WINDOW_S = 60
EVERY_S = 10


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks per second of one stage; None if lanes were lost or Redis does not answer."""

    came: float | None = None
    left: float | None = None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates by stage. ``over_ms`` is None if there is no earlier count."""

    over_ms: int | None = None
    stages: dict[str, Rate] = {}

    def of(self, stage: str) -> Rate:
        return self.stages.get(stage, Rate())


class _Count(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    passed: Passed


class Counting:
    """Samples the totals of the lanes for one gateway."""

    def __init__(self, log: Log, background: Background | None = None) -> None:
        self._log = log
        self._background = background or Background()
        self._counts: deque[_Count] = deque(maxlen=WINDOW_S // EVERY_S)

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Count inside the block: part of the application's lifespan."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "rate counter", self._run)
            yield
            tasks.cancel_scope.cancel()

    async def rates(self) -> Rates:
        """Return the rates up to now; skip partitions missing from this or the earlier count."""
        now = await self._count()
        earlier = next((each for each in self._counts if each.at < now.at), None)
        if earlier is None:
            return Rates()
        seconds = now.at - earlier.at
        both = now.passed.keys() & earlier.passed.keys()
        return Rates(
            over_ms=round(seconds * 1000),
            stages={
                stage: Rate(
                    came=_rate([_came(each, stage, now, earlier) for each in both], seconds),
                    left=_rate([_left(each, stage, now, earlier) for each in both], seconds),
                )
                for stage in (*TREE, ERASURE)
                if all(stage in earlier.passed[each] for each in both)
            },
        )

    async def _run(self) -> None:
        while True:
            with suppress(StoreError):  # the health checks report it
                self._counts.append(await self._count())
            await anyio.sleep(EVERY_S)

    async def _count(self) -> _Count:
        return _Count(at=time.monotonic(), passed=await passed(self._log, (*TREE, ERASURE)))


def _came(partition: int, stage: str, now: _Count, earlier: _Count) -> int:
    return now.passed[partition][stage].came - earlier.passed[partition][stage].came


def _left(partition: int, stage: str, now: _Count, earlier: _Count) -> int:
    return now.passed[partition][stage].left - earlier.passed[partition][stage].left


def _rate(differences: list[int], seconds: float) -> float | None:
    if not differences or any(each < 0 for each in differences):
        return None
    return round(sum(differences) / seconds, 3)
