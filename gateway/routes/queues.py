"""The stages' queues: what waits and who works, and how operators steer them."""

from typing import Annotated

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from domain.photo.events import iso
from domain.pipeline.control import (
    ControlCommand,
    Controls,
    LimitStage,
    PauseStage,
    RecordDrained,
    ResumeStage,
)
from domain.pipeline.control_events import Limit, Rate, Tasks
from domain.pipeline.stages import ERASURE, TREE
from gateway.commands import context, position_header, steer
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
from store.queue.drain import drain
from store.queue.inspection import LaneDepth, PartitionQueue, Queues, StageQueue, WorkerView, look
from store.sqlite.reader import Reader

ALL = "all"
"""Stands for all stages in an address."""

Reason = Annotated[str, Meta(min_length=1, max_length=500)]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class QueueView(_Shape, frozen=True, kw_only=True):
    """``added`` and ``taken`` count all tasks that ever came into the lanes, and left them.

    ``in_per_s`` and ``out_per_s`` are those of the last minute, null where they are not known.
    ``paused`` and ``limit`` are null while they are not known: see ``QueuesView``.
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
    limit: Limit | None
    dead_letters: int


class LogMemory(_Shape, frozen=True, kw_only=True):
    """Of the server of the log that has least memory left; ``max_bytes`` 0 is no bound."""

    used_bytes: int
    max_bytes: int


class QueuesView(_Shape, frozen=True, kw_only=True):
    """``time`` is that of the look; ``concurrency`` is what operators allow each worker.

    ``rates_over_ms`` is the time that the rates are over, null where there are none yet.
    Nothing is counted of partitions that do not answer. What operators have said is in partition 0
    and not known while that one is silent: ``all_paused`` is null then, and so is all else of it.
    """

    time: str
    all_paused: bool | None
    concurrency: int | None
    rates_over_ms: int | None
    stages: list[QueueView]
    workers: list[WorkerView]
    log_memory: LogMemory | None
    partitions: list[PartitionQueue]


class Held(_Shape, frozen=True, kw_only=True):
    """What now holds for the stage, or for ``all``."""

    stage: str
    paused: bool
    limit: Limit
    position: str


class Drained(_Shape, frozen=True, kw_only=True):
    """``drained`` jobs have failed; ``remaining`` tasks wait, or wait for their time."""

    stage: str
    drained: int
    remaining: int


class DrainWish(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


class RateWish(Rate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class LimitWish(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both limits; one that is null or left out is taken away."""

    concurrency: Tasks | None = None
    rate: RateWish | None = None

    def limit(self) -> Limit:
        rate = self.rate and Rate(max=self.rate.max, duration_ms=self.rate.duration_ms)
        return Limit(concurrency=self.concurrency, rate=rate)


@get(
    "/api/ops/queues",
    guards=[allowed(overseer), only("after")],
    responses=problems("missing-token", "forbidden", "read-model-behind"),
    tags=["operations"],
    summary="What waits, and who works",
)
async def show_queues(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    counting: NamedDependency[Counting],
) -> QueuesView:
    """The stages in the order of the pipeline's tree, then `erasure`; and the workers.

    While some partitions do not answer, what the others say; what operators have said is null
    while partition 0 does not."""
    found = await look(deps.log, (*TREE, ERASURE))
    controls = await _controls(deps.log, found)
    rates = await counting.rates()
    failed = await reader.query(dead_letters.counts)
    return QueuesView(
        time=iso(await deps.log.now()),
        all_paused=controls and controls.all_paused,
        concurrency=controls and controls.concurrency,
        rates_over_ms=rates.over_ms,
        stages=[
            _view(each, rates.of(each.stage), controls, failed.get(each.stage, 0))
            for each in found.stages
        ],
        workers=found.workers,
        log_memory=await _memory(deps),
        partitions=found.partitions,
    )


