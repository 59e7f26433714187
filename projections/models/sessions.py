"""The upload sessions of clients: their state, and what they count.

Clients name their sessions themselves, so client and name together identify a session. An upload
opens one that does not exist or has expired. ``projections.models.session_list`` has the queries.
"""

from collections.abc import Collection, Sequence
from typing import get_args

import msgspec

from domain.photo import events as e
from domain.photo.status import STATUS_AFTER
from domain.sessions.events import (
    DuplicateFound,
    SessionClosed,
    SessionCompleted,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    chain_of,
)
from projections.models.batch import listed
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection

TABLES = ("sessions", "session_photos")

OF_PARTITION = {"sessions": "client_id IN client_ids", "session_photos": "photo_id IN photo_ids"}

SCHEMA = """
CREATE TABLE sessions (
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  id TEXT NOT NULL, -- of its chain, in a form that cursors can have
  status TEXT NOT NULL,
  expected INTEGER,
  received INTEGER NOT NULL,
  duplicates INTEGER NOT NULL,
  queued INTEGER NOT NULL,
  processing INTEGER NOT NULL,
  completed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  opened_at TEXT NOT NULL,
  first_uploaded_at TEXT,
  last_uploaded_at TEXT,
  closed_at TEXT,
  completed_at TEXT, -- of the last event, even if photos are processed again
  expired_at TEXT,
  active_at TEXT NOT NULL, -- the last time a client has used it
  active_ms INTEGER NOT NULL, -- with active_seq: the position of that event
  active_seq INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL, -- with changed_seq: the position of the last change of a count
  changed_seq INTEGER NOT NULL,
  settled INTEGER NOT NULL, -- 1: an event has the current totals
  version INTEGER NOT NULL, -- the number of its own events
  PRIMARY KEY (client_id, session_id),
  CHECK (status IN ('open', 'closed', 'expired')),
  CHECK (settled IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_name ON sessions(session_id);
CREATE INDEX sessions_by_time ON sessions(opened_at, id);
CREATE INDEX sessions_of_client ON sessions(client_id, opened_at, id);
CREATE INDEX sessions_of_status ON sessions(status, opened_at, id);
CREATE INDEX sessions_of_client_status ON sessions(client_id, status, opened_at, id);
CREATE INDEX sessions_idle ON sessions(active_at)
  WHERE status = 'open' AND queued = 0 AND processing = 0;
CREATE INDEX sessions_done ON sessions(closed_at)
  WHERE status = 'closed' AND queued = 0 AND processing = 0 AND settled = 0;

-- Which of the counts a photo is in.
CREATE TABLE session_photos (
  photo_id TEXT PRIMARY KEY,
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  status TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_failures ON session_photos(client_id, session_id, photo_id)
  WHERE status = 'failed';
"""

STORE = """
INSERT OR REPLACE INTO sessions
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

READ = """
SELECT s.* FROM json_each(?) AS wanted
JOIN sessions AS s ON s.client_id = wanted.value ->> 0 AND s.session_id = wanted.value ->> 1
"""

STATUSES = """
SELECT s.photo_id, s.status FROM json_each(?) AS wanted
JOIN session_photos AS s ON s.photo_id = wanted.value
"""

PLACE = "INSERT OR REPLACE INTO session_photos VALUES (?, ?, ?, ?)"

REMOVE = "DELETE FROM session_photos WHERE photo_id = ?"

NOWHERE = ""

Name = tuple[str, str]
"""Client and session."""


class _Session(msgspec.Struct):
    """A row; the fields are the columns of the table, in order."""

    client_id: str
    session_id: str
    id: str
    status: str
    expected: int | None
    received: int
    duplicates: int
    queued: int
    processing: int
    completed: int
    failed: int
    opened_at: str
    first_uploaded_at: str | None
    last_uploaded_at: str | None
    closed_at: str | None
    completed_at: str | None
    expired_at: str | None
    active_at: str
    active_ms: int
    active_seq: int
    changed_ms: int
    changed_seq: int
    settled: int
    version: int


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Fold the events in memory, and write each row that they change once."""
    mine = [each for each in recorded if changes(each.event)]
    if not mine:
        return
    rows = _rows(db, {_name(each.event) for each in mine})
    ids = {each.event.data.photo_id for each in mine if isinstance(each.event.data, e.Data)}
    before: dict[str, str] = dict(db.execute(STATUSES, listed(ids)))
    now, places = dict(before), dict[str, Name]()
    for each in mine:
        data, name = each.event.data, _name(each.event)
        if name not in rows and isinstance(data, SessionEvent | e.PhotoUploaded):
            rows[name] = _begin(name, each)
        row = rows.get(name)
        if isinstance(data, SessionEvent):
            _apply_own(rows[name], data, each)
            continue
        if isinstance(data, e.PhotoUploaded):
            _receive(rows[name], each)
        to = NOWHERE if isinstance(data, e.PhotoDeleted) else STATUS_AFTER[type(data)]
        if row is not None:
            _move(row, now.get(data.photo_id, NOWHERE), to, each.position)
        now[data.photo_id], places[data.photo_id] = to, name
    db.execute_many(STORE, [msgspec.structs.astuple(row) for row in rows.values()])
    db.execute_many(REMOVE, [(id_,) for id_, status in now.items() if status == NOWHERE])
    moved = [each for each in now.items() if each[1] not in (NOWHERE, before.get(each[0]))]
    db.execute_many(PLACE, [(id_, *places[id_], status) for id_, status in moved])


