"""The checkpoints: which partitions are folded, how far each is, and of which log.

A file has a checkpoint for each partition that it covers, from its creation on. It may cover only
some partitions of its log. Then a query that finds nothing must not deny what another partition may
have: it calls ``check``, ``check_client`` or ``deny``.
"""

from collections.abc import Iterable
from typing import NamedTuple

from store.errors import NotCovered
from store.keys import partition_of
from store.log.position import Position
from store.sqlite.connection import Connection

SCHEMA = """
CREATE TABLE origin (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  log_id TEXT NOT NULL,
  partitions INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
  partition INTEGER PRIMARY KEY,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
"""


class Coverage(NamedTuple):
    """The partitions that a read model covers, ascending, ``of`` all partitions of its log."""

    partitions: tuple[int, ...]
    of: int

    @classmethod
    def whole(cls, of: int) -> "Coverage":
        return cls(tuple(range(of)), of)

    @classmethod
    def some(cls, partitions: Iterable[int], of: int) -> "Coverage":
        """Return the coverage of these partitions; raises ValueError if the log lacks one."""
        wanted = tuple(sorted(set(partitions)))
        if not wanted or wanted[0] < 0 or wanted[-1] >= of:
            raise ValueError(f"the partitions must be from 0 to {of - 1} (got {_listed(wanted)})")
        return cls(wanted, of)

    def difference(self, found: "Coverage") -> str | None:
        """Return what a read model that is to have this coverage lacks, or has beside; or None."""
        if lacking := sorted({*self.partitions} - {*found.partitions}):
            return f"the read model lacks partitions of the log: {_listed(lacking)}"
        if more := sorted({*found.partitions} - {*self.partitions}):
            return f"the read model has partitions that are not followed here: {_listed(more)}"
        return None

    def __str__(self) -> str:
        return f"{_listed(self.partitions)} of {self.of}"


def create(db: Connection, log_id: str, coverage: Coverage) -> None:
    """Store what the file is folded from; call this once, when it is created."""
    db.execute(
        "INSERT INTO origin (id, log_id, partitions) VALUES (1, ?, ?)", (log_id, coverage.of)
    )
    for partition in coverage.partitions:
        advance(db, Position.start(partition))


def coverage(db: Connection) -> Coverage:
    return Coverage(
        tuple(row[0] for row in db.execute("SELECT partition FROM checkpoints ORDER BY partition")),
        _of(db),
    )


def get(db: Connection, partition: int) -> Position:
    """Return how far the partition is folded: the position of its last event, or its start.

    Raises:
        NotCovered: the file does not cover the partition.
    """
    rows = db.execute("SELECT ms, seq FROM checkpoints WHERE partition = ?", (partition,))
    if not rows:
        raise NotCovered(f"this read model does not cover partition {partition}")
    return Position(partition, *rows[0])


def get_all(db: Connection) -> dict[int, Position]:
    """Return the checkpoints of the partitions that the file covers, in order."""
    rows = db.execute("SELECT partition, ms, seq FROM checkpoints ORDER BY partition")
    return {row[0]: Position(*row) for row in rows}


def check(db: Connection, partitions: Iterable[int]) -> None:
    """Check that the file covers these partitions; raises NotCovered.

    Partitions that the log does not have are left out: nothing is denied by finding nothing there.
    """
    for partition in partitions:
        rows = db.execute("SELECT 1 FROM checkpoints WHERE partition = ?", (partition,))
        if not rows and partition < _of(db):
            raise NotCovered(f"this read model does not cover partition {partition}")


def check_client(db: Connection, client_id: str | None) -> None:
    """Check that the file covers the client's partition; all clients may lack some of theirs.

    Raises:
        NotCovered
    """
    if client_id is not None:
        get(db, partition_of(client_id, _of(db)))


def deny(db: Connection) -> None:
    """Check that what was not found is in no partition of the log; raises NotCovered."""
    found = coverage(db)
    if len(found.partitions) < found.of:
        raise NotCovered(f"this read model covers only partitions {found}")


def advance(db: Connection, position: Position) -> None:
    db.execute("INSERT OR REPLACE INTO checkpoints (partition, ms, seq) VALUES (?, ?, ?)", position)


def log_id(db: Connection) -> str:
    """Return the id of the log that this read model is folded from."""
    return db.execute("SELECT log_id FROM origin")[0][0]


def _of(db: Connection) -> int:
    """Return how many partitions the log has."""
    return db.execute("SELECT partitions FROM origin")[0][0]


def _listed(partitions: Iterable[int]) -> str:
    return ", ".join(map(str, partitions)) or "none"
