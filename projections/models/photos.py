"""The photos: their facts for lists, their files and their owners.

A deleted photo keeps its row, with its owner and the time of deletion; only ``owner`` finds it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain.clients.usage import Usage
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.results import Rendition
from domain.photo.status import STATUS_AFTER
from domain.system_events import OF_NO_PHOTO
from projections.models import checkpoints, clients, renditions
from projections.models.batch import Columns, Rows, insert
from projections.models.cursor import Cursor
from projections.models.photo_facts import CHANGES, DATED_LETTERS
from projections.models.photo_files import PhotoFiles
from projections.models.photo_view import COLUMNS, PhotoView, view_of
from store.blobs.interface import original_key
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Row, Value

TABLES = ("photos",)

OF_PARTITION = {"photos": "id IN photo_ids"}

SCHEMA = f"""
CREATE TABLE photos (
  id TEXT PRIMARY KEY,
  bucket TEXT NOT NULL,
  key TEXT, -- of the original; null if it is the usual one of ``s3_key``
  file_size INTEGER NOT NULL,
  mime_type TEXT NOT NULL,
  original_filename TEXT NOT NULL,
  sha256 TEXT NOT NULL,

  client_id TEXT NOT NULL,
  session_id TEXT,

  job_id TEXT NOT NULL, -- the last one
  processing_status TEXT NOT NULL DEFAULT 'queued',
  processing_metadata TEXT, -- the result of the metadata stage, JSON
  processing_error TEXT, -- why the last job failed

  damaged INTEGER NOT NULL DEFAULT 0,
  width INTEGER, -- of the upright picture
  height INTEGER,
  blurhash TEXT,
  renditions TEXT, -- JSON, see projections.models.renditions
  superseded TEXT, -- renditions that are still stored, JSON
  runs INTEGER NOT NULL, -- 1: a job runs that counts towards the client's quota
  erased INTEGER NOT NULL DEFAULT 0,

  uploaded_at TEXT NOT NULL,
  dated TEXT NOT NULL, -- when it was taken, local time; if unknown, when it was uploaded
  processing_started_at TEXT,
  processing_completed_at TEXT, -- when the last job ended, well or not
  deleted_at TEXT,
  updated_at TEXT NOT NULL,
  version INTEGER NOT NULL,
  position TEXT NOT NULL, -- of the photo's last event

  s3_key TEXT AS (coalesce(key, 'originals/' || substr(id, 1, 2) || '/' || id)) VIRTUAL,
  s3_url TEXT AS ('s3://' || bucket || '/' || s3_key) VIRTUAL,
  created_at TEXT AS (uploaded_at) VIRTUAL,

  CHECK (processing_status IN ('queued', 'processing', 'completed', 'failed')),
  CHECK (damaged IN (0, 1)),
  CHECK (runs IN (0, 1)),
  CHECK (erased IN (0, 1))
) STRICT;
{renditions.VIEW}
"""

INDEXES = """
CREATE INDEX idx_photos_client_id ON photos(client_id, uploaded_at DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_session_id ON photos(session_id, uploaded_at DESC)
  WHERE deleted_at IS NULL AND session_id IS NOT NULL;
CREATE INDEX idx_photos_processing_status ON photos(processing_status, uploaded_at DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_client_status
  ON photos(client_id, processing_status, uploaded_at DESC) WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_uploaded_at ON photos(uploaded_at DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_client_dated ON photos(client_id, dated DESC, id DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_dated ON photos(dated DESC, id DESC)
  WHERE deleted_at IS NULL;
"""
"""Few photos are uploaded in the same millisecond, so their ids are sorted when a page is read; but
a camera whose clock was never set gives all of its photos the same date."""

STORED = (
    "id",
    "bucket",
    "key",
    "file_size",
    "mime_type",
    "original_filename",
    "sha256",
    "client_id",
    "session_id",
    "job_id",
    "processing_status",
    "processing_metadata",
    "processing_error",
    "damaged",
    "width",
    "height",
    "blurhash",
    "renditions",
    "superseded",
    "runs",
    "erased",
    "uploaded_at",
    "dated",
    "processing_started_at",
    "processing_completed_at",
    "deleted_at",
    "updated_at",
    "version",
    "position",
)
"""The columns that are stored, in the order of the table."""

FILTERS = {
    "client_id": "client_id = :client_id",
    "status": "processing_status = :status",
    "session_id": "session_id = :session_id",
    "uploaded_from": "uploaded_at >= :uploaded_from",
    "uploaded_to": "uploaded_at < :uploaded_to",
    "taken_from": "dated >= :taken_from",
    "taken_to": "dated < :taken_to",
}

Order = Literal["uploaded", "taken"]

ORDERED_BY: dict[Order, str] = {"uploaded": "uploaded_at", "taken": "dated"}


class Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of photos; ``next_cursor`` leads to the next page and is null on the last."""

    items: list[PhotoView]
    next_cursor: str | None


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    session_id: str | None
    deleted: bool


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a photo; ``renditions`` by name, such as ``thumbnail-150`` or ``optimized``.

    ``position`` is that of the photo's last event: no rendition is newer.
    """

    bucket: str
    original_key: str
    mime_type: str
    original_filename: str
    sha256: str
    file_size: int
    uploaded_at: str
    position: str
    renditions: dict[str, Rendition]


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Read and write each photo of a batch once, and count it towards its client's quotas."""
    rows = Rows(db, "photos", STORED)
    last = _last(recorded)
    rows.read(last.keys() - uploaded(recorded))
    clients.add(db, _change(rows.rows, recorded, last))
    rows.write()


def uploaded(recorded: Iterable[Recorded]) -> set[str]:
    """Return the photos that are uploaded among these events."""
    return {
        each.event.data.photo_id for each in recorded if type(each.event.data) is e.PhotoUploaded
    }


def fold_new(recorded: Sequence[Recorded]) -> tuple[list[Row], dict[str, Usage]]:
    """Return the rows of photos of which these are all events, and what each client uses more."""
    rows: dict[Value, Columns] = {}
    used = _change(rows, recorded, _last(recorded))
    return [tuple(row.values()) for row in rows.values()], used


def store_new(db: Connection, rows: Sequence[Row], used: Mapping[str, Usage]) -> None:
    """Write what ``fold_new`` has returned."""
    insert(db, "photos", STORED, rows)
    clients.add(db, used)


def _last(recorded: Iterable[Recorded]) -> dict[str, Recorded]:
    """Return the last event of each photo."""
    last = {each.event.data.photo_id: each for each in recorded}
    last.pop(OF_NO_PHOTO, None)
    return last


def _change(
    by_id: dict[Value, Columns], recorded: Iterable[Recorded], last: Mapping[str, Recorded]
) -> dict[str, Usage]:
    """Apply the events to the rows; return how much more each client uses."""
    files = PhotoFiles(by_id)
    for each in recorded:
        event = each.event
        data: Any = event.data
        kind = type(event.data)
        if kind in holdings.COUNTED:  # before its row changes
            files.apply(data, event.metadata.client_id)
        if kind is e.PhotoUploaded:
            by_id[data.photo_id] = _uploaded(event, data)
        elif (change := CHANGES.get(kind)) and (row := by_id.get(data.photo_id)):
            change(row, data, event.timestamp)
    for photo_id, each in last.items():
        if row := by_id.get(photo_id):
            row["updated_at"] = each.event.timestamp
            row["version"] = each.event.metadata.photo_version
            row["position"] = str(each.position)
    return files.finish()


def get(db: Connection, photo_id: str) -> PhotoView | None:
    sql = f"SELECT {COLUMNS} FROM photos WHERE id = ? AND deleted_at IS NULL"  # noqa: S608 # constants
    rows = db.execute(sql, (photo_id,))
    return view_of(rows[0]) if rows else checkpoints.deny(db)


def owner(db: Connection, photo_id: str) -> Owner | None:
    """Return the owner of the photo, even if it is deleted."""
    rows = db.execute(
        "SELECT client_id, session_id, deleted_at IS NOT NULL FROM photos WHERE id = ?", (photo_id,)
    )
    if not rows:
        return checkpoints.deny(db)
    client_id, session_id, deleted = rows[0]
    return Owner(client_id=client_id, session_id=session_id, deleted=bool(deleted))


def files(db: Connection, photo_id: str) -> Files | None:
    rows = db.execute(
        "SELECT bucket, s3_key, mime_type, original_filename, sha256, file_size, uploaded_at,"
        " position, renditions FROM photos WHERE id = ? AND deleted_at IS NULL",
        (photo_id,),
    )
    if not rows:
        return checkpoints.deny(db)
    bucket, key, mime_type, filename, sha256, file_size, uploaded_at, position, column = rows[0]
    return Files(
        bucket=bucket,
        original_key=key,
        mime_type=mime_type,
        original_filename=filename,
        sha256=sha256,
        file_size=file_size,
        uploaded_at=uploaded_at,
        position=position,
        renditions={name: each for name, (_, each) in renditions.decode(photo_id, column).items()},
    )


def page(
    db: Connection,
    *,
    client_id: str | None,
    status: str | None,
    session_id: str | None,
    uploaded_from: str | None,
    uploaded_to: str | None,
    taken_from: str | None = None,
    taken_to: str | None = None,
    order: Order = "uploaded",
    cursor: str | None,
    limit: int,
) -> Page:
    """Return the newest ``limit`` photos that match all filters, after ``cursor`` if given.

    Photos that are added or deleted between pages neither repeat nor hide others. The times of
    uploads are UTC to the millisecond, like those of events; those of shots are local, in the form
    of ``timeline.dated``. ``…_from`` is inclusive, ``…_to`` exclusive.

    Raises:
        ValueError: ``cursor`` does not come from a page.
        NotCovered: as ``checkpoints.check_client`` says.
    """
    checkpoints.check_client(db, client_id)
    filters = (client_id, status, session_id, uploaded_from, uploaded_to, taken_from, taken_to)
    values: dict[str, Value] = {
        name: value for name, value in zip(FILTERS, filters, strict=True) if value is not None
    }
    sql = page_sql(values, follows=cursor is not None, order=order)
    if cursor is not None:
        last = Cursor.decode(cursor)
        at = last.at if order == "uploaded" else last.at.removesuffix("Z")
        values |= {"last": at, "last_id": last.photo_id}
    rows = db.execute(sql, {**values, "limit": limit + 1})
    end = None
    if len(rows) > limit:
        rows = rows[:limit]
        last_at, last_id = rows[-1][-1], rows[-1][0]
        end = Cursor(f"{last_at.removesuffix('Z')}Z", last_id).encode()
    return Page(items=[view_of(row[:-1]) for row in rows], next_cursor=end)


def count(db: Connection) -> int:
    """Return the number of photos of all clients that are not deleted."""
    index = "INDEXED BY idx_photos_uploaded_at"
    return db.execute(f"SELECT count(*) FROM photos {index} WHERE deleted_at IS NULL")[0][0]  # noqa: S608 # constants


def page_sql(filters: Collection[str], *, follows: bool, order: Order = "uploaded") -> str:
    """Return the statement of ``page`` for these filters; its last column is that of the order.

    It names its index, because without statistics SQLite sometimes chooses another one and reads
    all photos of a client or of a status for one page.
    """
    column = ORDERED_BY[order]
    conditions = ["deleted_at IS NULL", *(FILTERS[name] for name in filters)]
    if follows:
        conditions.append(f"({column}, id) < (:last, :last_id)")
    return (
        f"SELECT {COLUMNS}, {column} FROM photos INDEXED BY {_index(filters, order)}"  # noqa: S608 # constants
        f" WHERE {' AND '.join(conditions)} ORDER BY {column} DESC, id DESC LIMIT :limit"
    )


def _index(filters: Collection[str], order: Order) -> str:
    if order == "taken":
        return "idx_photos_client_dated" if "client_id" in filters else "idx_photos_dated"
    if "session_id" in filters:
        return "idx_photos_session_id"
    if "client_id" in filters:
        return "idx_photos_client_status" if "status" in filters else "idx_photos_client_id"
    return "idx_photos_processing_status" if "status" in filters else "idx_photos_uploaded_at"


def _uploaded(event: e.Event, data: e.PhotoUploaded) -> Columns:
    at = event.timestamp
    return {
        "id": data.photo_id,
        "bucket": data.bucket,
        "key": None if data.key == original_key(data.photo_id) else data.key,
        "file_size": data.file_size,
        "mime_type": data.mime_type,
        "original_filename": data.original_filename,
        "sha256": data.sha256,
        "client_id": event.metadata.client_id,
        "session_id": event.metadata.session_id,
        "job_id": data.job_id,
        "processing_status": STATUS_AFTER[e.PhotoUploaded],
        "processing_metadata": None,
        "processing_error": None,
        "damaged": 0,
        "width": None,
        "height": None,
        "blurhash": None,
        "renditions": None,
        "superseded": None,
        "runs": 1,
        "erased": 0,
        "uploaded_at": at,
        "dated": at[:DATED_LETTERS],
        "processing_started_at": None,
        "processing_completed_at": None,
        "deleted_at": None,
        "updated_at": at,
        "version": event.metadata.photo_version,
        "position": "",
    }
