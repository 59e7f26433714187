"""The results of the stages: the JSON objects in the ``result`` of their events.

A missing fact is ``None``, never a guess.
"""

from typing import Literal

import msgspec

ORIGINAL = "original"
"""The name of the file that was uploaded, beside the names of its renditions."""


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all stage results."""


class Rendition(Result, frozen=True, kw_only=True):
    """A picture made from the original; its bytes are under ``key`` in the blob store."""

    name: str  # ``thumbnail-150``, ``optimized``
    key: str
    width: int
    height: int
    file_size: int
    mime_type: str
    sha256: str


class ValidationResult(Result, frozen=True, kw_only=True):
    """``width`` and ``height`` are those of the upright picture, in pixels."""

    format: str
    mime_type: str
    width: int
    height: int
    frames: int = 1
    damaged: bool = False
    warning: str | None = None


class Camera(Result, frozen=True, kw_only=True):
    make: str | None = None
    model: str | None = None
    lens: str | None = None


class Exposure(Result, frozen=True, kw_only=True):
    """``time`` in seconds as a fraction (``1/250``), ``focal_length`` in millimetres."""

    time: str | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length: float | None = None


class Gps(Result, frozen=True, kw_only=True):
    """Signed decimal degrees (WGS 84), altitude in metres above sea level."""

    latitude: float
    longitude: float
    altitude: float | None = None


RAW_PREVIEW: Literal["embedded-preview"] = "embedded-preview"


class Raw(Result, frozen=True, kw_only=True):
    """How a RAW file is shown; sizes are those of upright pictures, in pixels.

    ``kind`` is the usual extension, such as ``DNG``. ``rendition`` says whether the renditions show
    the camera's own preview or the developed data of the sensor.
    """

    kind: str
    rendition: Literal["embedded-preview", "developed"]
    sensor_width: int | None = None
    sensor_height: int | None = None
    preview_width: int | None = None
    preview_height: int | None = None


class MetadataResult(Result, frozen=True, kw_only=True):
    """``taken_at`` is the local time that the camera wrote, with an offset if the file has one.

    ``raw`` is unset for photos that are no RAW files.
    """

    width: int
    height: int
    orientation: int = 1
    taken_at: str | None = None
    camera: Camera = Camera()
    exposure: Exposure = Exposure()
    gps: Gps | None = None
    raw: Raw | msgspec.UnsetType = msgspec.UNSET


class ThumbnailsResult(Result, frozen=True, kw_only=True):
    """``sizes`` are the requested longest edges, in pixels; a smaller photo is not enlarged."""

    sizes: tuple[int, ...]


class PlaceholderResult(Result, frozen=True, kw_only=True):
    blurhash: str


class OptimizationResult(Result, frozen=True, kw_only=True):
    """``recipe`` names the settings that made the rendition, such as ``webp-1920-q80``."""

    recipe: str
