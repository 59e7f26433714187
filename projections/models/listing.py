"""Lists in order of time, a page at a time, with filters that are each served by an index."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from projections.models.cursor import Cursor
from store.sqlite.connection import Connection, Row, Value

Sort = Literal["newest", "oldest"]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A list of the rows of ``table``.

    ``time`` and ``key`` are the columns of its order, as every index has them. ``filters`` has the
    column of each filter and the index that serves it, the narrowest first. ``by_time`` is the
    index without a filter. Each query names its index: without statistics SQLite may choose that of
    a wider filter.
    """

    columns: str
    table: str
    time: str
    key: str
    filters: Mapping[str, tuple[str, str]]
    by_time: str

    def page(
        self,
        db: Connection,
        *,
        filters: Mapping[str, str],
        since: str | None,
        until: str | None,
        sort: Sort,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[Row], str | None]:
        """Return the first ``limit`` rows that match all ``filters``, after ``cursor`` if given.

        ``since`` is inclusive, ``until`` is not. The second value is the cursor of the next page,
        None on the last one.

        Raises:
            ValueError: ``cursor`` does not come from a page.
        """
        values: dict[str, Value] = {**filters, "limit": limit + 1}
        if since is not None:
            values["since"] = since
        if until is not None:
            values["until"] = until
        if cursor is not None:
            last = Cursor.decode(cursor)
            values |= {"last_at": last.at, "last_id": last.photo_id}
        rows = db.execute(self.sql(values, sort), values)
        end = None
        if len(rows) > limit:
            at, key = rows[limit - 1][-2:]
            end = Cursor(str(at), str(key)).encode()
        return [row[:-2] for row in rows[:limit]], end

    def sql(self, values: Mapping[str, Value], sort: Sort = "newest") -> str:
        """Return the statement of ``page`` for the parameters that are given."""
        order, later = ("DESC", "<") if sort == "newest" else ("ASC", ">")
        conditions = {name: f"{column} = :{name}" for name, (column, _) in self.filters.items()}
        conditions |= {
            "since": f"{self.time} >= :since",
            "until": f"{self.time} < :until",
            "last_at": f"({self.time}, {self.key}) {later} (:last_at, :last_id)",
        }
        given = [condition for name, condition in conditions.items() if name in values]
        indexes = [index for name, (_, index) in self.filters.items() if name in values]
        index = indexes[0] if indexes else self.by_time
        return (
            f"SELECT {self.columns}, {self.time}, {self.key}"  # noqa: S608 # constants
            f" FROM {self.table} INDEXED BY {index}"
            f" WHERE {' AND '.join(given) or 'TRUE'}"
            f" ORDER BY {self.time} {order}, {self.key} {order} LIMIT :limit"
        )
