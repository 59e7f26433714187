"""Events that the log no longer has, named while a read model still knows of them."""

import logging
import uuid
from collections.abc import Sequence

import msgspec

from domain.controls import RaiseAlert
from domain.events import Context
from domain.failures import Category
from projections import fold
from projections.history import Entry
from store.controls import ControlLog
from store.errors import StoreError
from store.log import Log
from store.position import Position

logger = logging.getLogger("photolog.projector")

CODE = "events-lost"

LOOKED_BACK = 500
"""Events of a partition that are looked at; where all of them are lost, there may be more."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """``events`` of a partition ``upto`` the last one that the read model has; of which photos."""

    upto: Position
    events: int
    photo_ids: tuple[str, ...]

    def __str__(self) -> str:
        least = "at least " if self.events == LOOKED_BACK else ""
        return (
            f"partition {self.upto.partition} has lost {least}{self.events} events, "
            f"up to {self.upto}"
        )


async def measure(log: Log, upto: Position, latest: Sequence[Entry]) -> Loss:
    """How much is gone, where ``latest`` are the last events of the read model, newest first."""
    photo_ids: list[str] = []
    for entry in latest:
        if await fold.in_log(log, entry.position):
            break
        photo_ids.append(entry.photo_id)
    return Loss(upto=upto, events=len(photo_ids), photo_ids=tuple(sorted(set(photo_ids))))


async def tell(log: Log, losses: Sequence[Loss]) -> None:
    """In the log of this process, with the photos, and by an alert in the log of events."""
    for loss in losses:
        logger.error("%s, of the photos %s", loss, ", ".join(loss.photo_ids))
    photos = sum(len(loss.photo_ids) for loss in losses)
    try:
        alert = RaiseAlert(
            now=await log.now(),
            stage="projector",
            category=Category.RESOURCE,
            level="critical",
            code=CODE,
            error=f"{'; '.join(map(str, losses))}; of {photos} photos",
        )
        context = Context(
            now=alert.now, source="projector", actor="projector", trace_id=uuid.uuid4().hex
        )
        await ControlLog(log).execute(alert, context)
    except StoreError as error:
        logger.warning("the alert was not recorded: %s", error)
