"""Report each run of a stage to metrics, logs and traces."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from domain.pipeline.stages import Task
from store import log_context
from store.errors import Lost
from store.log_context import Subject

Ended = Literal["completed", "failed"]
RunOutcome = Ended | Literal["lost", "interrupted"]


class StageRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a stage, including the recording of its result.

    ``outcome``: ``lost`` if the result came too late because another worker has the task;
    ``interrupted`` if the run ended without a result and will be repeated. ``began_ns`` counts from
    1970.
    """

    task: Task
    outcome: RunOutcome
    span_id: str
    began_ns: int
    seconds: float


RunObserver = Callable[[StageRun], None]


def subject_of(task: Task, span_id: str = "") -> Subject:
    return Subject(
        trace_id=task.trace_id, span_id=span_id, photo_id=task.photo_id, job_id=task.job_id
    )


async def observe_run(observe: RunObserver, task: Task, work: Awaitable[Ended]) -> None:
    """Do the work as a span of the task's trace, and report how it ended."""
    span_id = secrets.token_hex(8)
    log_context.begin(subject_of(task, span_id))
    outcome: RunOutcome = "interrupted"
    began_ns, began = time.time_ns(), time.perf_counter()
    try:
        outcome = await work
    except Lost:
        outcome = "lost"
        raise
    finally:
        observe(
            StageRun(
                task=task,
                outcome=outcome,
                span_id=span_id,
                began_ns=began_ns,
                seconds=time.perf_counter() - began,
            )
        )
