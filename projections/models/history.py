"""The history: every event in its wire format, for rooms, resume, audit and a photo's history.

The events of a partition are in the log's order. Live delivery and resume both read this table,
which commits together with the rows that the events have changed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from domain.system_events import OF_NO_PHOTO
from store.errors import Corrupt
from store.log import codec
from store.log.position import Position
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row, Value

TABLES = ("history",)

OF_PARTITION = {"history": "partition = :partition"}

SCHEMA = """
CREATE TABLE history (
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  photo_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  session_id TEXT,
  body BLOB NOT NULL, -- JSON in UTF-8
  PRIMARY KEY (partition, ms, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_of_photo ON history (photo_id, partition, ms, seq);
CREATE INDEX history_of_client ON history (client_id, partition, ms, seq);
CREATE INDEX history_of_session ON history (session_id, partition, ms, seq, client_id)
  WHERE session_id IS NOT NULL;
"""

INSERT = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

COLUMNS = "partition, ms, seq, client_id, session_id, photo_id, type, body"

KEY = ("partition", "ms", "seq")

LATEST_MS = 2**63 - 1


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of events: ``id`` names the client, session or photo; ``global`` ignores it.

    Clients name their sessions themselves: with ``client_id`` the room has that client's session,
    without it the sessions of that name of all clients.
    """

    kind: Literal["client", "session", "photo", "global"]
    id: str
    client_id: str | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the history; ``body`` is its JSON, the same bytes for every reader."""

    position: Position
    client_id: str
    session_id: str | None
    photo_id: str
    type: str
    body: bytes


# Each names its index: without statistics SQLite may read a client's whole history for a session.
_ROOMS = {
    "client": "INDEXED BY history_of_client WHERE client_id = :id",
    "session": "INDEXED BY history_of_session WHERE session_id = :id"
    " AND (:client_id IS NULL OR client_id = :client_id)",
    "photo": "INDEXED BY history_of_photo WHERE photo_id = :id",
    "global": "NOT INDEXED WHERE TRUE",
}


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    db.execute_many(INSERT, [_row(each) for each in recorded])


def room_events(
    db: Connection,
    room: Room,
    partition: int,
    after: Position,
    upto: Position | None,
    limit: int,
) -> list[HistoryEntry]:
    """Return the room's first ``limit`` events after ``after``, up to and including ``upto``."""
    values: dict[str, Value] = {
        "id": room.id,
        "client_id": room.client_id,
        "partition": partition,
        "after_ms": after.ms,
        "after_seq": after.seq,
        "upto_ms": LATEST_MS if upto is None else upto.ms,
        "upto_seq": 0 if upto is None else upto.seq,
        "limit": limit,
    }
    return [_entry(row) for row in db.execute(room_sql(room), values)]


def since(db: Connection, after: Position, limit: int) -> list[HistoryEntry]:
    """Return the first ``limit`` events after ``after`` in its partition."""
    everything = Room(kind="global", id="", client_id=None)
    return room_events(db, everything, after.partition, after, None, limit)


def has(db: Connection, position: Position, client_id: str | None = None) -> bool:
    """Return whether the event at ``position`` is folded, and is the client's if one is given.

    The start of a partition, which has no event, counts for every client.
    """
    if position == Position.start(position.partition):
        return True
    found = db.execute(
        "SELECT client_id FROM history WHERE (partition, ms, seq) = (?, ?, ?)", tuple(position)
    )
    return bool(found) and client_id in (None, found[0][0])


def last_of_client(db: Connection, client_id: str, upto: Position) -> Position:
    """Return the position of the client's last event up to ``upto``, or the partition's start."""
    rows = db.execute(
        "SELECT partition, ms, seq FROM history INDEXED BY history_of_client"
        " WHERE client_id = ? AND partition = ? AND (ms, seq) <= (?, ?)"
        " ORDER BY ms DESC, seq DESC LIMIT 1",
        (client_id, *upto),
    )
    return Position(*rows[0]) if rows else Position.start(upto.partition)


def latest(db: Connection, upto: Position, limit: int) -> list[HistoryEntry]:
    """Return the partition's last ``limit`` events up to and including ``upto``, last one first."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM history WHERE partition = ? AND (ms, seq) <= (?, ?) "  # noqa: S608 # constants
        "ORDER BY ms DESC, seq DESC LIMIT ?",
        (*upto, limit),
    )
    return [_entry(row) for row in rows]


def of_no_photo(
    db: Connection, type_: str, before: Position, since_ms: int, limit: int
) -> list[HistoryEntry]:
    """Return the last ``limit`` system events of a type before ``before``, last one first.

    Events older than ``since_ms`` are left out.
    """
    rows = db.execute(
        f"SELECT {COLUMNS} FROM history INDEXED BY history_of_photo"  # noqa: S608 # constants
        " WHERE photo_id = ? AND partition = ? AND (ms, seq) < (?, ?) AND ms >= ? AND type = ?"
        " ORDER BY ms DESC, seq DESC LIMIT ?",
        (OF_NO_PHOTO, *before, since_ms, type_, limit),
    )
    return [_entry(row) for row in rows]


def count(db: Connection) -> int:
    """Return how many events are folded."""
    return db.execute("SELECT count(*) FROM history")[0][0]


def first_missing(db: Connection, other: Path) -> Position | None:
    """Return the first event of the generation ``other`` that is missing from ``db`` or differs.

    The bodies are compared only if the same version has written both files: another version may
    encode the same event differently.

    Raises:
        Corrupt: ``other`` cannot be read.
    """
    db.execute("ATTACH DATABASE ? AS other", (str(other),))
    columns = [column[1] for column in db.execute("PRAGMA other.table_info(history)")]
    if not {*KEY, "body"} <= {*columns}:
        raise Corrupt("it has no history table")
    same_version = db.execute("PRAGMA other.user_version") == db.execute("PRAGMA main.user_version")
    differs = "ours.body IS NOT theirs.body" if same_version else "ours.ms IS NULL"
    rows = db.execute(
        "SELECT theirs.partition, theirs.ms, theirs.seq FROM other.history AS theirs "  # noqa: S608 # constants
        f"LEFT JOIN main.history AS ours USING (partition, ms, seq) WHERE {differs} LIMIT 1"
    )
    return Position(*rows[0]) if rows else None


def room_sql(room: Room) -> str:
    """Return the statement of ``room_events``."""
    return f"""
        SELECT {COLUMNS} FROM history {_ROOMS[room.kind]} AND partition = :partition
          AND (ms, seq) > (:after_ms, :after_seq) AND (ms, seq) <= (:upto_ms, :upto_seq)
        ORDER BY ms, seq LIMIT :limit
    """  # noqa: S608 # constants


def _row(recorded: Recorded) -> tuple[Value, ...]:
    event, position = recorded.event, recorded.position
    metadata = event.metadata
    return (
        *position,
        event.type,
        event.data.photo_id,
        metadata.client_id,
        metadata.session_id,
        codec.encode_wire(event, position),
    )


def _entry(row: Row) -> HistoryEntry:
    partition, ms, seq, client_id, session_id, photo_id, type_, body = row
    return HistoryEntry(
        position=Position(partition, ms, seq),
        client_id=client_id,
        session_id=session_id,
        photo_id=photo_id,
        type=type_,
        body=body,
    )
