"""The current renditions of a photo: the column ``renditions`` of ``photos``.

It is JSON: for each job the pictures that it has made, each as
``[name, width, height, fileSize, sha256, mimeType, key]``. The key is left out if it is the one
that ``rendition_key`` makes of the others, as it nearly always is; then so is the type of a WebP.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.photo.results import Rendition
from store.blobs.interface import rendition_key

THUMBNAIL = "thumbnail-"
"""How the name of a thumbnail begins; the longest edge asked for follows, in pixels."""

OPTIMIZED = "optimized"

WEBP = "image/webp"

VIEW = f"""
CREATE VIEW thumbnails AS
SELECT photo_id || ':' || size AS id, photo_id, size, size_name, s3_key,
  's3://' || bucket || '/' || s3_key AS s3_url, width, height, file_size, mime_type, sha256
FROM (
  SELECT p.id AS photo_id, p.bucket,
    CAST(substr(made.value ->> 0, {len(THUMBNAIL) + 1}) AS INTEGER) AS size,
    made.value ->> 0 AS size_name,
    coalesce(
      made.value ->> 6,
      'renditions/' || substr(p.id, 1, 2) || '/' || p.id || '/' || job.key || '/'
        || (made.value ->> 0) || '-' || substr(made.value ->> 4, 1, 16)
    ) AS s3_key,
    made.value ->> 1 AS width, made.value ->> 2 AS height, made.value ->> 3 AS file_size,
    coalesce(made.value ->> 5, '{WEBP}') AS mime_type, made.value ->> 4 AS sha256
  FROM photos AS p, json_each(p.renditions) AS job, json_each(job.value) AS made
  WHERE p.deleted_at IS NULL AND made.value ->> 0 LIKE '{THUMBNAIL}%'
);
"""  # noqa: S608 # constants
"""The thumbnails as rows, for people who look into the file."""

Made = Mapping[str, tuple[str, Rendition]]
"""The job that has made each rendition, and the rendition, by name."""


class _Picture(msgspec.Struct, frozen=True, array_like=True):
    name: str
    width: int
    height: int
    file_size: int
    sha256: str
    mime_type: str = WEBP
    key: str | None = None


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(dict[str, list[_Picture]])


def encode(photo_id: str, made: Made) -> str | None:
    """Return the column, the same one for the same renditions; None if there are none."""
    jobs: dict[str, list[tuple[str | int, ...]]] = {}
    for name, (job_id, each) in sorted(made.items()):
        picture = name, each.width, each.height, each.file_size, each.sha256
        if each.key != rendition_key(photo_id, job_id, name, each.sha256):
            picture = *picture, each.mime_type, each.key
        elif each.mime_type != WEBP:
            picture = *picture, each.mime_type
        if job_id in jobs:
            jobs[job_id].append(picture)
        else:
            jobs[job_id] = [picture]
    return _encoder.encode(jobs).decode() if jobs else None


def decode(photo_id: str, column: Any) -> dict[str, tuple[str, Rendition]]:
    """Return what ``encode`` was given."""
    if column is None:
        return {}
    return {
        each.name: (
            job_id,
            Rendition(
                name=each.name,
                key=each.key or rendition_key(photo_id, job_id, each.name, each.sha256),
                width=each.width,
                height=each.height,
                file_size=each.file_size,
                mime_type=each.mime_type,
                sha256=each.sha256,
            ),
        )
        for job_id, pictures in _decoder.decode(column).items()
        for each in pictures
    }


def thumbnails(made: Made) -> list[tuple[int, Rendition]]:
    """Return the requested size and the rendition of each thumbnail, by size."""
    found = [
        (int(name.removeprefix(THUMBNAIL)), each)
        for name, (_, each) in made.items()
        if name.startswith(THUMBNAIL)
    ]
    return sorted(found, key=lambda each: each[0])
