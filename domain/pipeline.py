"""Stages form a tree; a pipeline is the part of the tree that a job runs.

``plan`` needs only the event at hand, so any number of dispatchers plan in any order.
A new stage is one entry in ``TREE`` and one file in ``handlers/``.
"""

import msgspec

from domain.events import (
    Event,
    PhotoDeleted,
    PhotoUploaded,
    ProcessingRequested,
    StageCompleted,
)
from domain.rejections import InvalidPriority, UnknownPipeline

ROOT = "validation"

TREE: dict[str, str | None] = {
    "validation": None,
    "metadata": "validation",
    "thumbnails": "validation",
    "optimization": "validation",
    "placeholder": "thumbnails",
}
"""Each stage and the stage whose completion starts it."""

PIPELINES: dict[str, frozenset[str]] = {
    "full_processing": frozenset(TREE),
    "quick_processing": frozenset({"validation", "thumbnails"}),
}

ERASURE = "erasure"
"""Not of any pipeline: removes the files of a deleted photo."""

LANES = ("high", "normal", "low")
DEFAULT_PIPELINE = "full_processing"
DEFAULT_PRIORITY = 5
URGENT = 1


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One stage to run for one job of one photo; ``cause`` is the position it was planned at."""

    photo_id: str
    client_id: str
    job_id: str
    stage: str
    priority: int
    trace_id: str
    cause: str
    attempt: int = 1


def lane(priority: int) -> str:
    """1–3 high, 4–7 normal, 8–10 low."""
    if priority <= 3:
        return "high"
    return "normal" if priority <= 7 else "low"


def check(pipeline: str, priority: int) -> None:
    """Refuse a pipeline that does not exist and a priority outside 1 to 10."""
    if pipeline not in PIPELINES:
        raise UnknownPipeline(
            f"There is no pipeline {pipeline!r}.", advice=f"Choose one of {', '.join(PIPELINES)}."
        )
    if not 1 <= priority <= 10:
        raise InvalidPriority(
            f"Priority {priority} is outside 1 to 10.", advice="1 is the most urgent, 10 the least."
        )


def children(pipeline: str, stage: str) -> tuple[str, ...]:
    """The stages of ``pipeline`` that the completion of ``stage`` starts, in the tree's order."""
    stages = PIPELINES[pipeline]
    return tuple(name for name, parent in TREE.items() if parent == stage and name in stages)


def plan(event: Event, position: str) -> tuple[Task, ...]:
    """The tasks that ``event``, read at ``position``, gives rise to."""
    match event.data:
        case PhotoUploaded() | ProcessingRequested() as data:
            return (_task(event, position, data.job_id, ROOT, data.priority),)
        case StageCompleted() as data:
            return tuple(
                _task(event, position, data.job_id, stage, data.priority)
                for stage in children(data.pipeline, data.stage)
            )
        case PhotoDeleted():
            return (_task(event, position, "", ERASURE, DEFAULT_PRIORITY),)
        case _:
            return ()


def _task(event: Event, position: str, job_id: str, stage: str, priority: int) -> Task:
    return Task(
        photo_id=event.data.photo_id,
        client_id=event.metadata.client_id,
        job_id=job_id,
        stage=stage,
        priority=priority,
        trace_id=event.metadata.trace_id,
        cause=position,
    )