_COUNTED = frozenset((*STATUS_AFTER, *get_args(SessionEvent), e.PhotoDeleted))
"""The events that change a session, if they name one."""


def changes(event: e.Event) -> bool:
    """Return whether the event may change a session."""
    return event.metadata.session_id is not None and type(event.data) in _COUNTED


def _name(event: e.Event) -> Name:
    return event.metadata.client_id, event.metadata.session_id or ""


def _rows(db: Connection, names: Collection[Name]) -> dict[Name, _Session]:
    found = [_Session(*row) for row in db.execute(READ, listed(names))]
    return {(row.client_id, row.session_id): row for row in found}


def _begin(name: Name, first: Recorded) -> _Session:
    at, position = first.event.timestamp, first.position
    return _Session(
        *(*name, chain_of(*name), "open", None, 0, 0, 0, 0, 0, 0, at),
        *(None, None, None, None, None),
        *(at, position.ms, position.seq, position.ms, position.seq, 0, 0),
    )


def _use(row: _Session, each: Recorded) -> None:
    """Note that the client has used the session, which opens one that has expired."""
    row.active_at = each.event.timestamp
    row.active_ms, row.active_seq = each.position.ms, each.position.seq
    _change(row, each.position)
    row.settled = 0
    if row.status == "expired":
        row.status, row.expired_at = "open", None


def _change(row: _Session, position: Position) -> None:
    row.changed_ms, row.changed_seq = position.ms, position.seq


def _receive(row: _Session, each: Recorded) -> None:
    at = each.event.timestamp
    _use(row, each)
    row.received += 1
    row.first_uploaded_at = min(row.first_uploaded_at or at, at)
    row.last_uploaded_at = max(row.last_uploaded_at or at, at)


def _apply_own(row: _Session, data: SessionEvent, each: Recorded) -> None:
    at = each.event.timestamp
    match data:
        case SessionOpened():
            _use(row, each)
            row.expected = data.expected
        case DuplicateFound():
            _use(row, each)
            row.duplicates += 1
        case SessionClosed():
            row.status, row.closed_at, row.expired_at = "closed", at, None
        case SessionCompleted():
            row.completed_at = at
            row.settled = int((row.changed_ms, row.changed_seq) <= _place(data.upto))
        case SessionExpired():
            if row.status == "open" and (row.active_ms, row.active_seq) <= _place(data.upto):
                row.status, row.expired_at = "expired", at
    row.version = each.event.metadata.photo_version


def _place(text: str) -> tuple[int, int]:
    position = Position.parse(text)
    return position.ms, position.seq


def _move(row: _Session, before: str, to: str, position: Position) -> None:
    """Count a photo whose status changes; one that is deleted leaves the totals settled."""
    for status, more in ((before, -1), (to, 1)):
        if status != NOWHERE:
            setattr(row, status, getattr(row, status) + more)
    _change(row, position)
    if to != NOWHERE:
        row.settled = 0
