"""Changes the rows of a batch of events in memory: each is read once and written once.

Most batches of a rebuild hold every event of most of their photos, so most rows are only inserted.
"""

from collections.abc import Iterable, Sequence

import msgspec

from store.sqlite.connection import Connection, Row, Value

Columns = dict[str, Value]


def listed(values: Iterable[object]) -> tuple[str]:
    """Return the parameter of ``IN (SELECT value FROM json_each(?))``."""
    return (msgspec.json.encode(list(values)).decode(),)


def insert(db: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows that the table does not have; they have these columns, in this order."""
    if rows:
        marks = ", ".join("?" * len(columns))
        db.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608 # names of our own schema


class Rows:
    """Rows of ``table`` by their primary key, the first of ``columns``.

    Change the dictionaries of ``rows``; then ``write`` inserts those that are new, deletes those
    that were removed, and updates the columns that differ.
    """

    def __init__(self, db: Connection, table: str, columns: Sequence[str]) -> None:
        self._db = db
        self._table = table
        self._columns = tuple(columns)
        self._key = columns[0]
        self._stored: dict[Value, Row] = {}
        self.rows: dict[Value, Columns] = {}

    def read(self, keys: Iterable[str], by: str | None = None) -> None:
        """Read the rows whose key, or column ``by``, is among ``keys``, unless they were read."""
        found = self._db.execute(
            f"SELECT {', '.join(self._columns)} FROM {self._table} "  # noqa: S608 # names of our own schema
            f"WHERE {by or self._key} IN (SELECT value FROM json_each(?))",
            listed(keys),
        )
        for row in found:
            if row[0] not in self._stored:
                self._stored[row[0]] = row
                self.rows[row[0]] = dict(zip(self._columns, row, strict=True))

    def write(self) -> None:
        """Bring the table up to ``rows``."""
        added: list[Row] = []
        changed: dict[tuple[str, ...], list[Row]] = {}
        for key, row in self.rows.items():
            now = tuple(row.values())
            before = self._stored.get(key)
            if before is None:
                added.append(now)
            elif before != now:
                both = zip(self._columns, before, now, strict=True)
                differing = [(name, new) for name, old, new in both if old != new]
                names = tuple(name for name, _ in differing)
                changed.setdefault(names, []).append((*(new for _, new in differing), key))
        removed = [(key,) for key in self._stored if key not in self.rows]
        if removed:
            self._db.execute_many(f"DELETE FROM {self._table} WHERE {self._key} = ?", removed)  # noqa: S608
        insert(self._db, self._table, self._columns, added)
        for names, rows in changed.items():
            listing = ", ".join(f"{name} = ?" for name in names)
            self._db.execute_many(
                f"UPDATE {self._table} SET {listing} WHERE {self._key} = ?",  # noqa: S608
                rows,
            )
