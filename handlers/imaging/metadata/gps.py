"""Read where a photo was taken (EXIF 3.0, 4.6.7)."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

from domain.photo.results import Gps
from handlers.imaging.metadata import values
from handlers.imaging.metadata.exif import Tags
from handlers.imaging.metadata.moments import parse
from handlers.imaging.metadata.tiff_directory import Value

_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 0x01, 0x02, 0x03, 0x04
_ALTITUDE_REF, _ALTITUDE, _TIME, _STATUS = 0x05, 0x06, 0x07, 0x09
_DIRECTION_REF, _DIRECTION, _DATE = 0x10, 0x11, 0x1D

_BELOW = (1, 3)
"""GPSAltitudeRef: 0 and 1 are above and below the ellipsoid, 2 and 3 above and below the sea; up to
EXIF 2.32, 0 and 1 meant the sea."""

_REFERENCES: dict[str, Literal["true", "magnetic"]] = {"T": "true", "M": "magnetic"}


def find(tags: Tags) -> Gps | None:
    """Return the position; None unless both coordinates are there, each with its hemisphere.

    A receiver without a fix writes zeros: 0° N, 0° E counts only if GPSStatus says that the
    measurement is active.
    """
    gps = tags.gps
    latitude = _coordinate(gps.get(_LATITUDE), gps.get(_LATITUDE_REF), {"N": 1, "S": -1}, 90)
    longitude = _coordinate(gps.get(_LONGITUDE), gps.get(_LONGITUDE_REF), {"E": 1, "W": -1}, 180)
    if latitude is None or longitude is None:
        return None
    if latitude == longitude == 0 and _letter(gps.get(_STATUS)) != "A":
        return None
    direction = _direction(gps.get(_DIRECTION))
    at = time(tags)
    return Gps(
        latitude=latitude,
        longitude=longitude,
        altitude=_altitude(gps.get(_ALTITUDE), gps.get(_ALTITUDE_REF)),
        direction_degrees=direction,
        direction_reference=None
        if direction is None
        else _REFERENCES.get(_letter(gps.get(_DIRECTION_REF))),
        time=None if at is None else at.isoformat().replace("+00:00", "Z"),
    )


def time(tags: Tags) -> datetime | None:
    """Return the time of the satellites, in UTC to the second; None without a date."""
    day = parse(values.text(tags.gps.get(_DATE)) or "")
    parts = values.numbers(tags.gps.get(_TIME))
    if day is None or len(parts) != 3:
        return None
    seconds = Fraction()
    for part, unit, limit in zip(parts, (3600, 60, 1), (24, 60, 61), strict=True):
        if part is None or not 0 <= part < limit:
            return None
        seconds += Fraction(part) * unit
    midnight = datetime.fromisoformat(day.date).replace(tzinfo=UTC)
    return midnight + timedelta(seconds=int(seconds))


def _coordinate(
    value: Value | None, reference: Value | None, signs: dict[str, int], limit: int
) -> float | None:
    degrees, sign = _degrees(value), signs.get(_letter(reference))
    if degrees is None or sign is None or degrees > limit:
        return None
    return values.rounded(sign * degrees, 7)


def _letter(value: Value | None) -> str:
    return (values.text(value) or "")[:1].upper()


def _degrees(value: Value | None) -> Fraction | None:
    """Convert degrees, minutes and seconds to degrees.

    Parts without a value (0/0) at the end are none, as long as the rest is exact enough: minutes,
    or degrees with a fraction.
    """
    parts = list(value) if isinstance(value, tuple) else []
    while parts and parts[-1] is None:
        parts.pop()
    if not parts or len(parts) > 3:
        return None
    total = Fraction()
    for power, part in enumerate(parts):
        if part is None or part < 0 or (power and part >= 61):
            return None
        total += Fraction(part) / 60**power
    is_exact = len(parts) > 1 or total.denominator > 1 or value == (total,)
    return total if is_exact else None


def _direction(value: Value | None) -> float | None:
    degrees = values.number(value)
    if degrees is None or not 0 <= degrees <= 360:
        return None
    return values.rounded(degrees) % 360


def _altitude(value: Value | None, reference: Value | None) -> float | None:
    """Return metres; some phones write a negative number, whatever the reference."""
    metres = values.number(value)
    if metres is None or abs(metres) >= 1_000_000:
        return None
    is_below = metres < 0 or values.integer(reference) in _BELOW
    return values.rounded(-abs(metres) if is_below else metres)
