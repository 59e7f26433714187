"""The shape of a photo on the wire, built from a row of ``photos``."""

from typing import Any

import msgspec

from domain.photo.results import (
    Camera,
    Description,
    Exposure,
    Gps,
    MetadataResult,
    Raw,
    Rendition,
)
from domain.photo.status import Status
from projections.models import renditions
from store.sqlite.connection import Row

AS_THEY_ARE = (
    "job_id",
    "client_id",
    "session_id",
    "original_filename",
    "mime_type",
    "file_size",
    "sha256",
    "processing_status",
    "processing_error",
    "uploaded_at",
    "processing_started_at",
    "processing_completed_at",
    "width",
    "height",
    "blurhash",
    "version",
    "position",
)
"""The columns that a view shows under their own name."""

ERROR_CODE = """
CASE processing_status WHEN 'failed' THEN
  (SELECT json_extract(jobs.error, '$.code') FROM jobs WHERE jobs.id = photos.job_id)
END
"""
"""The code of the failure. The job has it: few photos fail, so they have no column of their own."""

COLUMNS = f"id, damaged, processing_metadata, renditions, {ERROR_CODE}, {', '.join(AS_THEY_ARE)}"


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ThumbnailView(_Shape, frozen=True, kw_only=True):
    """A thumbnail; ``size`` is the requested longest edge, in pixels."""

    size: int
    width: int
    height: int
    file_size: int
    mime_type: str
    url: str


class OptimizedView(_Shape, frozen=True, kw_only=True):
    width: int
    height: int
    file_size: int
    mime_type: str
    url: str


class PhotoView(_Shape, frozen=True, kw_only=True):
    """A photo as HTTP shows it: unknown facts are null, and only RAW files have ``raw``.

    ``processing_error_code`` says what ``processing_error`` says in words, for programs.
    """

    photo_id: str
    job_id: str
    client_id: str
    session_id: str | None
    original_filename: str
    mime_type: str
    file_size: int
    sha256: str
    processing_status: Status
    processing_error: str | None
    processing_error_code: str | None
    damaged: bool
    uploaded_at: str
    processing_started_at: str | None
    processing_completed_at: str | None
    width: int | None
    height: int | None
    taken_at: str | None
    taken_at_source: str | None
    taken_at_subsecond_ms: float | None
    taken_at_gps_offset: str | None
    digitized_at: str | None
    camera: Camera
    exposure: Exposure
    gps: Gps | None
    software: str | None
    colour_space: str | None
    colour_profile: str | None
    hdr_gain_map: bool | None
    bit_depth: int | None
    motion_photo: bool | None
    motion_video_bytes: int | None
    content_identifier: str | None
    description: Description
    blurhash: str | None
    thumbnails: list[ThumbnailView]
    optimized: OptimizedView | None
    title: str | None = None
    caption: str | None = None
    tags: tuple[str, ...] = ()
    favourite: bool = False
    raw: Raw | msgspec.UnsetType = msgspec.UNSET
    version: int
    position: str


_FACTS = tuple(
    name
    for name in MetadataResult.__struct_fields__
    if name not in ("width", "height", "orientation")
)
"""What a view shows of the metadata; the size is that of the validation."""


def view_of(row: Row) -> PhotoView:
    """Build the view from a row of ``COLUMNS``."""
    photo_id, damaged, metadata_json, renditions_json, error_code, *plain = row
    columns: dict[str, Any] = dict(zip(AS_THEY_ARE, plain, strict=True))
    metadata = (
        MetadataResult(width=0, height=0)
        if metadata_json is None
        else msgspec.json.decode(metadata_json, type=MetadataResult)
    )
    made = renditions.decode(photo_id, renditions_json)
    _, optimized = made.get(renditions.OPTIMIZED, (None, None))
    url = f"/api/photos/{photo_id}"
    return PhotoView(
        photo_id=photo_id,
        damaged=bool(damaged),
        processing_error_code=error_code,
        **{name: getattr(metadata, name) for name in _FACTS},
        thumbnails=[
            ThumbnailView(size=size, url=f"{url}/thumbnails/{size}", **_measures(each))
            for size, each in renditions.thumbnails(made)
        ],
        optimized=None
        if optimized is None
        else OptimizedView(url=f"{url}/optimized", **_measures(optimized)),
        **columns,
    )


def _measures(rendition: Rendition) -> dict[str, Any]:
    return {
        "width": rendition.width,
        "height": rendition.height,
        "file_size": rendition.file_size,
        "mime_type": rendition.mime_type,
    }
