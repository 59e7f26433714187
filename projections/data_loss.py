"""Events that the log no longer has, named while anybody still knows of them.

| who knows of them | how |
|---|---|
| the projector | they are in the read model, see ``runner`` |
| gateways and workers | they were answered for them, see ``watch`` |

One alert names each photo once, whoever notices the loss, in whatever order. What a process knew
that ended before it could look is known to nobody.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import msgspec

from domain.photo.events import Context
from domain.pipeline.control import RaiseAlert
from domain.pipeline.control_events import MOST_NAMED
from domain.pipeline.failures import Category
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
"""Events of a partition that are looked at; where all of them are lost, there may be more."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """``events`` of a partition ``upto`` the last one that was known of; of which photos.

    ``since`` is the first one where there may be others in between that nobody here knows of.
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
    """How much is gone, where ``latest`` are the last events of the read model, newest first."""
    photo_ids: list[str] = []
    for entry in latest:
        if await fold.in_log(log, entry.position):
            break
        photo_ids.append(entry.photo_id)
    return Loss(upto=upto, events=len(photo_ids), photo_ids=tuple(sorted(set(photo_ids))))


async def tell(log: Log, losses: Sequence[Loss]) -> None:
    """In the log of this process, with the photos, and by an alert in the log of events."""
    say(losses)
    try:
        await record(log, losses, source="projector")
    except StoreError as error:
        logger.warning("the alert was not recorded: %s", error)


def say(losses: Sequence[Loss]) -> None:
    """Name them in the log of this process."""
    for loss in losses:
        logger.error("%s, of the photos %s", loss, ", ".join(loss.photo_ids))


async def record(log: Log, losses: Sequence[Loss], *, source: str) -> None:
    """Raise alerts that name the photos which none has named since the loss.

    Safe to call again; raises StoreError.
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
    """Tell, until cancelled, what the log loses of that which this process was answered for."""
    untold: dict[int, list[Loss]] = {}
    while True:
        await anyio.sleep(every_s)
        await look(log, untold, source=source)


async def look(log: Log, untold: dict[int, list[Loss]], *, source: str) -> None:
    """Look at all partitions once. ``untold`` keeps what no alert says yet, for the next time."""
    for partition in log.answered.partitions:
        try:
            gone = await log.answered.lost(partition)
            if gone:
                loss = _of_answers(gone)
                say([loss])
                untold.setdefault(partition, []).append(loss)
            if losses := untold.get(partition):
                await log.confirm()  # in another log there is nothing to tell
                await log.confirm(partition)
                await record(log, losses, source=source)
                del untold[partition]
        except StoreError as error:
            level = logging.WARNING if partition in untold else logging.DEBUG
            logger.log(level, "partition %d is looked at again later: %s", partition, error)


def _of_answers(gone: Sequence[Answer]) -> Loss:
    photo_ids = {each.photo_id for each in gone} - {OF_NO_PHOTO}
    return Loss(
        upto=gone[-1].position,
        events=len(gone),
        photo_ids=tuple(sorted(photo_ids)),
        since=gone[0].position,
    )
