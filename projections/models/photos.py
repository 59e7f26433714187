"""The photos: their facts for lists, their files and their owners.

A deleted photo keeps its row, with its owner and the time of deletion; only ``owner`` finds it.
"""

import logging
from collections.abc import Collection, Sequence

import msgspec

from domain.photo import events as e
from domain.photo.results import MetadataResult, PlaceholderResult, Rendition, ValidationResult
from domain.photo.status import STATUS_AFTER
from domain.system_events import SystemData
from projections.models import thumbnails
from projections.models.cursor import Cursor
from projections.models.photo_view import SELECT, PhotoView, view_of
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row, Value

logger = logging.getLogger("photolog.projector")

TABLES = ("photos",)

OF_PARTITION = {"photos": "id IN photo_ids"}

SCHEMA = """
CREATE TABLE photos (
  id TEXT PRIMARY KEY,
  s3_key TEXT NOT NULL UNIQUE,
  s3_url TEXT NOT NULL,
  bucket TEXT NOT NULL,
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
  optimized TEXT, -- the rendition, JSON

  uploaded_at TEXT NOT NULL,
  processing_started_at TEXT,
  processing_completed_at TEXT, -- when the last job ended, well or not
  deleted_at TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  version INTEGER NOT NULL,
  position TEXT NOT NULL, -- of the photo's last event

  CHECK (processing_status IN ('queued', 'processing', 'completed', 'failed')),
  CHECK (damaged IN (0, 1))
) STRICT;

CREATE INDEX idx_photos_client_id ON photos(client_id, uploaded_at DESC, id DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_session_id ON photos(session_id, uploaded_at DESC, id DESC)
  WHERE deleted_at IS NULL AND session_id IS NOT NULL;
CREATE INDEX idx_photos_processing_status ON photos(processing_status, uploaded_at DESC, id DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_client_status
  ON photos(client_id, processing_status, uploaded_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX idx_photos_uploaded_at ON photos(uploaded_at DESC, id DESC)
  WHERE deleted_at IS NULL;
"""

INSERT = """
INSERT INTO photos (
  id, s3_key, s3_url, bucket, file_size, mime_type, original_filename, sha256, client_id,
  session_id, job_id, uploaded_at, created_at, updated_at, version, position
) VALUES (
  :id, :key, 's3://' || :bucket || '/' || :key, :bucket, :file_size, :mime_type, :filename,
  :sha256, :client_id, :session_id, :job_id, :at, :at, :at, :version, :position
)
"""

FILTERS = {
    "client_id": "client_id = :client_id",
    "status": "processing_status = :status",
    "session_id": "session_id = :session_id",
    "uploaded_from": "uploaded_at >= :uploaded_from",
    "uploaded_to": "uploaded_at < :uploaded_to",
}


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
    for each in recorded:
        data = each.event.data
        if isinstance(data, e.PhotoUploaded):
            _insert(db, each, data)
        elif not isinstance(data, SystemData):
            _update(db, each, _changes(data, each.event.timestamp))


def get(db: Connection, photo_id: str) -> PhotoView | None:
    rows = db.execute(f"{SELECT} WHERE id = ? AND deleted_at IS NULL", (photo_id,))
    return _views(db, rows)[0] if rows else None


def owner(db: Connection, photo_id: str) -> Owner | None:
    """Return the owner of the photo, even if it is deleted."""
    rows = db.execute(
        "SELECT client_id, session_id, deleted_at IS NOT NULL FROM photos WHERE id = ?", (photo_id,)
    )
    if not rows:
        return None
    client_id, session_id, deleted = rows[0]
    return Owner(client_id=client_id, session_id=session_id, deleted=bool(deleted))


def files(db: Connection, photo_id: str) -> Files | None:
    rows = db.execute(
        "SELECT bucket, s3_key, mime_type, original_filename, sha256, file_size, uploaded_at,"
        " position, optimized FROM photos WHERE id = ? AND deleted_at IS NULL",
        (photo_id,),
    )
    if not rows:
        return None
    bucket, key, mime_type, filename, sha256, file_size, uploaded_at, position, optimized = rows[0]
    renditions = [each for _, each in thumbnails.of_photos(db, (photo_id,))[photo_id]]
    if optimized is not None:
        renditions.append(msgspec.json.decode(optimized, type=Rendition))
    return Files(
        bucket=bucket,
        original_key=key,
        mime_type=mime_type,
        original_filename=filename,
        sha256=sha256,
        file_size=file_size,
        uploaded_at=uploaded_at,
        position=position,
        renditions={each.name: each for each in renditions},
    )


