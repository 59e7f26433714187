"""Control of the whole system by operators: commands, state, ``decide`` and ``evolve``."""

from datetime import datetime, timedelta

import msgspec

from domain.clients import api_keys, quotas
from domain.clients.api_keys import ApiKeyEvent, ApiKeys, CreateApiKey, RevokeApiKey
from domain.clients.quotas import ChangeQuota, QuotaChanged, Quotas
from domain.clients.revocations import (
    AccessRevoked,
    Revocations,
    RevokeAccess,
    after_revocation,
    is_outlived,
    revoke,
)
from domain.moments import iso
from domain.pipeline import rebuilds, recoveries
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
from domain.pipeline.rebuilds import RebuildEvent, RecordRebuild, RequestRebuild
from domain.pipeline.recoveries import LogRecovered, RecordRecovery
from domain.pipeline.retries import AlertLevel
from domain.pipeline.stages import ERASURE, check_stage
from domain.rejections import InvalidLimit, InvalidPauseEnd, PipelinePaused
from domain.webhooks import revocations as webhook_revocations
from domain.webhooks import webhooks
from domain.webhooks.events import WebhookData, WebhookEvent
from domain.webhooks.webhooks import (
    AnyWebhookCommand,
    DeleteWebhook,
    DisableWebhook,
    Webhooks,
)

LOST_KEPT = 1_000
"""The most photos remembered as reported lost; a photo that is forgotten may be reported again."""

ALERTS_APART = timedelta(minutes=1)
"""The shortest time between alerts of one stage and category: a storm is one event a minute."""


LONGEST_PAUSE = timedelta(days=366)
"""How far ahead the end of a pause may be."""


class PauseStage(msgspec.Struct, frozen=True, kw_only=True):
    """Pause a stage, or all stages if ``stage`` is None.

    The pause ends ``until`` then, which must come after ``now``; without it, it does not end by
    itself.
    """

    stage: str | None
    now: datetime | None = None
    until: datetime | None = None
    reason: str = ""


class ResumeStage(msgspec.Struct, frozen=True, kw_only=True):
    """Resume a stage, or all stages if ``stage`` is None."""

    stage: str | None
    reason: str = ""


class EndPauses(msgspec.Struct, frozen=True, kw_only=True):
    """Resume what was paused until a time that has come. Any process may do so at any time."""

    now: datetime


class RecordCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """Record that an operator has cancelled the waiting tasks of a stage, or of all stages."""

    stage: str | None
    tasks: int
    reason: str


class LimitStage(msgspec.Struct, frozen=True, kw_only=True):
    """Limit a stage; with ``stage`` None, the concurrent tasks of a worker over all stages."""

    stage: str | None
    limit: Limit
    reason: str = ""


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


ClientCommand = ChangeQuota | RevokeAccess | CreateApiKey | RevokeApiKey | AnyWebhookCommand

ControlCommand = (
    PauseStage
    | ResumeStage
    | EndPauses
    | RecordCancelled
    | LimitStage
    | RaiseAlert
    | RequestRebuild
    | RecordRebuild
    | RecordRecovery
    | ClientCommand
)

PROTECTING = (
    PauseStage,
    ResumeStage,
    EndPauses,
    LimitStage,
    RecordCancelled,
    RevokeAccess,
    RevokeApiKey,
    ChangeQuota,
    DisableWebhook,
    DeleteWebhook,
)
"""Commands that end access, stop work or control it: they succeed although the log is full.

Clients have only the last two, and can repeat neither without a command that is rejected then.
"""

