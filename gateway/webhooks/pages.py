"""Queries of the delivery on the history; each reads one snapshot of the read model."""

import msgspec

from projections.models import checkpoints, history
from projections.models.history import HistoryEntry, Room
from store.log.position import Position
from store.sqlite.connection import Connection

ENTRIES = 200
"""Entries that are read at once."""

REWOUND_MS = 60_000
"""How far a webhook goes back if the log has lost events that it was sent.

A failover loses the last events, and the clock of the new master may be behind: events that come
then may stand before those that were lost.
"""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a position. If the log has lost the event there, ``rewound`` is where to go on.

    ``full`` says that there may be more.
    """

    entries: list[HistoryEntry] = []
    rewound: Position | None = None
    full: bool = False


def page(db: Connection, client_id: str | None, after: Position) -> Page:
    """Return the first events of the client, or of everyone, after ``after`` in its partition."""
    if checkpoints.get(db, after.partition) < after:
        return Page()  # not folded yet
    if not history.has(db, after):
        return Page(rewound=_rewound(db, after), full=True)
    room = (
        Room(kind="global", id="", client_id=None)
        if client_id is None
        else Room(kind="client", id=client_id, client_id=client_id)
    )
    entries = history.room_events(db, room, after.partition, after, None, ENTRIES)
    return Page(entries=entries, full=len(entries) == ENTRIES)


def new_entries(db: Connection, head: dict[int, Position]) -> list[HistoryEntry] | None:
    """Return the first events after the head; None if the log has lost the event of a head."""
    if not all(history.has(db, position) for position in head.values()):
        return None
    return [entry for after in head.values() for entry in history.since(db, after, ENTRIES)]


def _rewound(db: Connection, lost: Position) -> Position:
    earlier = Position(lost.partition, max(0, lost.ms - REWOUND_MS), 0)
    found = history.latest(db, earlier, 1)
    return found[0].position if found else Position.start(lost.partition)
