"""Complete EXIF tags with those that XMP repeats (CIPA DC-010, Exif metadata for XMP).

Some software writes XMP alone, above all for formats without EXIF. Of a tag that the file has
anyway, its own value counts.
"""

import re
from fractions import Fraction

import msgspec

from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.tiff_directory import Value
from handlers.imaging.metadata.xmp import Properties

_NUMBERS = {
    Tag.EXPOSURE_TIME: "exif:ExposureTime",
    Tag.F_NUMBER: "exif:FNumber",
    Tag.EXPOSURE_PROGRAM: "exif:ExposureProgram",
    Tag.EXPOSURE_BIAS: "exif:ExposureBiasValue",
    Tag.METERING_MODE: "exif:MeteringMode",
    Tag.FOCAL_LENGTH: "exif:FocalLength",
    Tag.FOCAL_LENGTH_35MM: "exif:FocalLengthIn35mmFilm",
    Tag.WHITE_BALANCE: "exif:WhiteBalance",
    Tag.COLOUR_SPACE: "exif:ColorSpace",
    Tag.FILE_SOURCE: "exif:FileSource",
}
_SENSITIVITIES = ("exifEX:PhotographicSensitivity", "exif:ISOSpeedRatings")

_LATITUDE, _LONGITUDE, _ALTITUDE_REF, _ALTITUDE = 0x02, 0x04, 0x05, 0x06

_COORDINATE = re.compile(
    r"(\d{1,3}),(\d{1,2}(?:\.\d{1,12})?)(?:,(\d{1,2}(?:\.\d{1,12})?))?([NSEW])", re.ASCII
)
"""Degrees, minutes with a fraction or with seconds, and the hemisphere: ``48,53.3235N``."""


def complete(tags: Tags, xmp: Properties) -> Tags:
    """Return the tags, with those that only XMP has."""
    if not xmp.texts:
        return tags
    exif: dict[int, Value] = {}
    for tag, name in _NUMBERS.items():
        if not tags.of(tag) and (numbers := xmp.numbers(name)):
            exif[tag] = numbers
    if not tags.of(Tag.SENSITIVITY):
        found = (xmp.numbers(name) for name in _SENSITIVITIES)
        exif |= {int(Tag.SENSITIVITY): each for each in list(filter(None, found))[:1]}
    has_position = _LATITUDE in tags.gps or _LONGITUDE in tags.gps
    return msgspec.structs.replace(
        tags,
        exif={**tags.exif, **exif},
        gps=tags.gps if has_position else {**tags.gps, **_position(xmp)},
    )


def _position(xmp: Properties) -> dict[int, Value]:
    found: dict[int, Value] = {}
    for tag, name in ((_LATITUDE, "exif:GPSLatitude"), (_LONGITUDE, "exif:GPSLongitude")):
        if match := _COORDINATE.fullmatch(xmp.name(name) or ""):
            *parts, hemisphere = match.groups()
            found[tag] = tuple(Fraction(part) for part in parts if part is not None)
            found[tag - 1] = hemisphere.encode()
    for tag, name in ((_ALTITUDE_REF, "exif:GPSAltitudeRef"), (_ALTITUDE, "exif:GPSAltitude")):
        if numbers := xmp.numbers(name):
            found[tag] = numbers
    return found
