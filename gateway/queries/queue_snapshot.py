"""The queues, their workers and limits, as one look that all callers of a gateway share."""

from contextlib import suppress
from typing import Literal

import msgspec

from domain.moments import iso
from domain.pipeline.control import Controls
from domain.pipeline.control_events import Limit
from domain.pipeline.stages import all_stages
from gateway.dependencies import Dependencies
from gateway.queries.throughput import Counting, Rate
from gateway.state.shared_look import SharedLook
from projections.models import dead_letters
from store.errors import Unavailable
from store.log.control import PARTITION, ControlLog, ControlState
from store.log.log import Log
from store.queue.drain import Rest, inspect_rest
from store.queue.inspection import LaneDepth, PartitionQueue, Queues, StageQueue, WorkerView, look

KEEP_S = 1.0
"""How long a look is shared."""

State = Literal["running", "draining", "paused"]
"""``draining``: paused, but tasks still run, or a worker does not know of the pause yet."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class QueueView(_Shape, frozen=True, kw_only=True):
    """``added`` and ``taken`` count all tasks that ever entered the lanes, and left them.

    ``in_per_s`` and ``out_per_s`` are averages over the last minute, null if unknown. ``paused``
    and ``limit`` are null while unknown: see ``QueuesView``. ``paused_until`` is when a pause ends
    by itself, null if it does not. ``state`` is ``draining`` while a
    paused stage is not idle yet, ``paused`` once it is, and otherwise ``running``; null if unknown.
    """

    stage: str
    lanes: dict[str, LaneDepth]
    waiting: int
    in_progress: int
    delayed: int
    oldest_age_ms: int | None
    added: int
    taken: int
    in_per_s: float | None
    out_per_s: float | None
    paused: bool | None
    paused_until: str | None
    state: State | None
    limit: Limit | None
    dead_letters: int


class LogMemory(_Shape, frozen=True, kw_only=True):
    """Memory of the log's server with the least memory left; ``max_bytes`` 0 means no limit."""

    used_bytes: int
    max_bytes: int


class QueuesView(_Shape, frozen=True, kw_only=True):
    """The queues at ``time``; ``concurrency`` is how many tasks operators allow each worker.

    ``rates_over_ms`` is the interval that the rates cover, null before the first. Partitions
    that do not answer are not counted. Pauses and limits are stored in partition 0: while it does
    not answer, ``all_paused`` and the other fields derived from them are null.
    """

    time: str
    all_paused: bool | None
    concurrency: int | None
    rates_over_ms: int | None
    stages: list[QueueView]
    workers: list[WorkerView]
    log_memory: LogMemory | None
    partitions: list[PartitionQueue]


QueueSnapshot = SharedLook[QueuesView]


def queue_snapshot(deps: Dependencies, counting: Counting) -> QueueSnapshot:
    """Return the shared look of one gateway."""

    async def take() -> QueuesView:
        return await _look(deps, counting)

    return SharedLook(take, KEEP_S)


async def _look(deps: Dependencies, counting: Counting) -> QueuesView:
    found = await look(deps.log, all_stages())
    steered = await _steered_by(deps.log, found)
    rest: Rest | None = None
    if steered is not None and any(map(steered.controls.is_paused, all_stages())):
        with suppress(Unavailable):
            rest = await inspect_rest(deps.log, steered, within_ms(deps))
            found = rest.queues
    controls = steered and steered.controls
    rates = await counting.rates()
    failed = await deps.reader.query(dead_letters.counts)
    return QueuesView(
        time=iso(await deps.log.now()),
        all_paused=controls and controls.all_paused,
        concurrency=controls and controls.concurrency,
        rates_over_ms=rates.over_ms,
        stages=[
            _view(each, rates.of(each.stage), controls, rest, failed.get(each.stage, 0))
            for each in found.stages
        ],
        workers=found.workers,
        log_memory=await _memory(deps),
        partitions=found.partitions,
    )


async def _memory(deps: Dependencies) -> LogMemory | None:
    fullest = await deps.log_memory.fullest(deps.log)
    return fullest and LogMemory(used_bytes=fullest.used_bytes, max_bytes=fullest.max_bytes)


def within_ms(deps: Dependencies) -> int:
    """Return how long a worker may be silent; after that, others take over its tasks."""
    return int(deps.limits.stalled_after_s * 1000)


async def _steered_by(log: Log, found: Queues) -> ControlState | None:
    """Return the pauses and limits in force; None while they are unknown."""
    if not found.partitions[PARTITION].answers:
        return None
    try:
        return await ControlLog(log).load()
    except Unavailable:
        return None


def _state(stage: str, controls: Controls | None, rest: Rest | None) -> State | None:
    if controls is None:
        return None
    if not controls.is_paused(stage):
        return "running"
    return None if rest is None else "paused" if rest.is_idle((stage,)) else "draining"


def _until(stage: str, controls: Controls | None) -> str | None:
    end = controls and controls.paused_until(stage)
    return end and iso(end)


def _view(
    queue: StageQueue, rate: Rate, controls: Controls | None, rest: Rest | None, failed: int
) -> QueueView:
    ages = [each.oldest_age_ms for each in queue.lanes.values() if each.oldest_age_ms is not None]
    return QueueView(
        stage=queue.stage,
        lanes=queue.lanes,
        waiting=queue.waiting,
        in_progress=queue.in_progress,
        delayed=queue.delayed,
        oldest_age_ms=max(ages, default=None),
        added=queue.added,
        taken=queue.added - queue.waiting - queue.in_progress,
        in_per_s=rate.came,
        out_per_s=rate.left,
        paused=controls and controls.is_paused(queue.stage),
        paused_until=_until(queue.stage, controls),
        state=_state(queue.stage, controls, rest),
        limit=controls and controls.limit(queue.stage),
        dead_letters=failed,
    )
