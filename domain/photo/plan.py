"""Plan the tasks that an event of a photo leads to.

``plan`` needs only the event at hand, so any number of dispatchers can plan in any order. The
stages that a job has ``done`` always include their ancestors, so the descendants of a stage that
runs are not done.
"""

from collections.abc import Collection

import msgspec

from domain.photo import events as e
from domain.pipeline import costs
from domain.pipeline.stages import (
    DEFAULT_PRIORITY,
    ERASURE,
    LEAST_PRIORITY,
    ROOT,
    Task,
    children,
    descendants,
    ready,
    stages_of,
)


def plan(event: e.Event, position: str) -> tuple[Task, ...]:
    """Return the tasks that ``event``, read at ``position``, leads to."""
    match event.data:
        case e.PhotoUploaded() as data:
            after = stages_of(data.pipeline) - {ROOT}
            cost_ms = costs.validation_ms(data.file_size) + costs.stages_ms(after)
            return (_task(event, position, data.job_id, ROOT, data.priority, cost_ms),)
        case e.ProcessingRequested() as data:
            return tuple(
                _task(
                    *(event, position, data.job_id, stage, data.priority),
                    _cost_ms(data.pipeline, stage, data.done),
                )
                for stage in ready(data.pipeline, data.done)
            )
        case e.StageCompleted() as data:
            return tuple(
                msgspec.structs.replace(
                    _task(event, position, data.job_id, stage, data.priority),
                    cost_ms=costs.pixels_ms(stage, data.result),
                    follows=True,
                )
                for stage in children(data.pipeline, data.stage)
            )
        case e.StageFailed(retry_at=str() as due) as data:
            cost_ms = _cost_ms(data.pipeline, data.stage)
            task = _task(event, position, data.job_id, data.stage, data.priority, cost_ms)
            return (msgspec.structs.replace(task, attempt=data.attempt + 1, due=due),)
        case e.RenditionsSuperseded(remove_at=str() as due) as data:
            task = _task(event, position, data.job_id, ERASURE, LEAST_PRIORITY)
            return (msgspec.structs.replace(task, due=due),)
        case e.PhotoDeleted():
            cost_ms = costs.ERASURE_MS
            return (_task(event, position, "", ERASURE, DEFAULT_PRIORITY, cost_ms),)
        case _:
            return ()


def _cost_ms(pipeline: str, stage: str, done: Collection[str] = ()) -> int:
    """Estimate the stage and the stages that the pipeline runs after it."""
    after = descendants(stage) & stages_of(pipeline) - set(done)
    return costs.stages_ms({stage, *after})


def _task(
    event: e.Event, position: str, job_id: str, stage: str, priority: int, cost_ms: int = 0
) -> Task:
    return Task(
        photo_id=event.data.photo_id,
        client_id=event.metadata.client_id,
        job_id=job_id,
        stage=stage,
        priority=priority,
        trace_id=event.metadata.trace_id,
        cause=position,
        cost_ms=cost_ms,
    )