SystemEvent = (
    PipelineEvent
    | RebuildEvent
    | LogRecovered
    | QuotaChanged
    | AccessRevoked
    | ApiKeyEvent
    | WebhookEvent
)


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """The state of all controls.

    ``alerted`` has the time of the last alert by stage and category. ``quotas`` has the clients
    with their own quota, at most ``quotas.MOST_CLIENTS``. ``lost`` has the last ``LOST_KEPT``
    photos whose loss of events was reported, with the time of the report. ``pause_ends`` has the
    ends of the pauses that have one, by stage, with ``EVERY`` for that of all stages. ``epoch`` is
    that of the log.
    """

    all_paused: bool = False
    paused: frozenset[str] = frozenset()
    limits: dict[str, Limit] = {}
    concurrency: int | None = None
    alerted: dict[str, datetime] = {}
    quotas: Quotas = {}
    revocations: Revocations = Revocations()
    lost: dict[str, datetime] = {}
    pause_ends: dict[str, datetime] = {}
    api_keys: ApiKeys = ApiKeys()
    webhooks: Webhooks = {}
    epoch: int = 1

    def is_paused(self, stage: str) -> bool:
        return self.all_paused or stage in self.paused

    def paused_until(self, stage: str) -> datetime | None:
        """Return when the stage resumes by itself; None if it does not, or is not paused."""
        ends = [self.pause_ends.get(EVERY)] if self.all_paused else []
        ends += [self.pause_ends.get(stage)] if stage in self.paused else []
        known = [each for each in ends if each is not None]
        return max(known) if known and len(known) == len(ends) else None

    def limit(self, stage: str) -> Limit:
        return self.limits.get(stage, NO_LIMIT)


NO_LIMIT = Limit()

EVERY = ""
"""Stands for all stages among the ends of pauses."""


