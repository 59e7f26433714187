"""The rows of photos that are uploaded in a batch of events: they derive from the batch alone.

So they can be made without the file, in another process. What these photos change elsewhere, such
as the counts of a session, is applied from their events, as the events of all other photos are.
"""

from collections.abc import Sequence

import msgspec

from domain.clients.usage import Usage
from domain.photo.events import Event
from projections.models import audit, dead_letters, jobs, photos, sessions
from projections.models.photos import uploaded
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Row


class NewPhotos(msgspec.Struct, frozen=True, array_like=True):
    """Rows of ``photos`` and ``jobs``, in the order of their columns, and what clients use more."""

    photos: list[Row]
    jobs: list[Row]
    used: dict[str, Usage]

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(row[0] for row in self.photos)


def fold(recorded: Sequence[Recorded]) -> tuple[NewPhotos, list[int]]:
    """Fold the events of new photos; return also which events are to be applied nevertheless.

    These are all events of other photos, for all read models, and some of new ones, for the other
    read models than ``photos`` and ``jobs``.
    """
    new = uploaded(recorded)
    of_new = [each for each in recorded if each.event.data.photo_id in new]
    rows, used = photos.fold_new(of_new)
    failed = dead_letters.failed(of_new)
    left = [
        number
        for number, each in enumerate(recorded)
        if each.event.data.photo_id not in new
        or each.event.data.photo_id in failed
        or _concerns_others(each.event)
    ]
    return NewPhotos(rows, jobs.fold_new(of_new), used), left


def _concerns_others(event: Event) -> bool:
    """Return whether an event of a photo without failures changes more than its own rows."""
    return sessions.changes(event) or audit.is_listed(event)


def store(db: Connection, new: NewPhotos) -> None:
    """Write the rows, and count what clients use."""
    photos.store_new(db, new.photos, new.used)
    jobs.store_new(db, new.jobs)
