"""Empty the stages' queues: cancel what waits, or wait for what runs."""

from typing import Annotated

import anyio
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from domain.pipeline.control import RecordCancelled
from domain.pipeline.stages import ERASURE, TREE, all_stages, check_stage
from gateway.commands import NO_ANSWER, context, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator, overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.openapi.document import POSITION, OptionalBody
from gateway.queries.queue_snapshot import QueueSnapshot, within_ms
from gateway.routes.queues import (
    ALL,
    PauseRequest,
    Reason,
    Shape,
    StageName,
    pause,
    stage_or_all,
)
from store.log.control import ControlLog, ControlState
from store.queue.cancel import cancel
from store.queue.drain import inspect_rest
from store.queue.inspection import WorkerView, look

LOOK_S = 0.25
"""How often a request that waits for a drain looks at the lanes."""

LONGEST_WAIT_S = 30

Seconds = Annotated[
    int,
    QueryParameter(
        name="seconds",
        ge=0,
        le=LONGEST_WAIT_S,
        description="How long to wait for the stage to become idle.",
    ),
]


class Cancelled(Shape, frozen=True, kw_only=True):
    """``cancelled`` jobs have failed; ``remaining`` tasks are still waiting or delayed."""

    stage: str
    cancelled: int
    remaining: int


class Drain(Shape, frozen=True, kw_only=True):
    """Whether the stage, or ``all``, is paused and idle.

    ``idle``: no task runs, and none begins before the stage is resumed. Otherwise ``running`` tasks
    have not ended, ``unaware`` workers may not know of the pause yet, or the tasks of the
    partitions in ``silent`` are unknown. ``workers`` are those that run the tasks. A stage that is
    not ``paused`` was resumed, and is never idle.
    """

    stage: str
    paused: bool
    idle: bool
    running: int
    unaware: list[str]
    silent: list[int]
    workers: list[WorkerView]
    position: str


class CancelRequest(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


@post(
    "/api/ops/queues/{stage:str}/cancel",
    guards=[allowed(operator), only()],
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        "unknown-stage", "not-json", "missing-token", "forbidden", "log-unavailable"
    ),
    tags=["operations"],
    summary="Cancel the waiting tasks of a stage",
)
async def cancel_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    stage: StageName,
    data: JSONBody[CancelRequest],
) -> Response[Cancelled]:
    """Fail the jobs of waiting tasks with the given reason; they can be retried later.

    One call cancels a limited number of tasks: repeat it while some are `remaining`. Running tasks
    go on. Erasures cannot be cancelled."""
    name = stage_or_all(stage)
    stages = tuple(TREE) if name is None else (name,)
    most = deps.limits.cancel_at_once
    cancelled = await cancel(
        deps.log, stages, reason=data.reason, context=context(request), most=most
    )
    record = RecordCancelled(stage=name, tasks=cancelled, reason=data.reason)
    steered = await steer(request, deps, record) if cancelled else None
    snapshot.expire()
    left = sum(each.waiting + each.delayed for each in (await look(deps.log, stages)).stages)
    answer = Cancelled(stage=stage, cancelled=cancelled, remaining=left)
    return Response(answer, headers=position_header(steered and steered.position))


@post(
    "/api/ops/queues/{stage:str}/drain",
    guards=[allowed(operator), only()],
    operation_class=OptionalBody,
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("unknown-stage", "invalid-time", "invalid-pause-end", "not-json", "missing-token"),
        *("forbidden", "log-unavailable"),
    ),
    tags=["operations"],
    summary="Drain a stage",
)
async def drain_queue(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    stage: StageName,
    data: JSONBody[PauseRequest | None] = None,
) -> Response[Drain]:
    """Pause a stage, or `all`, and answer whether it is idle already.

    Running tasks finish; new ones wait until the stage is resumed. `GET` waits until the stage is
    idle."""
    steered = await steer(request, deps, pause(stage, data or PauseRequest()))
    snapshot.expire()
    answer = await _drain(deps, stage, steered)
    return Response(answer, headers=position_header(steered.position))


@get(
    "/api/ops/queues/{stage:str}/drain",
    guards=[allowed(overseer), only("seconds")],
    responses=problems(
        *("unknown-stage", "missing-token", "forbidden", "log-unavailable"), reads=True
    ),
    tags=["operations"],
    summary="Wait until a stage is idle",
)
async def await_drain(
    deps: NamedDependency[Dependencies], stage: StageName, seconds: Seconds = 0
) -> Drain:
    """Answer once a paused stage, or `all`, is idle, once it is resumed, or after `seconds`.

    This changes nothing. `idle` says which of them it was: see `Drain`."""
    if (name := stage_or_all(stage)) is not None:
        check_stage(name, ERASURE)
    deadline = anyio.current_time() + seconds
    with naming_the_log(deps.log, NO_ANSWER):
        while True:
            found = await _drain(deps, stage, await ControlLog(deps.log).load())
            left_s = deadline - anyio.current_time()
            if found.idle or not found.paused or left_s <= 0:
                return found
            await anyio.sleep(min(LOOK_S, left_s))


async def _drain(deps: Dependencies, stage: str, steered: ControlState) -> Drain:
    stages = all_stages() if stage == ALL else (stage,)
    with naming_the_log(deps.log, NO_ANSWER):
        rest = await inspect_rest(deps.log, steered, within_ms(deps))
    return Drain(
        stage=stage,
        paused=all(map(steered.controls.is_paused, stages)),
        idle=rest.is_idle(stages),
        running=rest.running(stages),
        unaware=rest.unaware,
        silent=rest.silent,
        workers=rest.workers(stages),
        position=str(steered.position),
    )


ROUTES = (cancel_queue, drain_queue, await_drain)
