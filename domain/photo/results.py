"""The results of the stages: the JSON objects in the ``result`` of their events.

A missing fact is ``None``, never a guess.
"""

from typing import Literal

import msgspec

ORIGINAL = "original"
"""The name of the file that was uploaded, beside the names of its renditions."""


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
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


FlashMode = Literal["on", "off", "auto"]
"""How the flash was set: to fire, not to fire, or by itself."""


class Exposure(Result, frozen=True, kw_only=True):
    """``time`` in seconds as a fraction (``1/250``), ``focal_length`` in millimetres.

    ``focal_length_35mm`` is the focal length, in millimetres, that gives the same picture on 35 mm
    film. ``program``, ``metering_mode`` and ``white_balance`` are EXIF's words for their values.
    """

    time: str | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length: float | None = None
    focal_length_35mm: float | None = msgspec.field(default=None, name="focalLength35mm")
    compensation_ev: float | None = None
    program: str | None = None
    metering_mode: str | None = None
    flash_fired: bool | None = None
    flash_mode: FlashMode | None = None
    white_balance: Literal["auto", "manual"] | None = None


class Gps(Result, frozen=True, kw_only=True):
    """Signed decimal degrees (WGS 84), altitude in metres above sea level.

    ``direction_degrees`` is where the camera looked, clockwise from the north that
    ``direction_reference`` names. ``time`` is that of the satellites, in UTC.
    """

    latitude: float
    longitude: float
    altitude: float | None = None
    direction_degrees: float | None = None
    direction_reference: Literal["true", "magnetic"] | None = None
    time: str | None = None


class Description(Result, frozen=True, kw_only=True):
    """What people or their software have written into the file about the picture.

    ``rating`` is 0 to 5, or -1 for a rejected picture. Several creators are joined by ``; ``.
    """

    title: str | None = None
    caption: str | None = None
    keywords: tuple[str, ...] = ()
    rating: int | None = None
    creator: str | None = None
    copyright: str | None = None


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
    """The facts that a file tells.

    ``taken_at`` is the local time that the camera wrote, with an offset if the file has one; a day
    alone if no more is known. ``taken_at_source`` names the tag, or ``filename`` or
    ``lastModified``. ``taken_at_subsecond_ms`` is the time since the full second;
    ``taken_at_gps_offset`` the offset of a local time that the time of the GPS fix reveals.

    ``colour_space`` names the space that the colours of the renditions were converted from; sRGB if
    the file names none. ``colour_profile`` is the name of the ICC profile. ``hdr_gain_map`` says
    whether the file has a map for HDR displays; the renditions show its picture for SDR.
    ``bit_depth`` is in bits a sample. ``motion_video_bytes`` is the size of the video in a motion
    photo; ``content_identifier`` is what an Apple live photo shares with its video. ``raw`` is
    unset for photos that are no RAW files. A fact that a version of the event did not have is None.
    """

    width: int
    height: int
    orientation: int = 1
    taken_at: str | None = None
    taken_at_source: str | None = None
    taken_at_subsecond_ms: float | None = None
    taken_at_gps_offset: str | None = None
    digitized_at: str | None = None
    camera: Camera = Camera()
    exposure: Exposure = Exposure()
    gps: Gps | None = None
    raw: Raw | msgspec.UnsetType = msgspec.UNSET
    software: str | None = None
    colour_space: str | None = None
    colour_profile: str | None = None
    hdr_gain_map: bool | None = None
    bit_depth: int | None = None
    motion_photo: bool | None = None
    motion_video_bytes: int | None = None
    content_identifier: str | None = None
    description: Description = Description()


class ThumbnailsResult(Result, frozen=True, kw_only=True):
    """``sizes`` are the requested longest edges, in pixels; a smaller photo is not enlarged."""

    sizes: tuple[int, ...]


class PlaceholderResult(Result, frozen=True, kw_only=True):
    blurhash: str


class OptimizationResult(Result, frozen=True, kw_only=True):
    """``recipe`` names the settings that made the rendition, such as ``webp-1920-q80-m2``.

    In older events, a name such as ``webp-1920-q80`` stands for method 4.
    """

    recipe: str
