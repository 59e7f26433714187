"""The tree of stages, the pipelines, and the tasks that run a stage.

A pipeline is the part of the tree that a job runs. ``ops/guides/extending.md`` tells how to add a
stage. A job keeps the stages that it began with: ``domain.pipeline.job_stages``.
"""

import msgspec

from domain.pipeline import costs
from domain.rejections import InvalidPriority, UnknownPipeline, UnknownStage

ROOT = "validation"

TREE: dict[str, str | None] = {
    "validation": None,
    "metadata": "validation",
    "thumbnails": "validation",
    "optimization": "validation",
    "placeholder": "thumbnails",
}
"""Each stage, and the stage whose completion starts it."""

PIPELINES: dict[str, frozenset[str]] = {
    "full_processing": frozenset(TREE),
    "quick_processing": frozenset({"validation", "thumbnails"}),
}

BACKFILL = "backfill:"
"""The prefix of the pipelines that run one stage and the stages that build on it."""

ERASURE = "erasure"
"""The stage outside all pipelines that removes superseded renditions or a deleted photo's files."""

LANES = ("high", "normal", "low")
DEFAULT_PIPELINE = "full_processing"
DEFAULT_PRIORITY = 5
URGENT = 1
LEAST_PRIORITY = 10

SHOWN = 40
"""The most characters of an invalid value that an error message repeats."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One stage to run for one job of one photo.

    ``cause`` is the position of the event that planned it. ``due`` is the earliest time to run it,
    by the clock of the log. ``cost_ms`` is the estimated time on a decoder, 0 if there is no
    estimate; for a task that begins a run it includes the stages after it, which get their own
    estimates when it is done. ``follows`` marks a stage after a completed one: its photo has begun.
    """

    photo_id: str
    client_id: str
    job_id: str
    stage: str
    priority: int
    trace_id: str
    cause: str
    attempt: int = 1
    due: str | None = None
    cost_ms: int = 0
    follows: bool = False

    @property
    def charge_ms(self) -> int:
        """Return the price of the task before it has run, at least ``costs.LEAST_MS``."""
        return max(costs.LEAST_MS, self.cost_ms)


def all_stages() -> tuple[str, ...]:
    """Return the stages of the tree and the erasure, which have lanes."""
    return (*TREE, ERASURE)


def lane(priority: int) -> str:
    """Return the lane of a priority: 1–3 high, 4–7 normal, 8–10 low."""
    if priority <= 3:
        return "high"
    return "normal" if priority <= 7 else "low"


def check(pipeline: str, priority: int) -> None:
    """Reject a pipeline that does not exist, and a priority outside 1 to 10."""
    if pipeline not in PIPELINES:
        raise UnknownPipeline(
            f"There is no pipeline {pipeline[:SHOWN]!r}.",
            advice=f"Choose one of {', '.join(PIPELINES)}.",
        )
    check_priority(priority)


def check_stage(stage: str, *others: str) -> None:
    """Reject a stage that is neither in the tree nor among the ``others``."""
    if stage not in (*TREE, *others):
        choice = ", ".join((*TREE, *others))
        raise UnknownStage(
            f"There is no stage {stage[:SHOWN]!r}.", advice=f"Choose one of {choice}."
        )


def check_priority(priority: int) -> None:
    """Reject a priority outside 1 to 10."""
    if not 1 <= priority <= 10:
        given = str(priority)[:SHOWN]
        raise InvalidPriority(
            f"The priority must be between 1 and 10 (got {given}).",
            advice="1 is the most urgent, 10 the least.",
        )