async def _memory(deps: Dependencies) -> LogMemory | None:
    fullest = await deps.log_room.fullest(deps.log)
    return fullest and LogMemory(used_bytes=fullest.used_bytes, max_bytes=fullest.max_bytes)


@post(
    "/api/ops/queues/{stage:str}/pause",
    guards=[allowed(operator), only()],
    before_request=bodiless,
    status_code=200,
    response_headers=[POSITION],
    responses=problems("unknown-stage", "missing-token", "forbidden", "log-unavailable"),
    tags=["operations"],
    summary="Begin no more tasks of a stage",
)
async def pause_queue(
    request: Asked, deps: NamedDependency[Dependencies], stage: FromPath[str]
) -> Response[Held]:
    """Of one stage, or of `all`. Tasks under way end; what comes meanwhile waits."""
    return await _steered(request, deps, stage, PauseStage(stage=_named(stage)))


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
    summary="Go on with a stage",
)
async def resume_queue(
    request: Asked, deps: NamedDependency[Dependencies], stage: FromPath[str]
) -> Response[Held]:
    """With one stage, or with `all`, those too that were paused one by one."""
    return await _steered(request, deps, stage, ResumeStage(stage=_named(stage)))


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
    stage: FromPath[str],
    data: JSONBody[LimitWish],
) -> Response[Held]:
    """Its tasks at once in each worker, and a rate over all workers. Of `all`: how many tasks of
    whatever stage a worker runs at once. Workers heed it within a second."""
    return await _steered(request, deps, stage, LimitStage(stage=_named(stage), limit=data.limit()))


@post(
    "/api/ops/queues/{stage:str}/drain",
    guards=[allowed(operator), only()],
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        "unknown-stage", "not-json", "missing-token", "forbidden", "log-unavailable"
    ),
    tags=["operations"],
    summary="Fail what waits",
)
async def drain_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    stage: FromPath[str],
    data: JSONBody[DrainWish],
) -> Response[Drained]:
    """The jobs of the tasks that wait fail with the reason, and can be retried. One call takes a
    bounded number; call again while some are `remaining`. Erasures are not drained."""
    name = _named(stage)
    stages = tuple(TREE) if name is None else (name,)
    drained = await _drained(request, deps, stages, data.reason)
    record = RecordDrained(stage=name, tasks=drained, reason=data.reason)
    steered = await steer(request, deps, record) if drained else None
    left = sum(each.waiting + each.delayed for each in (await look(deps.log, stages)).stages)
    answer = Drained(stage=stage, drained=drained, remaining=left)
    return Response(answer, headers=position_header(steered and steered.position))


async def _controls(log: Log, found: Queues) -> Controls | None:
    """What operators have said; None while it is not known."""
    if not found.partitions[PARTITION].answers:
        return None
    try:
        return (await ControlLog(log).load()).controls
    except Unavailable:
        return None


def _named(stage: str) -> str | None:
    return None if stage == ALL else stage


async def _drained(request: Asked, deps: Dependencies, stages: tuple[str, ...], reason: str) -> int:
    most = deps.limits.drain_at_once
    return await drain(deps.log, stages, reason=reason, context=context(request), most=most)


async def _steered(
    request: Asked, deps: Dependencies, stage: str, command: ControlCommand
) -> Response[Held]:
    steered = await steer(request, deps, command)
    return Response(_held(stage, steered), headers=position_header(steered.position))


def _held(stage: str, steered: Steered) -> Held:
    controls = steered.controls
    everything = stage == ALL
    return Held(
        stage=stage,
        paused=controls.all_paused if everything else controls.is_paused(stage),
        limit=Limit(concurrency=controls.concurrency) if everything else controls.limit(stage),
        position=str(steered.position),
    )


def _view(queue: StageQueue, rate: StageRate, controls: Controls | None, failed: int) -> QueueView:
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
        limit=controls and controls.limit(queue.stage),
        dead_letters=failed,
    )


ROUTES = (show_queues, pause_queue, resume_queue, limit_queue, drain_queue)
