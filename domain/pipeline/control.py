"""Control of the whole system by operators: commands, state, ``decide`` and ``evolve``."""

from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from domain.clients import quotas
from domain.clients.quotas import ChangeQuota, QuotaChanged, Quotas
from domain.clients.revocations import (
    AccessRevoked,
    Revocations,
    RevokeAccess,
    after_revocation,
    revoke,
)
from domain.pipeline.control_events import (
    AlertRaised,
    Limit,
    PipelineEvent,
    StageCancelled,
    StageLimited,
    StagePaused,
    StageResumed,
)
from domain.pipeline.failures import Category
from domain.pipeline.retries import AlertLevel
from domain.pipeline.stages import ERASURE, check_stage
from domain.rejections import InvalidLimit, PipelinePaused

LOST_KEPT = 1_000
"""The most photos remembered as reported lost; a photo that is forgotten may be reported again."""

ALERTS_APART = timedelta(minutes=1)
"""The shortest time between alerts of one stage and category: a storm is one event a minute."""


class PauseStage(msgspec.Struct, frozen=True, kw_only=True):
    """Pause a stage, or all stages if ``stage`` is None."""

    stage: str | None


class ResumeStage(msgspec.Struct, frozen=True, kw_only=True):
    """Resume a stage, or all stages if ``stage`` is None."""

    stage: str | None


class RecordCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """Record that an operator has cancelled the waiting tasks of a stage, or of all stages."""

    stage: str | None
    tasks: int
    reason: str


class LimitStage(msgspec.Struct, frozen=True, kw_only=True):
    """Limit a stage; with ``stage`` None, the concurrent tasks of a worker over all stages."""

    stage: str | None
    limit: Limit


class RaiseAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Raise an alert, at most one a minute for each stage and category.

    An alert about lost events is not limited in this way. ``lost`` are the photos, at most
    ``MOST_NAMED``, that have lost events up to the time ``lost_upto``. Each is named once, however
    many processes notice the loss.
    """

    now: datetime
    stage: str
    category: Category
    level: AlertLevel
    code: str
    error: str
    lost: tuple[str, ...] = ()
    lost_upto: datetime | None = None


ControlCommand = (
    PauseStage
    | ResumeStage
    | RecordCancelled
    | LimitStage
    | RaiseAlert
    | ChangeQuota
    | RevokeAccess
)

SystemEvent = PipelineEvent | QuotaChanged | AccessRevoked


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """The state of all controls.

    ``alerted`` has the time of the last alert by stage and category. ``quotas`` has the clients
    with their own quota, at most ``quotas.MOST_CLIENTS``. ``lost`` has the last ``LOST_KEPT``
    photos whose loss of events was reported, with the time of the report.
    """

    all_paused: bool = False
    paused: frozenset[str] = frozenset()
    limits: dict[str, Limit] = {}
    concurrency: int | None = None
    alerted: dict[str, datetime] = {}
    quotas: Quotas = {}
    revocations: Revocations = Revocations()
    lost: dict[str, datetime] = {}

    def is_paused(self, stage: str) -> bool:
        return self.all_paused or stage in self.paused

    def limit(self, stage: str) -> Limit:
        return self.limits.get(stage, NO_LIMIT)


NO_LIMIT = Limit()


def decide(command: ControlCommand, controls: Controls) -> tuple[SystemEvent, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        Rejected: a rule says no.
    """
    match command:
        case PauseStage():
            stage = _known(command.stage)
            already = controls.all_paused or stage in controls.paused
            return () if already else (StagePaused(stage=stage),)
        case ResumeStage():
            return _resume(_known(command.stage), controls)
        case RecordCancelled():
            stage = _cancellable(command.stage)
            return (StageCancelled(stage=stage, tasks=command.tasks, reason=command.reason),)
        case LimitStage():
            return _limit(_known(command.stage), command.limit, controls)
        case RaiseAlert(lost=(_, *_)):
            return _report_loss(command, controls)
        case RaiseAlert():
            last = controls.alerted.get(_alert_name(command.stage, command.category))
            if last is not None and command.now - last < ALERTS_APART:
                return ()
            return (_alert(command),)
        case ChangeQuota():
            return quotas.decide(command, controls.quotas)
        case RevokeAccess():
            return revoke(command, controls.revocations)
        case _:
            assert_never(command)


def evolve(controls: Controls, event: SystemEvent, at: datetime) -> Controls:
    """Return the controls after ``event``, which happened ``at``."""
    replace = msgspec.structs.replace
    match event:
        case StagePaused(stage=None):
            return replace(controls, all_paused=True)
        case StagePaused(stage=str() as stage):
            return replace(controls, paused=controls.paused | {stage})
        case StageResumed(stage=None):
            return replace(controls, all_paused=False, paused=frozenset())
        case StageResumed(stage=str() as stage):
            return replace(controls, paused=controls.paused - {stage})
        case StageLimited(stage=None):
            return replace(controls, concurrency=event.limit.concurrency)
        case StageLimited(stage=str() as stage):
            return replace(controls, limits={**controls.limits, stage: event.limit})
        case AlertRaised():
            name = _alert_name(event.stage or "", event.category)
            lost = {**controls.lost, **dict.fromkeys(event.photo_ids, at)}
            lost = dict(sorted(lost.items(), key=lambda item: item[1])[-LOST_KEPT:])
            return replace(controls, alerted={**controls.alerted, name: at}, lost=lost)
        case QuotaChanged():
            return replace(controls, quotas=quotas.evolve(controls.quotas, event))
        case AccessRevoked():
            return replace(controls, revocations=after_revocation(controls.revocations, event, at))
        case _:
            return controls


def _report_loss(command: RaiseAlert, controls: Controls) -> tuple[SystemEvent, ...]:
    """Name the photos that no alert has named since the loss, however recent the last alert is."""
    upto = command.lost_upto or command.now
    unreported = tuple(
        each for each in command.lost if each not in controls.lost or controls.lost[each] < upto
    )
    return (_alert(command, unreported),) if unreported else ()


def _alert(command: RaiseAlert, photo_ids: tuple[str, ...] = ()) -> AlertRaised:
    return AlertRaised(
        stage=command.stage,
        category=command.category,
        level=command.level,
        code=command.code,
        error=command.error,
        photo_ids=photo_ids,
    )


def _known(stage: str | None) -> str | None:
    if stage is not None:
        check_stage(stage, ERASURE)
    return stage


def _cancellable(stage: str | None) -> str | None:
    """Reject ``ERASURE`` too: if it failed, the files of its photos would stay for ever."""
    if stage is not None:
        check_stage(stage)
    return stage


def _resume(stage: str | None, controls: Controls) -> tuple[PipelineEvent, ...]:
    if stage is None:
        return (StageResumed(stage=None),) if controls.all_paused or controls.paused else ()
    if controls.all_paused:
        raise PipelinePaused(
            f"All stages are paused, so {stage} cannot be resumed alone.",
            advice="Resume all stages, then pause the others.",
        )
    return (StageResumed(stage=stage),) if stage in controls.paused else ()


def _limit(stage: str | None, limit: Limit, controls: Controls) -> tuple[PipelineEvent, ...]:
    if stage is None and limit.rate is not None:
        raise InvalidLimit("A rate limit applies to a single stage.", advice="Name the stage.")
    now = Limit(concurrency=controls.concurrency) if stage is None else controls.limit(stage)
    return () if limit == now else (StageLimited(stage=stage, limit=limit),)


def _alert_name(stage: str, category: Category) -> str:
    return f"{stage}:{category.value}"