def decide(command: ControlCommand, controls: Controls) -> tuple[SystemEvent, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        Rejected: a rule says no.
    """
    match command:
        case PauseStage():
            return _pause(command, _known(command.stage), controls)
        case ResumeStage():
            return _resume(_known(command.stage), controls, command.reason)
        case EndPauses():
            return _end_pauses(command.now, controls)
        case RecordCancelled():
            stage = _cancellable(command.stage)
            return (StageCancelled(stage=stage, tasks=command.tasks, reason=command.reason),)
        case LimitStage():
            return _limit(_known(command.stage), command.limit, controls, command.reason)
        case RaiseAlert():
            return _raise_alert(command, controls)
        case RequestRebuild() | RecordRebuild():
            return rebuilds.decide(command)
        case RecordRecovery():
            return recoveries.decide(command, controls.epoch)
        case _:
            return _decide_about_clients(command, controls)


def evolve(controls: Controls, event: SystemEvent, at: datetime) -> Controls:
    """Return the controls after ``event``, which happened ``at``."""
    replace = msgspec.structs.replace
    match event:
        case StagePaused(stage=None):
            return replace(controls, all_paused=True, pause_ends=_ends(controls, event))
        case StagePaused(stage=str() as stage):
            paused = controls.paused | {stage}
            return replace(controls, paused=paused, pause_ends=_ends(controls, event))
        case StageResumed(stage=None, ended=True):
            return replace(controls, all_paused=False, pause_ends=_ends(controls, event))
        case StageResumed(stage=None):
            return replace(controls, all_paused=False, paused=frozenset(), pause_ends={})
        case StageResumed(stage=str() as stage):
            paused = controls.paused - {stage}
            return replace(controls, paused=paused, pause_ends=_ends(controls, event))
        case StageLimited(stage=None):
            return replace(controls, concurrency=event.limit.concurrency)
        case StageLimited(stage=str() as stage):
            return replace(controls, limits={**controls.limits, stage: event.limit})
        case AlertRaised():
            name = _alert_name(event.stage or "", event.category)
            lost = {**controls.lost, **dict.fromkeys(event.photo_ids, at)}
            lost = dict(sorted(lost.items(), key=lambda item: item[1])[-LOST_KEPT:])
            return replace(controls, alerted={**controls.alerted, name: at}, lost=lost)
        case LogRecovered():
            return replace(controls, epoch=event.epoch)
        case _:
            return _evolve_clients(controls, event, at)


def _decide_about_clients(command: ClientCommand, controls: Controls) -> tuple[SystemEvent, ...]:
    match command:
        case ChangeQuota():
            return quotas.decide(command, controls.quotas)
        case RevokeAccess():
            revoked = revoke(command, controls.revocations)
            return tuple(each for each in revoked if _has_effect(each, controls, command.now))
        case CreateApiKey() | RevokeApiKey():
            return api_keys.decide(command, controls.api_keys)
        case _:
            return webhooks.decide(command, controls.webhooks)


def _has_effect(event: AccessRevoked, controls: Controls, now: datetime) -> bool:
    """Return whether a token may be that old, or a key or webhook ends, which may be older."""
    if event.before is None or not is_outlived(datetime.fromisoformat(event.before), now):
        return True
    after = _evolve_clients(controls, event, now)
    return (after.api_keys, after.webhooks) != (controls.api_keys, controls.webhooks)


def _evolve_clients(controls: Controls, event: SystemEvent, at: datetime) -> Controls:
    """Return the controls after an event about clients, or about what acts for them."""
    replace = msgspec.structs.replace
    match event:
        case QuotaChanged():
            return replace(controls, quotas=quotas.evolve(controls.quotas, event))
        case AccessRevoked():
            return replace(
                controls,
                revocations=after_revocation(controls.revocations, event, at),
                api_keys=api_keys.after_revocation(controls.api_keys, event, at),
                webhooks=webhook_revocations.after_revocation(controls.webhooks, event, at),
            )
        case api_keys.ApiKeyCreated():
            return replace(controls, api_keys=api_keys.evolve(controls.api_keys, event, at))
        case api_keys.ApiKeyRevoked():
            ended = api_keys.token_id_of(event.key_id)
            return replace(
                controls,
                api_keys=api_keys.evolve(controls.api_keys, event, at),
                webhooks=webhook_revocations.after_token(controls.webhooks, ended, at),
            )
        case WebhookData():
            return replace(controls, webhooks=webhooks.evolve(controls.webhooks, event, at))
        case _:
            return controls


def _raise_alert(command: RaiseAlert, controls: Controls) -> tuple[SystemEvent, ...]:
    if command.lost:
        return _report_loss(command, controls)
    last = controls.alerted.get(_alert_name(command.stage, command.category))
    if last is not None and command.now - last < ALERTS_APART:
        return ()
    return (_alert(command),)


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


def _pause(command: PauseStage, stage: str | None, controls: Controls) -> tuple[PipelineEvent, ...]:
    """Pause the stage, or give its pause another end. A pause of all stages contains all others."""
    end = _end_of(command)
    pause = StagePaused(stage=stage, until=end and iso(end), reason=command.reason)
    if stage is not None and controls.all_paused and stage not in controls.paused:
        return () if EVERY not in controls.pause_ends else (pause,)
    is_paused = controls.all_paused if stage is None else stage in controls.paused
    already = is_paused and end == controls.pause_ends.get(stage or EVERY)
    return () if already else (pause,)


def _end_of(command: PauseStage) -> datetime | None:
    """Return the end of the pause, to the millisecond as its event has it."""
    if command.until is None:
        return None
    now = command.now or command.until
    if not now < command.until <= now + LONGEST_PAUSE:
        raise InvalidPauseEnd(
            f"{iso(command.until)} is not within the next {LONGEST_PAUSE.days} days.",
            advice="Choose a time in the future, or leave it out.",
        )
    return datetime.fromisoformat(iso(command.until))


def _end_pauses(now: datetime, controls: Controls) -> tuple[PipelineEvent, ...]:
    return tuple(
        StageResumed(stage=stage or None, ended=True)
        for stage, end in sorted(controls.pause_ends.items())
        if end <= now
    )


def _ends(controls: Controls, event: StagePaused | StageResumed) -> dict[str, datetime]:
    """Return the ends of the pauses after one was begun or ended."""
    named = event.stage or EVERY
    ends = {stage: end for stage, end in controls.pause_ends.items() if stage != named}
    if isinstance(event, StagePaused) and event.until is not None:
        ends[named] = datetime.fromisoformat(event.until)
    return ends


def _resume(stage: str | None, controls: Controls, reason: str) -> tuple[PipelineEvent, ...]:
    if stage is None:
        any_paused = controls.all_paused or controls.paused
        return (StageResumed(stage=None, reason=reason),) if any_paused else ()
    if controls.all_paused:
        raise PipelinePaused(
            f"All stages are paused, so {stage} cannot be resumed alone.",
            advice="Resume all stages, then pause the others.",
        )
    return (StageResumed(stage=stage, reason=reason),) if stage in controls.paused else ()


def _limit(
    stage: str | None, limit: Limit, controls: Controls, reason: str
) -> tuple[PipelineEvent, ...]:
    if stage is None and limit.rate is not None:
        raise InvalidLimit("A rate limit applies to a single stage.", advice="Name the stage.")
    now = Limit(concurrency=controls.concurrency) if stage is None else controls.limit(stage)
    return () if limit == now else (StageLimited(stage=stage, limit=limit, reason=reason),)


def _alert_name(stage: str, category: Category) -> str:
    return f"{stage}:{category.value}"
