"""Sample the lanes regularly, and measure how many tasks enter and leave them.

Redis stores only totals, so a running gateway samples them repeatedly and derives the rates from
the differences. Shortly after the gateway's start, the rates cover less than a minute.
"""

import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec

from domain.pipeline.stages import all_stages
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


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A count of the tasks in the lanes; ``at`` is in seconds of this process's clock."""

    at: float
    passed: Passed


Observer = Callable[[Count, Rates], Awaitable[None]]
"""Called with each sample and the rates since the sample before."""


async def _ignore(_count: Count, _rates: Rates) -> None:
    pass


class Counting:
    """Samples the lanes every ``every_s`` seconds for one gateway."""

    every_s: float = EVERY_S

    def __init__(
        self, log: Log, background: Background | None = None, observe: Observer = _ignore
    ) -> None:
        self._log = log
        self._background = background or Background()
        self._observe = observe
        self._counts: deque[Count] = deque(maxlen=WINDOW_S // EVERY_S)

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
        return _between(earlier, now)

    async def _run(self) -> None:
        while True:
            with suppress(StoreError):  # the health checks report it
                count = await self._count()
                earlier = self._counts[-1] if self._counts else None
                self._counts.append(count)
                await self._observe(count, _between(earlier, count))
            await anyio.sleep(self.every_s)

    async def _count(self) -> Count:
        return Count(at=time.monotonic(), passed=await passed(self._log, all_stages()))


def _between(earlier: Count | None, now: Count) -> Rates:
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
            for stage in all_stages()
            if all(stage in earlier.passed[each] for each in both)
        },
    )


def _came(partition: int, stage: str, now: Count, earlier: Count) -> int:
    return now.passed[partition][stage].came - earlier.passed[partition][stage].came


def _left(partition: int, stage: str, now: Count, earlier: Count) -> int:
    return now.passed[partition][stage].left - earlier.passed[partition][stage].left


def _rate(differences: list[int], seconds: float) -> float | None:
    if not differences or any(each < 0 for each in differences):
        return None
    return round(sum(differences) / seconds, 3)
