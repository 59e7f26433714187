"""Events of the pipeline itself: what operators do to it, and alerts about failures.

They are events of the system, see ``domain.system_events``.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from domain.pipeline.failures import Category
from domain.pipeline.retries import AlertLevel
from domain.system_events import SystemData

MOST_NAMED = 500
"""The most photos that one alert names."""

MOST_TASKS = 1_000
MOST_IN_A_RATE = 100_000
LONGEST_RATE_MS = 3_600_000

Tasks = Annotated[int, Meta(ge=1, le=MOST_TASKS)]


class Rate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """At most ``max`` tasks in each ``duration_ms``, over all workers."""

    max: Annotated[int, Meta(ge=1, le=MOST_IN_A_RATE)]
    duration_ms: Annotated[int, Meta(ge=1, le=LONGEST_RATE_MS)] = 1_000


class Limit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The limits of one stage: concurrent tasks in each worker, and a rate; None means no limit."""

    concurrency: Tasks | None = None
    rate: Rate | None = None


class PipelineData(SystemData, frozen=True, kw_only=True):
    """The base of all events of the pipeline; ``stage`` None means all stages."""

    stage: str | None


class StagePaused(PipelineData, frozen=True, kw_only=True, omit_defaults=True):
    """Workers begin no more tasks of the stage; running tasks finish.

    The pause ends by itself at ``until``; without it, it lasts until the stage is resumed.
    """

    TYPE: ClassVar[str] = "pipeline.paused"

    until: str | None = None
    reason: str = ""


class StageResumed(PipelineData, frozen=True, kw_only=True, omit_defaults=True):
    """Workers begin tasks of the stage again.

    If the pause of all stages was ``ended`` by its time, those paused one by one stay so.
    """

    TYPE: ClassVar[str] = "pipeline.resumed"

    ended: bool = False
    reason: str = ""


class StageCancelled(PipelineData, frozen=True, kw_only=True):
    """An operator has cancelled the ``tasks`` that were waiting; each can be retried."""

    TYPE: ClassVar[str] = "pipeline.cancelled"

    tasks: int
    reason: str


class StageDrained(PipelineData, frozen=True, kw_only=True):
    """Say what ``StageCancelled`` says, in logs of version 0.1, which called that draining.

    It is only read: a drain is recorded as the pause that it begins with.
    """

    TYPE: ClassVar[str] = "pipeline.drained"

    tasks: int
    reason: str


class StageLimited(PipelineData, frozen=True, kw_only=True, omit_defaults=True):
    """``limit`` replaces the limits of the stage; without a stage, those of each worker."""

    TYPE: ClassVar[str] = "pipeline.limited"

    limit: Limit
    reason: str = ""


class AlertRaised(PipelineData, frozen=True, kw_only=True, omit_defaults=True):
    """Failures have reached the threshold of their category; ``error`` is the last one.

    An alert about lost events names the photos that they belong to in ``photo_ids``.
    """

    TYPE: ClassVar[str] = "pipeline.alerted"

    category: Category
    level: AlertLevel
    code: str
    error: str
    photo_ids: tuple[str, ...] = ()


PipelineEvent = (
    StagePaused | StageResumed | StageCancelled | StageDrained | StageLimited | AlertRaised
)
