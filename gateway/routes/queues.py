"""The stages' queues: inspect their backlog and workers, and control them."""

from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from domain.photo.events import iso
from domain.pipeline.control import (
    ControlCommand,
    Controls,
    LimitStage,
    PauseStage,
    ResumeStage,
)
from domain.pipeline.control_events import Limit, Rate, Tasks
from domain.pipeline.stages import all_stages
from gateway.commands import position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator, overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, bodiless, only
from gateway.openapi.document import POSITION
from gateway.queries.throughput import Counting
from gateway.queries.throughput import Rate as StageRate
from projections.models import dead_letters
from store.errors import Unavailable
from store.log.control import PARTITION, ControlLog, Steered
from store.log.log import Log
from store.queue.drain import Rest, inspect_rest
from store.queue.inspection import LaneDepth, PartitionQueue, Queues, StageQueue, WorkerView, look
from store.sqlite.reader import Reader

ALL = "all"
"""Stands for all stages in a path."""

StageName = Annotated[str, PathParameter(description="A stage, or `all`.")]

Reason = Annotated[str, Meta(min_length=1, max_length=500)]

State = Literal["running", "draining", "paused"]
"""``draining``: paused, but tasks still run, or a worker does not know of the pause yet."""


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class QueueView(Shape, frozen=True, kw_only=True):
    """``added`` and ``taken`` count all tasks that ever entered the lanes, and left them.

    ``in_per_s`` and ``out_per_s`` are averages over the last minute, null if unknown. ``paused``
    and ``limit`` are null while unknown: see ``QueuesView``. ``state`` is ``draining`` while a
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
    state: State | None
    limit: Limit | None
    dead_letters: int


class LogMemory(Shape, frozen=True, kw_only=True):
    """Memory of the log's server with the least memory left; ``max_bytes`` 0 means no limit."""

    used_bytes: int
    max_bytes: int


class QueuesView(Shape, frozen=True, kw_only=True):
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


class StageControl(Shape, frozen=True, kw_only=True):
    """The pause and limits now in force for the stage, or for ``all``."""

    stage: str
    paused: bool
    limit: Limit
    position: str


class RateRequest(Rate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class LimitRequest(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both limits; one that is null or left out is removed."""

    concurrency: Tasks | None = None
    rate: RateRequest | None = None

    def limit(self) -> Limit:
        rate = self.rate and Rate(max=self.rate.max, duration_ms=self.rate.duration_ms)
        return Limit(concurrency=self.concurrency, rate=rate)


@get(
    "/api/ops/queues",
    guards=[allowed(overseer), only("after")],
    responses=problems("missing-token", "forbidden", "read-model-behind"),
    tags=["operations"],
    summary="List queues and workers",
)
async def show_queues(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    counting: NamedDependency[Counting],
) -> QueuesView:
    """Return the backlog, rates and limits of each stage, and the workers.

    Stages come in pipeline order, then `erasure`. Partitions that do not answer are left out of the
    counts; pauses and limits are null while partition 0 does not answer."""
    found = await look(deps.log, all_stages())
    steered = await _steered_by(deps.log, found)
    rest: Rest | None = None
    if steered is not None and any(map(steered.controls.is_paused, all_stages())):
        with suppress(Unavailable):
            rest = await inspect_rest(deps.log, steered, within_ms(deps))
            found = rest.queues
    controls = steered and steered.controls
    rates = await counting.rates()
    failed = await reader.query(dead_letters.counts)
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


@post(
    "/api/ops/queues/{stage:str}/pause",
    guards=[allowed(operator), only()],
    before_request=bodiless,
    status_code=200,
    response_headers=[POSITION],
    responses=problems("unknown-stage", "missing-token", "forbidden", "log-unavailable"),
    tags=["operations"],
    summary="Pause a stage",
)
async def pause_queue(
    request: Asked, deps: NamedDependency[Dependencies], stage: StageName
) -> Response[StageControl]:
    """Stop starting tasks of a stage, or of `all`. Running tasks finish; new ones wait."""
    return await _steered(request, deps, stage, PauseStage(stage=stage_or_all(stage)))


@post(
    "/api/ops/queues/{stage:str}/resume",
    guards=[allowed(operator), only()],
    before_request=bodiless,
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("unknown-stage", "pipeline-paused", "missing-token", "forbidden", "log-unavailable")
    ),
    tags=["operations"],
    summary="Resume a stage",
)
async def resume_queue(
    request: Asked, deps: NamedDependency[Dependencies], stage: StageName
) -> Response[StageControl]:
    """Resume a stage, or `all`, including stages that were paused individually."""
    return await _steered(request, deps, stage, ResumeStage(stage=stage_or_all(stage)))


@put(
    "/api/ops/queues/{stage:str}/limits",
    guards=[allowed(operator), only()],
    response_headers=[POSITION],
    responses=problems(
        *("unknown-stage", "invalid-limit-setting", "not-json", "missing-token", "forbidden"),
        "log-unavailable",
    ),
    tags=["operations"],
    summary="Limit a stage",
)
async def limit_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    stage: StageName,
    data: JSONBody[LimitRequest],
) -> Response[StageControl]:
    """Set a stage's concurrency in each worker, and its rate across all workers.

    For `all`, set how many tasks of any stage a worker runs concurrently. Workers apply the limits
    within a second."""
    return await _steered(
        request, deps, stage, LimitStage(stage=stage_or_all(stage), limit=data.limit())
    )


def within_ms(deps: Dependencies) -> int:
    """Return how long a worker may be silent; after that, others take over its tasks."""
    return int(deps.limits.stalled_after_s * 1000)


async def _steered_by(log: Log, found: Queues) -> Steered | None:
    """Return the pauses and limits in force; None while they are unknown."""
    if not found.partitions[PARTITION].answers:
        return None
    try:
        return await ControlLog(log).load()
    except Unavailable:
        return None


def stage_or_all(stage: str) -> str | None:
    """Return the stage that a path names, or None if it names all of them."""
    return None if stage == ALL else stage


async def _steered(
    request: Asked, deps: Dependencies, stage: str, command: ControlCommand
) -> Response[StageControl]:
    steered = await steer(request, deps, command)
    return Response(_in_force(stage, steered), headers=position_header(steered.position))


def _in_force(stage: str, steered: Steered) -> StageControl:
    controls = steered.controls
    everything = stage == ALL
    return StageControl(
        stage=stage,
        paused=controls.all_paused if everything else controls.is_paused(stage),
        limit=Limit(concurrency=controls.concurrency) if everything else controls.limit(stage),
        position=str(steered.position),
    )


def _state(stage: str, controls: Controls | None, rest: Rest | None) -> State | None:
    if controls is None:
        return None
    if not controls.is_paused(stage):
        return "running"
    return None if rest is None else "paused" if rest.is_idle((stage,)) else "draining"


def _view(
    queue: StageQueue, rate: StageRate, controls: Controls | None, rest: Rest | None, failed: int
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
        state=_state(queue.stage, controls, rest),
        limit=controls and controls.limit(queue.stage),
        dead_letters=failed,
    )


ROUTES = (show_queues, pause_queue, resume_queue, limit_queue)
