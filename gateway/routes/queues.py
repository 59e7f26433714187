"""The stages' queues: inspect their backlog and workers, and control them."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from domain.moments import iso
from domain.pipeline.control import (
    EVERY,
    ControlCommand,
    LimitStage,
    PauseStage,
    ResumeStage,
)
from domain.pipeline.control_events import Limit, Rate, Tasks
from gateway.commands import position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator, overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.http.times import parse_time
from gateway.openapi.document import POSITION, OptionalBody
from gateway.queries.queue_snapshot import QueueSnapshot, QueuesView
from store.log.control import ControlState
from store.sqlite.reader import Reader

ALL = "all"
"""Stands for all stages in a path."""

StageName = Annotated[str, PathParameter(description="A stage, or `all`.")]

Reason = Annotated[str, Meta(min_length=1, max_length=500)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class StageControl(Shape, frozen=True, kw_only=True):
    """The pause and limits now in force for the stage, or for ``all``.

    ``paused_until`` is when the pause ends by itself, null if it does not.
    """

    stage: str
    paused: bool
    paused_until: str | None
    limit: Limit
    position: str


class RateRequest(Rate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ReasonRequest(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``reason`` is recorded, and shown in the audit list."""

    reason: Reason | None = None


class PauseRequest(ReasonRequest, frozen=True, kw_only=True):
    """The stage resumes by itself at ``until``, even if everything was restarted meanwhile."""

    until: str | None = None


class LimitRequest(ReasonRequest, frozen=True, kw_only=True):
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
    request: Asked,
    snapshot: NamedDependency[QueueSnapshot],
    reader: NamedDependency[Reader],  # noqa: ARG001 # waits for `after`
) -> QueuesView:
    """Return the backlog, rates and limits of each stage, and the workers.

    Stages come in pipeline order, then `erasure`. Partitions that do not answer are left out of the
    counts; pauses and limits are null while partition 0 does not answer. All callers share one
    look, which is at most a second old: `time` says when it was. With `after` it is newer than the
    request, and after a change through this gateway it includes the change."""
    return await snapshot.get(fresh="after" in request.query_params)


@post(
    "/api/ops/queues/{stage:str}/pause",
    guards=[allowed(operator), only()],
    operation_class=OptionalBody,
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("unknown-stage", "invalid-time", "invalid-pause-end", "not-json", "missing-token"),
        *("forbidden", "log-unavailable"),
    ),
    tags=["operations"],
    summary="Pause a stage",
)
async def pause_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    stage: StageName,
    data: JSONBody[PauseRequest | None] = None,
) -> Response[StageControl]:
    """Stop starting tasks of a stage, or of `all`. Running tasks finish; new ones wait.

    With `until`, the stage resumes by itself. Pausing it again with another `until`, or without
    one, replaces the end."""
    return await _steered(request, deps, snapshot, stage, pause(stage, data or PauseRequest()))


def pause(stage: str, wanted: PauseRequest) -> PauseStage:
    """Return the command; raises Refused, ``invalid-time``."""
    until = parse_time(wanted.until)
    return PauseStage(
        stage=stage_or_all(stage),
        now=datetime.now(UTC),
        until=None if until is None else datetime.fromisoformat(until),
        reason=wanted.reason or "",
    )


@post(
    "/api/ops/queues/{stage:str}/resume",
    guards=[allowed(operator), only()],
    operation_class=OptionalBody,
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("unknown-stage", "pipeline-paused", "not-json", "missing-token", "forbidden"),
        "log-unavailable",
    ),
    tags=["operations"],
    summary="Resume a stage",
)
async def resume_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    stage: StageName,
    data: JSONBody[ReasonRequest | None] = None,
) -> Response[StageControl]:
    """Resume a stage, or `all`, including stages that were paused individually."""
    reason = (data and data.reason) or ""
    command = ResumeStage(stage=stage_or_all(stage), reason=reason)
    return await _steered(request, deps, snapshot, stage, command)


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
    snapshot: NamedDependency[QueueSnapshot],
    stage: StageName,
    data: JSONBody[LimitRequest],
) -> Response[StageControl]:
    """Set a stage's concurrency in each worker, and its rate across all workers.

    For `all`, set how many tasks of any stage a worker runs concurrently. Workers apply the limits
    within a second."""
    command = LimitStage(stage=stage_or_all(stage), limit=data.limit(), reason=data.reason or "")
    return await _steered(request, deps, snapshot, stage, command)


def stage_or_all(stage: str) -> str | None:
    """Return the stage that a path names, or None if it names all of them."""
    return None if stage == ALL else stage


async def _steered(
    request: Asked,
    deps: Dependencies,
    snapshot: QueueSnapshot,
    stage: str,
    command: ControlCommand,
) -> Response[StageControl]:
    steered = await steer(request, deps, command)
    snapshot.expire()
    return Response(_in_force(stage, steered), headers=position_header(steered.position))


def _in_force(stage: str, steered: ControlState) -> StageControl:
    controls = steered.controls
    everything = stage == ALL
    until = controls.paused_until(EVERY if everything else stage)
    return StageControl(
        stage=stage,
        paused=controls.all_paused if everything else controls.is_paused(stage),
        paused_until=until and iso(until),
        limit=Limit(concurrency=controls.concurrency) if everything else controls.limit(stage),
        position=str(steered.position),
    )


ROUTES = (show_queues, pause_queue, resume_queue, limit_queue)
