"""The checkpoints: how far each partition is folded, and of which log."""

from store.log.position import Position
from store.sqlite.connection import Connection

SCHEMA = """
CREATE TABLE origin (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  log_id TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoints (
  partition INTEGER PRIMARY KEY,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
"""


def get(db: Connection, partition: int) -> Position:
    """Return the position of the last event folded; the partition's start if there is none."""
    rows = db.execute("SELECT ms, seq FROM checkpoints WHERE partition = ?", (partition,))
    return Position(partition, *rows[0]) if rows else Position.start(partition)


def get_all(db: Connection, partitions: int) -> dict[int, Position]:
    return {partition: get(db, partition) for partition in range(partitions)}


def partitions(db: Connection) -> list[int]:
    """Return the partitions of which events are folded."""
    return [row[0] for row in db.execute("SELECT partition FROM checkpoints")]


def advance(db: Connection, position: Position) -> None:
    db.execute("INSERT OR REPLACE INTO checkpoints (partition, ms, seq) VALUES (?, ?, ?)", position)


def log_id(db: Connection) -> str:
    """Return the id of the log that this read model is folded from."""
    return db.execute("SELECT log_id FROM origin")[0][0]


def set_log_id(db: Connection, log_id: str) -> None:
    """Store the id of the log; call this once, when the file is created."""
    db.execute("INSERT INTO origin (id, log_id) VALUES (1, ?)", (log_id,))
