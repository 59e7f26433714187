"""Report events that the log has lost, while a process still knows about them.

| who knows about them | how |
|---|---|
| the projector | they are in the read model, see ``projector`` |
| gateways and workers | the log confirmed them to this process, see ``watch`` |

Each photo is named by one alert, whichever process notices the loss first. If a process ends before
it has checked, what it knew is lost too.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import anyio
import msgspec

from domain.photo.events import Context
from domain.pipeline.control import RaiseAlert
from domain.pipeline.control_events import MOST_NAMED
from domain.pipeline.failures import Category
from domain.sessions.events import CHAIN
from domain.system_events import OF_NO_PHOTO
from projections import fold
from projections.models.history import HistoryEntry
from store.errors import StoreError
from store.log.answered import Answer
from store.log.control import ControlLog
from store.log.log import Log
from store.log.position import Position

logger = logging.getLogger("photolog.losses")

CODE = "events-lost"

LOOKED_BACK = 500
"""The most events of a partition that are checked; if all of them are lost, there may be more."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A number of lost ``events`` of one partition, up to and including ``upto``.

    ``since`` is the first one, if events unknown to this process may be lost in between.
    """

    upto: Position
    events: int
    photo_ids: tuple[str, ...]
    since: Position | None = None

    def __str__(self) -> str:
        least = "at least " if self.events == LOOKED_BACK or self.since else ""
        since = f"from {self.since} " if self.since else ""
        return (
            f"partition {self.upto.partition} has lost {least}{self.events} events, "
            f"{since}up to {self.upto}"
        )


async def measure(log: Log, upto: Position, latest: Sequence[HistoryEntry]) -> Loss:
    """Return the loss, given the ``latest`` events of the read model, newest first."""
    photo_ids: list[str] = []
    for entry in latest:
        if await fold.in_log(log, entry.position):
            break
        photo_ids.append(entry.photo_id)
    return Loss(upto=upto, events=len(photo_ids), photo_ids=_photos(photo_ids))


async def report(log: Log, losses: Sequence[Loss]) -> None:
    """Report the losses in the log of this process and, if possible, by an alert."""
    _write_lines(losses)
    try:
        await record(log, losses, source="projector")
    except StoreError as error:
        logger.warning("the alert was not recorded: %s", error)


def _write_lines(losses: Sequence[Loss]) -> None:
    """Name the losses and their photos in the log of this process."""
    for loss in losses:
        logger.error("%s, of the photos %s", loss, ", ".join(loss.photo_ids))


async def record(log: Log, losses: Sequence[Loss], *, source: str) -> None:
    """Raise alerts that name the photos that no alert has named since the loss.

    Safe to call again.

    Raises:
        StoreError: an alert was not recorded.
    """
    photo_ids = sorted({each for loss in losses for each in loss.photo_ids})
    upto_ms = max(loss.upto.ms for loss in losses)
    for begin in range(0, max(len(photo_ids), 1), MOST_NAMED):
        alert = RaiseAlert(
            now=await log.now(),
            stage=source,
            category=Category.RESOURCE,
            level="critical",
            code=CODE,
            error=f"{'; '.join(map(str, losses))}; of {len(photo_ids)} photos",
            lost=tuple(photo_ids[begin : begin + MOST_NAMED]),
            lost_upto=datetime.fromtimestamp(upto_ms / 1000, UTC),
        )
        context = Context(now=alert.now, source=source, actor=source, trace_id=uuid.uuid4().hex)
        await ControlLog(log).execute(alert, context)


async def watch(log: Log, *, source: str, every_s: float) -> None:
    """Report, until cancelled, the loss of events that the log has confirmed to this process."""
    unreported: dict[int, list[Loss]] = {}
    while True:
        await anyio.sleep(every_s)
        await check(log, unreported, source=source)


async def check(log: Log, unreported: dict[int, list[Loss]], *, source: str) -> None:
    """Check all partitions once; ``unreported`` keeps losses without an alert for the next time."""
    for partition in log.answered.partitions:
        try:
            gone = await log.answered.lost(partition)
            if gone:
                loss = _of_answers(gone)
                _write_lines([loss])
                unreported.setdefault(partition, []).append(loss)
            if losses := unreported.get(partition):
                await log.confirm()  # do not report to another log
                await log.confirm(partition)
                await record(log, losses, source=source)
                del unreported[partition]
        except StoreError as error:
            level = logging.WARNING if partition in unreported else logging.DEBUG
            logger.log(
                level, "partition %d will be checked for lost events again: %s", partition, error
            )


def _of_answers(gone: Sequence[Answer]) -> Loss:
    return Loss(
        upto=gone[-1].position,
        events=len(gone),
        photo_ids=_photos(each.photo_id for each in gone if each.photo_id != OF_NO_PHOTO),
        since=gone[0].position,
    )


def _photos(ids: Iterable[str]) -> tuple[str, ...]:
    """Return each id once, without those of sessions, which have lost no picture."""
    return tuple(sorted({each for each in ids if not each.startswith(CHAIN)}))