def page(
    db: Connection,
    *,
    client_id: str | None,
    status: str | None,
    session_id: str | None,
    uploaded_from: str | None,
    uploaded_to: str | None,
    cursor: str | None,
    limit: int,
) -> Page:
    """Return the newest ``limit`` photos that match all filters, after ``cursor`` if given.

    Photos that are added or deleted between pages neither repeat nor hide others. The times are UTC
    to the millisecond, like those of events; ``uploaded_from`` is inclusive, ``uploaded_to``
    exclusive.

    Raises:
        ValueError: ``cursor`` does not come from a page.
    """
    filters = (client_id, status, session_id, uploaded_from, uploaded_to)
    values: dict[str, Value] = {
        name: value for name, value in zip(FILTERS, filters, strict=True) if value is not None
    }
    sql = page_sql(values, follows=cursor is not None)
    if cursor is not None:
        last = Cursor.decode(cursor)
        values |= {"last_uploaded_at": last.at, "last_id": last.photo_id}
    items = _views(db, db.execute(sql, {**values, "limit": limit + 1}))
    more, items = len(items) > limit, items[:limit]
    end = Cursor(items[-1].uploaded_at, items[-1].photo_id).encode() if more else None
    return Page(items=items, next_cursor=end)


def count(db: Connection) -> int:
    """Return the number of photos of all clients that are not deleted."""
    index = "INDEXED BY idx_photos_uploaded_at"
    return db.execute(f"SELECT count(*) FROM photos {index} WHERE deleted_at IS NULL")[0][0]  # noqa: S608 # constants


def page_sql(filters: Collection[str], *, follows: bool) -> str:
    """Return the statement of ``page`` for these filters.

    It names its index, because without statistics SQLite sometimes chooses another one and reads
    all photos of a client or of a status for one page.
    """
    if "session_id" in filters:
        index = "idx_photos_session_id"
    elif "client_id" in filters:
        index = "idx_photos_client_status" if "status" in filters else "idx_photos_client_id"
    else:
        index = "idx_photos_processing_status" if "status" in filters else "idx_photos_uploaded_at"
    conditions = ["deleted_at IS NULL", *(FILTERS[name] for name in filters)]
    if follows:
        conditions.append("(uploaded_at, id) < (:last_uploaded_at, :last_id)")
    where = " AND ".join(conditions)
    return (
        f"{SELECT} INDEXED BY {index} WHERE {where} ORDER BY uploaded_at DESC, id DESC LIMIT :limit"
    )


def _insert(db: Connection, recorded: Recorded, data: e.PhotoUploaded) -> None:
    event = recorded.event
    db.execute(
        INSERT,
        {
            "id": data.photo_id,
            "key": data.key,
            "bucket": data.bucket,
            "file_size": data.file_size,
            "mime_type": data.mime_type,
            "filename": data.original_filename,
            "sha256": data.sha256,
            "client_id": event.metadata.client_id,
            "session_id": event.metadata.session_id,
            "job_id": data.job_id,
            "at": event.timestamp,
            "version": event.metadata.photo_version,
            "position": str(recorded.position),
        },
    )


def _update(db: Connection, recorded: Recorded, changes: dict[str, Value]) -> None:
    event = recorded.event
    changes |= {
        "updated_at": event.timestamp,
        "version": event.metadata.photo_version,
        "position": str(recorded.position),
    }
    columns = ", ".join(f"{column} = :{column}" for column in changes)
    db.execute(
        f"UPDATE photos SET {columns} WHERE id = :id",  # noqa: S608 # constants
        {**changes, "id": event.data.photo_id},
    )


def _changes(data: e.PhotoEvent, at: str) -> dict[str, Value]:
    """Return the columns that an event changes; other events change none."""
    status = STATUS_AFTER.get(type(data))
    changes: dict[str, Value] = {} if status is None else {"processing_status": status}
    match data:
        case e.ProcessingRequested():
            reset = ("processing_error", "processing_started_at", "processing_completed_at")
            changes |= {"job_id": data.job_id, **dict.fromkeys(reset)}
        case e.ProcessingStarted():
            changes |= {"processing_started_at": at}
        case e.StageCompleted():
            changes |= _facts(data)
        case e.ProcessingCompleted():
            changes |= {"processing_completed_at": at}
        case e.ProcessingFailed():
            changes |= {"processing_completed_at": at, "processing_error": data.error}
        case e.PhotoDeleted():
            changes |= {"deleted_at": at}
        case _:
            pass
    return changes


def _facts(data: e.StageCompleted) -> dict[str, Value]:
    """Return a stage's result as columns; skip a result that does not have the stage's shape."""
    try:
        match data.stage:
            case "validation":
                found = msgspec.convert(data.result, ValidationResult)
                return {"damaged": found.damaged, "width": found.width, "height": found.height}
            case "metadata":
                metadata = msgspec.convert(data.result, MetadataResult)
                return {"processing_metadata": msgspec.json.encode(metadata).decode()}
            case "placeholder":
                return {"blurhash": msgspec.convert(data.result, PlaceholderResult).blurhash}
            case "optimization" if data.renditions:
                return {"optimized": msgspec.json.encode(data.renditions[0]).decode()}
            case _:
                return {}
    except msgspec.ValidationError as error:
        logger.warning(
            "photo %s: skipped the invalid result of %s: %s", data.photo_id, data.stage, error
        )
        return {}


def _views(db: Connection, rows: list[Row]) -> list[PhotoView]:
    of_photos = thumbnails.of_photos(db, [row[0] for row in rows])
    return [view_of(row, of_photos[row[0]]) for row in rows]
