"""The thumbnails of the photos: the newest of each size."""

from collections.abc import Sequence

import msgspec

from domain.photo import events as e
from domain.photo.results import Rendition
from store.log.stream import Recorded
from store.sqlite.connection import Connection

TABLES = ("thumbnails",)

OF_PARTITION = {"thumbnails": "photo_id IN photo_ids"}

SCHEMA = """
CREATE TABLE thumbnails (
  id TEXT PRIMARY KEY, -- <photo id>:<size>
  photo_id TEXT NOT NULL,
  size INTEGER NOT NULL, -- the longest edge asked for, in pixels
  size_name TEXT NOT NULL,
  s3_key TEXT NOT NULL,
  s3_url TEXT NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  file_size INTEGER NOT NULL,
  mime_type TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  created_at TEXT NOT NULL,

  FOREIGN KEY (photo_id) REFERENCES photos(id) ON DELETE CASCADE
) STRICT;

CREATE INDEX idx_thumbnails_photo_id ON thumbnails(photo_id, size);
"""

REPLACE = """
INSERT OR REPLACE INTO thumbnails
SELECT photos.id || ':' || :size, photos.id, :size, :name, :key,
  's3://' || photos.bucket || '/' || :key, :width, :height, :file_size, :mime_type, :sha256, :at
FROM photos WHERE photos.id = :photo_id
"""

OF_PHOTOS = """
SELECT photo_id, size, size_name, s3_key, width, height, file_size, mime_type, sha256
FROM thumbnails WHERE photo_id IN (SELECT value FROM json_each(?)) ORDER BY photo_id, size
"""


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    for each in recorded:
        match each.event.data:
            case e.ThumbnailGenerated() as data:
                values = msgspec.structs.asdict(data.thumbnail)
                values |= {"size": data.size, "photo_id": data.photo_id, "at": each.event.timestamp}
                db.execute(REPLACE, values)
            case e.PhotoDeleted() as data:
                db.execute("DELETE FROM thumbnails WHERE photo_id = ?", (data.photo_id,))
            case _:
                pass


def of_photos(db: Connection, photo_ids: Sequence[str]) -> dict[str, list[tuple[int, Rendition]]]:
    """Return ``(requested size, rendition)`` by photo, in the order of size."""
    found: dict[str, list[tuple[int, Rendition]]] = {photo_id: [] for photo_id in photo_ids}
    rows = db.execute(OF_PHOTOS, (msgspec.json.encode(photo_ids).decode(),))
    for photo_id, size, name, key, width, height, file_size, mime_type, sha256 in rows:
        rendition = Rendition(
            name=name,
            key=key,
            width=width,
            height=height,
            file_size=file_size,
            mime_type=mime_type,
            sha256=sha256,
        )
        found[photo_id].append((size, rendition))
    return found
