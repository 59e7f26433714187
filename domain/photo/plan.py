"""Plan the tasks that an event of a photo leads to.

``plan`` needs only the event at hand, so any number of dispatchers can plan in any order, and those
of all versions plan the same stages: events say which (``domain.pipeline.job_stages``). Only the
estimates of costs depend on the version. The stages that a job has ``done`` always include their
ancestors, so the descendants of a stage that runs are not done.
"""

from collections.abc import Collection

import msgspec
from msgspec import UNSET

from domain.photo import events as e
from domain.pipeline import costs
from domain.pipeline.job_stages import (
    JobStages,
    children,
    current_stages,
    descendants,
    ready,
    stages_of_job,
)
from domain.pipeline.stages import DEFAULT_PRIORITY, ERASURE, LEAST_PRIORITY, ROOT, Task


def plan(event: e.Event, position: str) -> tuple[Task, ...]:
    """Return the tasks that ``event``, read at ``position``, leads to."""
    match event.data:
        case e.PhotoUploaded() as data:
            after = stages_of_job(data.pipeline, data.stages).keys() - {ROOT}
            cost_ms = costs.validation_ms(data.file_size) + costs.stages_ms(after)
            return (_task(event, position, data.job_id, ROOT, data.priority, cost_ms),)
        case e.ProcessingRequested() as data:
            stages = stages_of_job(data.pipeline, data.stages)
            return tuple(
                _task(
                    *(event, position, data.job_id, stage, data.priority),
                    _cost_ms(stages, stage, data.done),
                )
                for stage in ready(stages, data.done)
            )
        case e.StageCompleted() as data:
            return tuple(
                msgspec.structs.replace(
                    _task(event, position, data.job_id, stage, data.priority),
                    cost_ms=costs.pixels_ms(stage, data.result),
                    follows=True,
                )
                for stage in started_by(data)
            )
        case e.StageFailed(retry_at=str() as due) as data:
            cost_ms = _cost_ms(current_stages(data.pipeline), data.stage)
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


def started_by(data: e.StageCompleted) -> tuple[str, ...]:
    """Return the stages that the completed one starts."""
    if data.starts is UNSET:
        return children(stages_of_job(data.pipeline, None), data.stage)
    return data.starts


def _cost_ms(stages: JobStages, stage: str, done: Collection[str] = ()) -> int:
    """Estimate the stage and those of ``stages`` that run after it."""
    after = descendants(stages, stage) - set(done)
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
