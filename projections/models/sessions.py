"""The sessions of clients: the number of photos in each, by status.

Clients name their sessions themselves, so client and name together identify a session.
"""

from collections.abc import Sequence

import msgspec

from domain.photo import events as e
from domain.photo.status import STATUS_AFTER
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row

TABLES = ("sessions", "session_photos")

OF_PARTITION = {"sessions": "client_id IN client_ids", "session_photos": "photo_id IN photo_ids"}

SCHEMA = """
CREATE TABLE sessions (
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  queued INTEGER NOT NULL,
  processing INTEGER NOT NULL,
  completed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  first_uploaded_at TEXT NOT NULL,
  last_uploaded_at TEXT NOT NULL,
  PRIMARY KEY (client_id, session_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_name ON sessions(session_id);

-- Which of the counts a photo is in.
CREATE TABLE session_photos (
  photo_id TEXT PRIMARY KEY,
  status TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

JOIN = """
INSERT INTO sessions VALUES (?, ?, 0, 0, 0, 0, ?3, ?3)
ON CONFLICT DO UPDATE SET
  first_uploaded_at = min(first_uploaded_at, excluded.first_uploaded_at),
  last_uploaded_at = max(last_uploaded_at, excluded.last_uploaded_at)
"""

COUNT = """
UPDATE sessions SET
  queued = queued + (:to = 'queued') - (:from = 'queued'),
  processing = processing + (:to = 'processing') - (:from = 'processing'),
  completed = completed + (:to = 'completed') - (:from = 'completed'),
  failed = failed + (:to = 'failed') - (:from = 'failed')
WHERE client_id = :client_id AND session_id = :session_id
"""

VIEW = """
SELECT client_id, session_id, queued, processing, completed, failed, first_uploaded_at,
  last_uploaded_at
FROM sessions
"""

FOUND_AT_MOST = 100

NOWHERE = ""


class SessionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session; ``photos`` and the four counts exclude deleted photos."""

    session_id: str
    client_id: str
    photos: int
    queued: int
    processing: int
    completed: int
    failed: int
    first_uploaded_at: str
    last_uploaded_at: str


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    for each in recorded:
        event = each.event
        client_id, session_id = event.metadata.client_id, event.metadata.session_id
        if session_id is None:
            continue
        if isinstance(event.data, e.PhotoUploaded):
            db.execute(JOIN, (client_id, session_id, event.timestamp))
        if isinstance(event.data, e.PhotoDeleted):
            _move(db, event.data.photo_id, client_id, session_id, NOWHERE)
        elif status := STATUS_AFTER.get(type(event.data)):
            _move(db, event.data.photo_id, client_id, session_id, status)


def get(db: Connection, client_id: str, session_id: str) -> SessionView | None:
    rows = db.execute(f"{VIEW} WHERE client_id = ? AND session_id = ?", (client_id, session_id))
    return _view(rows[0]) if rows else None


def find(db: Connection, session_id: str) -> list[SessionView]:
    """Return the sessions of that name, by client, at most ``FOUND_AT_MOST``."""
    sql = f"{VIEW} WHERE session_id = ? ORDER BY client_id LIMIT ?"
    rows = db.execute(sql, (session_id, FOUND_AT_MOST))
    return [_view(row) for row in rows]


def _move(db: Connection, photo_id: str, client_id: str, session_id: str, to: str) -> None:
    rows = db.execute("SELECT status FROM session_photos WHERE photo_id = ?", (photo_id,))
    before = rows[0][0] if rows else NOWHERE
    db.execute(COUNT, {"from": before, "to": to, "client_id": client_id, "session_id": session_id})
    if to == NOWHERE:
        db.execute("DELETE FROM session_photos WHERE photo_id = ?", (photo_id,))
    else:
        db.execute("INSERT OR REPLACE INTO session_photos VALUES (?, ?)", (photo_id, to))


def _view(row: Row) -> SessionView:
    client_id, session_id, queued, processing, completed, failed, first, last = row
    return SessionView(
        session_id=session_id,
        client_id=client_id,
        photos=queued + processing + completed + failed,
        queued=queued,
        processing=processing,
        completed=completed,
        failed=failed,
        first_uploaded_at=first,
        last_uploaded_at=last,
    )
