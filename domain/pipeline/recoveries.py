"""Recoveries of the log: what remained of it, or of some partitions, was written into Redis again.

The event is written by the recovery itself. If partition 0 was lost, it is the first one there of
the new epoch.
"""

from typing import ClassVar

import msgspec

from domain.system_events import SystemData

MOST_NAMED = 500
"""The most photos, and the most losses, that one event names."""


class LogRecovered(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """The log begins its ``epoch`` with the ``events`` that were recovered; the first epoch is 1.

    ``partitions`` are those that were recovered while others were still there; without any, it was
    the whole log. Their positions of the new epoch are ``begins_ms``, in milliseconds since 1970,
    or later; without it, that of this event or later.

    ``ends`` are the positions of the last recovered event in each partition that has any. ``lost``
    says in words what is known to be lost, and ``photo_ids`` names photos that have lost events.
    """

    TYPE: ClassVar[str] = "log.recovered"

    epoch: int
    events: int
    from_read_model: int = 0
    ends: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    photo_ids: tuple[str, ...] = ()
    partitions: tuple[int, ...] = ()
    begins_ms: int = 0


class RecordRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """Record the recovery of partitions other than that of the controls, once for each epoch."""

    recovered: LogRecovered


def decide(command: RecordRecovery, epoch: int) -> tuple[LogRecovered, ...]:
    """Return the event, unless the log is in its ``epoch`` or a later one already."""
    return () if command.recovered.epoch <= epoch else (command.recovered,)
