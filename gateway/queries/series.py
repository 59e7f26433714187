"""The last hour of the queues, as one gateway has sampled them: a point every ten seconds."""

from collections import Counter, deque
from contextlib import suppress

import msgspec

from domain.moments import iso
from domain.photo.events import StageFailed
from domain.pipeline.stages import all_stages
from gateway.dependencies import Dependencies
from gateway.queries.reading import lag_ms
from gateway.queries.throughput import EVERY_S, Count, Rates
from projections.models.history import HistoryEntry
from store.errors import StoreError

KEPT_S = 3600


class StagePoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One stage at one time. The rates and ``failures`` cover the time since the point before.

    ``failures`` counts failed attempts, including those that are retried. Rates are null if lanes
    were lost, and in the first point.
    """

    waiting: int
    in_progress: int
    delayed: int
    in_per_s: float | None
    out_per_s: float | None
    failures: int


class Point(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``lag_ms`` is that of the partition furthest behind; it and the memory of the log's fullest
    server are null while unknown. ``max_bytes`` 0 means no limit."""

    time: str
    lag_ms: int | None
    used_bytes: int | None
    max_bytes: int | None
    stages: dict[str, StagePoint]


class Series:
    """Keeps the points of the last hour, at most ``KEPT_S / EVERY_S``."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._failures: Counter[str] = Counter()
        self.points: deque[Point] = deque(maxlen=KEPT_S // EVERY_S)

    def happened(self, entry: HistoryEntry) -> None:
        """Count an event that tells of a failed attempt."""
        if entry.type == StageFailed.TYPE:
            self._failures[msgspec.json.decode(entry.body, type=_Failed).data.stage] += 1

    async def add(self, count: Count, rates: Rates) -> None:
        """Add a point for a sample of the lanes; raises Unavailable.

        A sample that no partition has answered gives no point. It also asks Redis nothing more:
        each failed call keeps the circuit breaker open for longer.
        """
        if not count.passed:
            return
        memory = await self._deps.log_memory.fullest(self._deps.log)
        lag = await self._lag_ms()
        time = iso(await self._deps.log.now())
        failures, self._failures = self._failures, Counter()
        self.points.append(
            Point(
                time=time,
                lag_ms=lag,
                used_bytes=memory and memory.used_bytes,
                max_bytes=memory and memory.max_bytes,
                stages={
                    stage: _stage_point(count, rates, stage, failures[stage])
                    for stage in all_stages()
                },
            )
        )

    async def _lag_ms(self) -> int | None:
        with suppress(StoreError):
            partitions = range(self._deps.log.partitions)
            return max([await lag_ms(self._deps, each) for each in partitions])
        return None


class _FailedData(msgspec.Struct, frozen=True):
    stage: str


class _Failed(msgspec.Struct, frozen=True):
    data: _FailedData


def _stage_point(count: Count, rates: Rates, stage: str, failures: int) -> StagePoint:
    found = [each[stage] for each in count.passed.values()]
    rate = rates.of(stage)
    return StagePoint(
        waiting=sum(each.waiting for each in found),
        in_progress=sum(each.in_progress for each in found),
        delayed=sum(each.delayed for each in found),
        in_per_s=rate.came,
        out_per_s=rate.left,
        failures=failures,
    )
