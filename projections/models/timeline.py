"""The timeline: how many photos of each client belong to each day.

A photo belongs to the local day on which it was taken or, if that is unknown, to the day of its
upload (UTC): the column ``dated`` of ``photos``. Triggers on ``photos`` count, so the counts follow
its rows whatever changes them.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from projections.models import checkpoints
from store.log.recorded import Recorded
from store.sqlite.connection import Connection

TABLES = ("timeline", "timeline_of_all")

OF_PARTITION: dict[str, str] = {}
"""Nothing to replace: replacing the photos of a partition corrects its counts."""

_COUNT = """
  INSERT INTO timeline VALUES ({row}.client_id, substr({row}.dated, 1, 10), 1)
    ON CONFLICT DO UPDATE SET photos = photos + 1;
  INSERT INTO timeline_of_all VALUES (substr({row}.dated, 1, 10), 1)
    ON CONFLICT DO UPDATE SET photos = photos + 1;
"""

_UNCOUNT = """
  UPDATE timeline SET photos = photos - 1
    WHERE client_id = old.client_id AND day = substr(old.dated, 1, 10);
  DELETE FROM timeline
    WHERE client_id = old.client_id AND day = substr(old.dated, 1, 10) AND photos = 0;
  UPDATE timeline_of_all SET photos = photos - 1 WHERE day = substr(old.dated, 1, 10);
  DELETE FROM timeline_of_all WHERE day = substr(old.dated, 1, 10) AND photos = 0;
"""

SCHEMA = f"""
CREATE TABLE timeline (
  client_id TEXT NOT NULL,
  day TEXT NOT NULL, -- 2010-05-01
  photos INTEGER NOT NULL,
  PRIMARY KEY (client_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE timeline_of_all (
  day TEXT PRIMARY KEY,
  photos INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER photo_added AFTER INSERT ON photos WHEN new.deleted_at IS NULL BEGIN
{_COUNT.format(row="new")}
END;

CREATE TRIGGER photo_removed AFTER DELETE ON photos WHEN old.deleted_at IS NULL BEGIN
{_UNCOUNT}
END;

CREATE TRIGGER photo_deleted AFTER UPDATE OF deleted_at ON photos
WHEN old.deleted_at IS NULL AND new.deleted_at IS NOT NULL BEGIN
{_UNCOUNT}
END;

CREATE TRIGGER photo_dated AFTER UPDATE OF dated ON photos
WHEN old.deleted_at IS NULL AND new.deleted_at IS NULL
  AND substr(old.dated, 1, 10) <> substr(new.dated, 1, 10) BEGIN
{_UNCOUNT}
{_COUNT.format(row="new")}
END;
"""

Step = Literal["day", "month", "year"]

LETTERS: dict[Step, int] = {"year": 4, "month": 7, "day": 10}
"""How much of a day names a bucket: ``2010``, ``2010-05``, ``2010-05-01``."""

MOST_BUCKETS = 4_000
"""The most buckets of one page: three centuries of months."""

BUCKET = r"\d{4}(-\d\d(-\d\d)?)?"

_TAKEN = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?", re.ASCII)
_WHOLE = "0000-01-01T00:00:00"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A day, month or year, and its photos."""

    bucket: str
    photos: int


class Timeline(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Buckets that have photos, latest first; ``next_cursor`` is null unless there are more."""

    items: list[Bucket]
    next_cursor: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:  # every model's
    """Do nothing: the triggers have counted."""


def dated(taken_at: str | None, subsecond_ms: float | None) -> str | None:
    """Return the local time of the shot to the millisecond, ``2010-05-01T12:00:00.050``.

    ``taken_at`` is that of the metadata stage. What it leaves open counts as its first moment; its
    offset from UTC does not count. Return None if it is unknown.
    """
    found = _TAKEN.match(taken_at or "")
    if found is None:
        return None
    whole = found[0] + _WHOLE[len(found[0]) :]
    return f"{whole}.{min(int(subsecond_ms or 0), 999):03d}"


def page(db: Connection, *, by: Step, client_id: str | None, cursor: str | None) -> Timeline:
    """Return the buckets of a client, or of all clients, before ``cursor`` if given.

    Raises:
        NotCovered: as ``checkpoints.check_client`` says.
    """
    checkpoints.check_client(db, client_id)
    items = [
        Bucket(bucket=bucket, photos=photos)
        for bucket, photos in db.execute(
            page_sql(of_all=client_id is None),
            {
                "client_id": client_id,
                "letters": LETTERS[by],
                # A bucket precedes the names of its days: none of them may be repeated.
                "before": cursor or ":",
                "limit": MOST_BUCKETS + 1,
            },
        )
    ]
    more, items = len(items) > MOST_BUCKETS, items[:MOST_BUCKETS]
    return Timeline(items=items, next_cursor=items[-1].bucket if more else None)


def page_sql(*, of_all: bool) -> str:
    """Return the statement of ``page``."""
    table, whose = ("timeline_of_all", "") if of_all else ("timeline", "client_id = :client_id AND")
    return (
        f"SELECT substr(day, 1, :letters) AS bucket, sum(photos) FROM {table}"  # noqa: S608 # constants
        f" WHERE {whose} day < :before GROUP BY bucket ORDER BY bucket DESC LIMIT :limit"
    )
