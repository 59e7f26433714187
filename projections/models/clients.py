"""The clients: the usage of each, and the quota that an operator has set for it.

All counts are running totals, to which ``photos`` adds what its photos count.
"""

from collections.abc import Mapping, Sequence

import msgspec

from domain.clients.quotas import DEFAULTS, OwnQuota, Quota, QuotaChanged
from domain.clients.usage import NOTHING, Usage
from projections.models import history
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Row

TABLES = ("clients", "totals")

OF_PARTITION: dict[str, str] = {}
"""The tables count over a whole client or all clients: ``replace_counts`` replaces them."""

AFTER_ASCII = "\x7f"
"""Greater than every character of a client id."""

SCHEMA = """
CREATE TABLE clients (
  client_id TEXT PRIMARY KEY,
  photos INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  quota TEXT -- set by an operator, JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX clients_by_photos ON clients(photos) WHERE quota IS NULL;
CREATE INDEX clients_by_bytes ON clients(bytes) WHERE quota IS NULL;
CREATE INDEX clients_by_jobs ON clients(jobs) WHERE quota IS NULL;
CREATE INDEX clients_with_quota ON clients(client_id) WHERE quota IS NOT NULL;

-- Of all clients together.
CREATE TABLE totals (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  photos INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  jobs INTEGER NOT NULL
) STRICT;
"""

ADD = """
INSERT INTO clients VALUES (?, ?, ?, ?, NULL)
ON CONFLICT DO UPDATE SET
  photos = photos + excluded.photos, bytes = bytes + excluded.bytes, jobs = jobs + excluded.jobs
"""

ADD_TO_TOTALS = """
INSERT INTO totals VALUES (1, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  photos = photos + excluded.photos, bytes = bytes + excluded.bytes, jobs = jobs + excluded.jobs
"""

SET_QUOTA = """
INSERT INTO clients VALUES (?, 0, 0, 0, ?) ON CONFLICT DO UPDATE SET quota = excluded.quota
"""

REPLACE_COUNTS = """
UPDATE live.clients SET photos = 0, bytes = 0, jobs = 0 WHERE client_id IN client_ids;
INSERT INTO live.clients SELECT client_id, photos, bytes, jobs, NULL FROM main.clients
  WHERE client_id IN client_ids
  ON CONFLICT DO UPDATE SET
    photos = excluded.photos, bytes = excluded.bytes, jobs = excluded.jobs;
"""

REPLACE_QUOTAS = """
UPDATE live.clients AS old SET quota = fresh.quota
  FROM (SELECT c.client_id, f.quota FROM live.clients AS c LEFT JOIN main.clients AS f
    USING (client_id) WHERE c.quota IS NOT f.quota) AS fresh
  WHERE fresh.client_id = old.client_id;
INSERT OR IGNORE INTO live.clients SELECT client_id, 0, 0, 0, quota FROM main.clients;
"""

FORGET_UNKNOWN = """
DELETE FROM live.clients WHERE photos = 0 AND bytes = 0 AND jobs = 0 AND quota IS NULL
  AND client_id NOT IN (SELECT client_id FROM live.photos) AND client_id NOT IN limited_ids;
"""

REPLACE_TOTALS = """
DELETE FROM live.totals;
INSERT INTO live.totals
  SELECT 1, sum(photos), sum(bytes), sum(jobs) FROM live.clients
  WHERE EXISTS (SELECT 1 FROM live.photos)
  HAVING count(*) > 0;
"""

FULLEST = """
WITH found AS (
  SELECT * FROM (SELECT client_id FROM clients INDEXED BY clients_by_photos
    WHERE quota IS NULL ORDER BY photos DESC, client_id LIMIT :limit)
  UNION SELECT * FROM (SELECT client_id FROM clients INDEXED BY clients_by_bytes
    WHERE quota IS NULL ORDER BY bytes DESC, client_id LIMIT :limit)
  UNION SELECT * FROM (SELECT client_id FROM clients INDEXED BY clients_by_jobs
    WHERE quota IS NULL ORDER BY jobs DESC, client_id LIMIT :limit)
  UNION SELECT client_id FROM clients INDEXED BY clients_with_quota WHERE quota IS NOT NULL
), limited AS (
  SELECT *,
    nullif(coalesce(quota ->> '$.photos', :photos), 0) AS most_photos,
    nullif(coalesce(quota ->> '$.bytes', :bytes), 0) AS most_bytes,
    nullif(coalesce(quota ->> '$.jobs', :jobs), 0) AS most_jobs
  FROM found CROSS JOIN clients USING (client_id)
), shares AS (
  SELECT *, max(
    coalesce(1.0 * photos / most_photos, 0),
    coalesce(1.0 * bytes / most_bytes, 0),
    coalesce(1.0 * jobs / most_jobs, 0)
  ) AS share
  FROM limited
)
SELECT share, client_id, photos, bytes, jobs, quota FROM shares
WHERE share > 0 ORDER BY share DESC, client_id LIMIT :limit
"""
"""It reads the clients with a quota of their own, and of the others those that have most photos,
bytes or jobs: their limits are the same, so no other one has a larger share."""


