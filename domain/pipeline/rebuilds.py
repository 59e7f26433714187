"""Rebuilds of the read models that an operator has asked for: commands and events.

The projector of each host rebuilds the read models of that host, and records how far it has come.
"""

from typing import ClassVar

import msgspec

from domain.system_events import SystemData


class RebuildRequested(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """Each host is to fold the log into new read models, which replace the live ones."""

    TYPE: ClassVar[str] = "projections.rebuild.requested"

    reason: str = ""


class RebuildProgressed(SystemData, frozen=True, kw_only=True):
    """The rebuild of ``host`` has folded ``events``, ``percent`` of the log by its time.

    ``seconds_left`` is an estimate.
    """

    TYPE: ClassVar[str] = "projections.rebuild.progressed"

    host: str
    percent: int
    events: int
    events_per_s: int
    seconds_left: int


class RebuildCompleted(SystemData, frozen=True, kw_only=True):
    """The new read models of ``host`` are live.

    ``differing`` names the tables that differed from those before, as of the same positions; it is
    null if they could not be compared.
    """

    TYPE: ClassVar[str] = "projections.rebuild.completed"

    host: str
    generation: str
    events: int
    duration_ms: int
    differing: tuple[str, ...] | None


class RebuildFailed(SystemData, frozen=True, kw_only=True):
    """The read models of ``host`` stay as they were, because of ``error``."""

    TYPE: ClassVar[str] = "projections.rebuild.failed"

    host: str
    error: str


RebuildStep = RebuildProgressed | RebuildCompleted | RebuildFailed

RebuildEvent = RebuildRequested | RebuildStep


class RequestRebuild(msgspec.Struct, frozen=True, kw_only=True):
    """Rebuild the read models of every host."""

    reason: str = ""


class RecordRebuild(msgspec.Struct, frozen=True, kw_only=True):
    """Record how far a host has come with a rebuild."""

    step: RebuildStep


def decide(command: RequestRebuild | RecordRebuild) -> tuple[RebuildEvent, ...]:
    match command:
        case RequestRebuild():
            return (RebuildRequested(reason=command.reason),)
        case RecordRebuild():
            return (command.step,)
