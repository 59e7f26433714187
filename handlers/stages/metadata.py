"""Metadata: what the camera recorded, in units that need no EXIF table to understand.

The tags and their meaning: CIPA DC-008-2023 (EXIF 3.0). Missing or invalid values are None.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, cast

import msgspec
from PIL.ExifTags import GPS, Base

from domain.photo.results import Camera, Exposure, Gps, MetadataResult
from handlers.imaging.exif import Tags
from handlers.imaging.picture import Picture
from handlers.stage import Output, StageContext

_WHEN = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")

_MAX_TEXT = 200
_ISO_BEYOND = 65535
"""PhotographicSensitivity has 16 bits; this value refers to RecommendedExposureIndex."""


def run(picture: Picture, _context: StageContext) -> Output:
    """Return the metadata. A broken tag counts as missing and never fails the stage."""
    tags = picture.tags
    return Output(
        result=MetadataResult(
            width=picture.width,
            height=picture.height,
            orientation=picture.orientation,
            taken_at=taken_at(tags),
            camera=camera(tags),
            exposure=exposure(tags),
            gps=gps(tags),
            raw=picture.raw or msgspec.UNSET,
        )
    )


def taken_at(tags: Tags) -> str | None:
    """Return when the shutter opened: ``2010-05-01T12:00:00``, plus an offset if the file has one.

    The times of scanning or editing, in other tags, do not count.
    """
    found = _WHEN.fullmatch(_text(tags.exif.get(Base.DateTimeOriginal)) or "")
    if found is None:
        return None
    moment = "{}-{}-{}T{}:{}:{}".format(*found.groups())
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return None
    offset = _text(tags.exif.get(Base.OffsetTimeOriginal)) or ""
    return moment + (offset if _OFFSET.fullmatch(offset) else "")


def camera(tags: Tags) -> Camera:
    return Camera(
        make=_text(tags.main.get(Base.Make)),
        model=_text(tags.main.get(Base.Model)),
        lens=_text(tags.exif.get(Base.LensModel)),
    )


def exposure(tags: Tags) -> Exposure:
    return Exposure(
        time=_exposure_time(tags.exif.get(Base.ExposureTime)),
        f_number=_positive(tags.exif.get(Base.FNumber)),
        iso=_iso(tags),
        focal_length=_positive(tags.exif.get(Base.FocalLength)),
    )


def gps(tags: Tags) -> Gps | None:
    """Return the position; None unless both coordinates are there, each with its hemisphere."""
    latitude = _degrees(tags.gps.get(GPS.GPSLatitude))
    longitude = _degrees(tags.gps.get(GPS.GPSLongitude))
    north = {"N": 1, "S": -1}.get(_text(tags.gps.get(GPS.GPSLatitudeRef)) or "")
    east = {"E": 1, "W": -1}.get(_text(tags.gps.get(GPS.GPSLongitudeRef)) or "")
    if latitude is None or longitude is None or north is None or east is None:
        return None
    if latitude > 90 or longitude > 180:
        return None
    return Gps(
        latitude=round(north * latitude, 7),
        longitude=round(east * longitude, 7),
        altitude=_altitude(tags),
    )


def _text(value: Any) -> str | None:
    """Return the text without the padding of cameras; None if nothing printable is left."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    text = "".join(c for c in value.split("\0")[0] if c.isprintable()).strip()
    return text[:_MAX_TEXT] or None


def _fraction(value: Any) -> Fraction | None:
    """Return an EXIF number, which is two integers; None if the denominator is 0."""
    try:
        numerator, denominator = value.numerator, value.denominator
        return Fraction(int(numerator), int(denominator))
    except (AttributeError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return _fraction_of_float(value)


def _fraction_of_float(value: Any) -> Fraction | None:
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(value)
    return None


def _positive(value: Any) -> float | None:
    number = _fraction(value)
    return round(float(number), 2) if number is not None and 0 < number < 1e6 else None


def _exposure_time(value: Any) -> str | None:
    """Return a time as ``1/250``; some cameras write 16667/1000000 for 1/60."""
    seconds = _fraction(value)
    if seconds is None or not 0 < seconds < 1e6:
        return None
    if seconds < 1:
        unit = Fraction(1, round(1 / seconds))
        if abs(unit - seconds) <= seconds / 200:
            return str(unit)
    return str(seconds.limit_denominator(1000))


def _iso(tags: Tags) -> int | None:
    value = tags.exif.get(Base.ISOSpeedRatings)
    if isinstance(value, tuple) and value:
        value = cast("tuple[Any, ...]", value)[0]
    if value == _ISO_BEYOND:
        value = tags.exif.get(Base.RecommendedExposureIndex)
    return value if isinstance(value, int) and 0 < value < 10_000_000 else None


def _degrees(value: Any) -> float | None:
    """Convert degrees, minutes and seconds to degrees."""
    if not isinstance(value, Sequence) or not 1 <= len(cast("Sequence[Any]", value)) <= 3:
        return None
    parts = [_fraction(part) for part in cast("Sequence[Any]", value)]
    if any(part is None or part < 0 for part in parts):
        return None
    total = sum((part or Fraction()) / 60**power for power, part in enumerate(parts))
    return float(total)


def _altitude(tags: Tags) -> float | None:
    metres = _fraction(tags.gps.get(GPS.GPSAltitude))
    if metres is None or not 0 <= metres < 1e6:
        return None
    below = tags.gps.get(GPS.GPSAltitudeRef) in (1, b"\x01")
    return round(float(-metres if below else metres), 2)
