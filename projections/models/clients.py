"""The clients: the usage of each, and the quota that an operator has set for it.

All counts are running totals. ``holdings`` has what each photo counts, until it is erased.
"""

from collections.abc import Sequence

import msgspec

from domain.clients.quotas import DEFAULTS, OwnQuota, QuotaChanged
from domain.clients.usage import NOTHING, Usage
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.holdings import Holding
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row

TABLES = ("clients", "holdings", "totals")

OF_PARTITION = {"holdings": "photo_id IN photo_ids"}
"""The other tables count over a whole client or all clients: ``replace_counts`` replaces them."""

SCHEMA = """
CREATE TABLE clients (
  client_id TEXT PRIMARY KEY,
  photos INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  quota TEXT -- set by an operator, JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE holdings (
  photo_id TEXT PRIMARY KEY,
  holding BLOB NOT NULL -- MessagePack
) STRICT;

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
DELETE FROM live.clients AS c WHERE photos = 0 AND bytes = 0 AND jobs = 0 AND quota IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM live.history AS h WHERE h.client_id = c.client_id AND h.type = 'photo.uploaded'
  )
  AND client_id NOT IN (
    SELECT CAST(body AS TEXT) ->> '$.data.clientId' FROM live.history
    WHERE photo_id = '' AND partition = 0 AND type = 'client.quota.changed'
  );
"""

REPLACE_TOTALS = """
DELETE FROM live.totals;
INSERT INTO live.totals
  SELECT 1, sum(photos), sum(bytes), sum(jobs) FROM live.clients
  WHERE EXISTS (SELECT 1 FROM live.holdings)
    OR EXISTS (SELECT 1 FROM live.history WHERE type = 'photo.uploaded')
  HAVING count(*) > 0;
"""

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Holding)


class ClientRow(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    usage: Usage
    own: OwnQuota


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """A page of clients by id; ``next_cursor`` leads to the next page and is None on the last."""

    items: list[ClientRow]
    next_cursor: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Read and write each photo of a batch once, however many of its events the batch has."""
    kept: dict[str, Holding | None] = {}
    added: dict[str, Usage] = {}
    for each in recorded:
        data, client_id = each.event.data, each.event.metadata.client_id
        if isinstance(data, QuotaChanged):
            own = None if data.quota == DEFAULTS else msgspec.json.encode(data.quota).decode()
            db.execute(SET_QUOTA, (data.client_id, own))
        if not isinstance(data, e.Data):
            continue
        if data.photo_id not in kept:
            kept[data.photo_id] = _get(db, data.photo_id)
        before = kept[data.photo_id]
        after = kept[data.photo_id] = holdings.fold(before, data)
        more = _usage(after) - _usage(before)
        if more != NOTHING:
            added[client_id] = added.get(client_id, NOTHING) + more
    for photo_id, holding in kept.items():
        _put(db, photo_id, holding)
    for client_id, more in added.items():
        db.execute(ADD, (client_id, more.photos, more.bytes, more.jobs))
        db.execute(ADD_TO_TOTALS, (more.photos, more.bytes, more.jobs))


def replace_counts(db: Connection, partition: int) -> None:
    """Correct the counts of ``live`` once its ``history`` and ``holdings`` match the log.

    ``main`` is a fold of that partition alone; the table ``client_ids`` has its clients, including
    former ones. All photos of a client are in one partition; all quotas are in partition 0.
    """
    db.execute(REPLACE_COUNTS)
    if partition == 0:
        db.execute(REPLACE_QUOTAS)
    db.execute(FORGET_UNKNOWN)
    db.execute(REPLACE_TOTALS)


def total(db: Connection) -> Usage:
    """Return the usage of all clients together."""
    rows = db.execute("SELECT photos, bytes, jobs FROM totals")
    return _usage_of(rows[0]) if rows else NOTHING


def page(db: Connection, *, cursor: str | None, limit: int) -> Clients:
    """Return the clients after ``cursor``, which is a client id, or from the first one on."""
    rows = db.execute(
        "SELECT client_id, photos, bytes, jobs, quota FROM clients WHERE client_id > ?"
        " ORDER BY client_id LIMIT ?",
        (cursor or "", limit + 1),
    )
    items = [_row(row) for row in rows[:limit]]
    return Clients(items=items, next_cursor=items[-1].client_id if len(rows) > limit else None)


def _get(db: Connection, photo_id: str) -> Holding | None:
    rows = db.execute("SELECT holding FROM holdings WHERE photo_id = ?", (photo_id,))
    return _decoder.decode(rows[0][0]) if rows else None


def _put(db: Connection, photo_id: str, holding: Holding | None) -> None:
    if holding is None or holding.erased:
        db.execute("DELETE FROM holdings WHERE photo_id = ?", (photo_id,))
    else:
        values = photo_id, _encoder.encode(holding)
        db.execute("INSERT OR REPLACE INTO holdings VALUES (?, ?)", values)


def _usage(holding: Holding | None) -> Usage:
    return NOTHING if holding is None else holding.usage


def _usage_of(row: Row) -> Usage:
    photos, stored, jobs = row
    return Usage(photos=photos, bytes=stored, jobs=jobs)


def _row(row: Row) -> ClientRow:
    client_id, *counts, quota = row
    own = DEFAULTS if quota is None else msgspec.json.decode(quota, type=OwnQuota)
    return ClientRow(client_id=client_id, usage=_usage_of(tuple(counts)), own=own)
