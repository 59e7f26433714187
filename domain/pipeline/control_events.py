"""What happens to the pipeline itself: operators steer it, failures raise alerts.

These events are of no photo. They form one stream of their own in partition 0 of the log, a chain
like that of a photo, and are seen in the room ``global``.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from domain.pipeline.failures import Category
from domain.pipeline.retries import AlertLevel

OF_NO_PHOTO = ""
"""Stands where the events of photos have a photo and a client."""

MOST_NAMED = 500
"""Photos that one alert names."""

MOST_TASKS = 1_000
MOST_IN_A_RATE = 100_000
LONGEST_RATE_MS = 3_600_000

Tasks = Annotated[int, Meta(ge=1, le=MOST_TASKS)]


class Rate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """At most ``max`` tasks in each ``duration_ms``, over all workers."""

    max: Annotated[int, Meta(ge=1, le=MOST_IN_A_RATE)]
    duration_ms: Annotated[int, Meta(ge=1, le=LONGEST_RATE_MS)] = 1_000


class Limit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of one stage: tasks at once in each worker, and a rate; None is no limit."""

    concurrency: Tasks | None = None
    rate: Rate | None = None


class SystemData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The data of an event that belongs to the system, not to a photo."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    @property
    def photo_id(self) -> str:
        return OF_NO_PHOTO


class PipelineData(SystemData, frozen=True, kw_only=True):
    """``stage`` None is all of them."""

    stage: str | None


class StagePaused(PipelineData, frozen=True, kw_only=True):
    """No worker begins a task of the stage; those under way end."""

    TYPE: ClassVar[str] = "pipeline.paused"


class StageResumed(PipelineData, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "pipeline.resumed"


class StageDrained(PipelineData, frozen=True, kw_only=True):
    """``tasks`` that waited have failed, by the operator's wish; each can be retried."""

    TYPE: ClassVar[str] = "pipeline.drained"

    tasks: int
    reason: str


class StageLimited(PipelineData, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "pipeline.limited"

    limit: Limit


class AlertRaised(PipelineData, frozen=True, kw_only=True, omit_defaults=True):
    """Failures have reached the threshold of their category; ``error`` is the last one.

    ``photo_ids`` names the photos of which the log has lost events, in an alert of that.
    """

    TYPE: ClassVar[str] = "pipeline.alerted"

    category: Category
    level: AlertLevel
    code: str
    error: str
    photo_ids: tuple[str, ...] = ()


PipelineEvent = StagePaused | StageResumed | StageDrained | StageLimited | AlertRaised