class ClientRow(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    usage: Usage
    own: OwnQuota


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """A page of clients by id; ``next_cursor`` leads to the next page and is None on the last."""

    items: list[ClientRow]
    next_cursor: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Set quotas; ``photos`` counts what clients use, see ``add``."""
    for each in recorded:
        data = each.event.data
        if type(data) is QuotaChanged:
            own = None if data.quota == DEFAULTS else msgspec.json.encode(data.quota).decode()
            db.execute(SET_QUOTA, (data.client_id, own))


def add(db: Connection, used: Mapping[str, Usage]) -> None:
    """Add to what these clients use; each has a row from then on."""
    for client_id, more in used.items():
        db.execute(ADD, (client_id, more.photos, more.bytes, more.jobs))
        db.execute(ADD_TO_TOTALS, (more.photos, more.bytes, more.jobs))


def replace_counts(db: Connection, partition: int) -> None:
    """Correct the counts of ``live`` once its ``history`` and ``photos`` match the log.

    ``main`` is a fold of that partition alone; the table ``client_ids`` has its clients, including
    former ones. All photos of a client are in one partition; all quotas are in partition 0.
    """
    db.execute(REPLACE_COUNTS)
    if partition == 0:
        db.execute(REPLACE_QUOTAS)
    db.execute("CREATE TABLE limited_ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute_many("INSERT OR IGNORE INTO limited_ids VALUES (?)", _limited(db))
    db.execute(FORGET_UNKNOWN)
    db.execute(REPLACE_TOTALS)


def total(db: Connection) -> Usage:
    """Return the usage of all clients together."""
    rows = db.execute("SELECT photos, bytes, jobs FROM totals")
    return _usage_of(rows[0]) if rows else NOTHING


def page(db: Connection, *, cursor: str | None, limit: int, prefix: str = "") -> Clients:
    """Return the clients whose id begins with ``prefix``, by id.

    They begin after ``cursor``, which is a client id, or with the first one. Ids are ASCII.
    """
    rows = db.execute(
        "SELECT client_id, photos, bytes, jobs, quota FROM clients"
        " WHERE client_id > ? AND client_id >= ? AND client_id < ? ORDER BY client_id LIMIT ?",
        (cursor or "", prefix, prefix + AFTER_ASCII, limit + 1),
    )
    items = [_row(row) for row in rows[:limit]]
    return Clients(items=items, next_cursor=items[-1].client_id if len(rows) > limit else None)


def fullest(db: Connection, defaults: Quota, limit: int) -> list[tuple[float, ClientRow]]:
    """Return the clients that use the largest share of any limit, and that share, largest first.

    ``defaults`` are the limits of clients without their own. Clients that use no limited quota are
    left out.
    """
    most = {"photos": defaults.photos, "bytes": defaults.bytes, "jobs": defaults.jobs}
    rows = db.execute(FULLEST, {**most, "limit": limit})
    return [(float(row[0]), _row(row[1:])) for row in rows]


def _limited(db: Connection) -> list[tuple[str]]:
    """Return the clients of ``live`` that have ever had a quota of their own."""
    events = (each.data for each in history.system_events(db, QuotaChanged.TYPE, "live"))
    return [(data.client_id,) for data in events if isinstance(data, QuotaChanged)]


def _usage_of(row: Row) -> Usage:
    photos, stored, jobs = row
    return Usage(photos=photos, bytes=stored, jobs=jobs)


def _row(row: Row) -> ClientRow:
    client_id, *counts, quota = row
    own = DEFAULTS if quota is None else msgspec.json.decode(quota, type=OwnQuota)
    return ClientRow(client_id=client_id, usage=_usage_of(tuple(counts)), own=own)
