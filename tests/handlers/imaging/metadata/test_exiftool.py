"""Every real photo, told by us and by ExifTool: what both know is the same, and so is what neither
knows."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from domain.photo.formats import HEAD_BYTES, sniff
from domain.photo.results import MetadataResult
from handlers.imaging.metadata import embedded
from handlers.imaging.metadata.lens import described
from handlers.imaging.metadata.moments import parse
from handlers.imaging.metadata.values import rounded
from handlers.imaging.picture import Picture
from handlers.stage import StageContext
from handlers.stages import metadata
from tests.handlers.pictures import gradient
from tests.servers import unavailable

Tags = Mapping[str, Any]

PROGRAMS = {1: "manual", 2: "normal program", 3: "aperture priority", 4: "shutter priority"} | {
    5: "creative program"
}
METERING = {1: "average", 2: "centre-weighted average", 3: "spot", 5: "pattern", 6: "partial"}


def first(tags: Tags, *names: str) -> Any:
    """Return the first value that says something."""
    return next((tags[name] for name in names if str(tags.get(name, "")).strip()), None)


def moment(tags: Tags, name: str, offset: str) -> str | None:
    found = parse(str(tags.get(name, "")))
    return None if found is None else found.text + str(tags.get(offset, ""))


def subseconds(tags: Tags) -> float | None:
    digits = tags.get("ExifIFD:SubSecTimeOriginal")
    return None if digits is None else rounded(Fraction(f"0.{digits}") * 1000, 3)


def lens(tags: Tags) -> str | None:
    name = first(tags, "ExifIFD:LensModel")
    if name is not None:
        return name
    for specification in ("ExifIFD:LensInfo", "Nikon:Lens"):
        words = str(tags.get(specification, "")).split()
        numbers = tuple(None if word == "undef" else float(word) for word in words)
        if found := described(numbers):
            return found
    return first(tags, "Canon:LensModel", "Olympus:LensModel", "Panasonic:LensType", "XMP-aux:Lens")


def number(*names: str) -> Callable[[Tags], float | None]:
    def of(tags: Tags) -> float | None:
        found = first(tags, *names)
        return None if found is None or not found else rounded(found)

    return of


def signed(name: str) -> Callable[[Tags], float | None]:
    return lambda tags: None if name not in tags else rounded(tags[name])


def coordinate(name: str) -> Callable[[Tags], float | None]:
    return lambda tags: rounded(tags[name], 7) if tags.get(name, "") != "" else None


def gps_time(tags: Tags) -> str | None:
    found = tags.get("Composite:GPSDateTime", "")
    if len(found) < 20 or tags.get("Composite:GPSLatitude", "") == "":
        return None
    return found[:10].replace(":", "-") + "T" + found[11:19] + "Z"


def keywords(tags: Tags) -> tuple[str, ...]:
    found: Any = first(tags, "XMP-dc:Subject", "IPTC:Keywords") or ()
    return (
        tuple(map(str, cast("list[Any]", found)))
        if isinstance(found, list)
        else (found,)
        if found
        else ()
    )


def bits(tags: Tags) -> int | None:
    names = ("PNG:BitDepth", "IFD0:BitsPerSample", "File:BitsPerSample", "QuickTime:BitDepthLuma")
    found = first(tags, *names, "GIF:BitsPerPixel")
    return None if found is None else int(str(found).split()[0])


def exposure_time(tags: Tags) -> float | None:
    return tags.get("ExifIFD:ExposureTime") or None


def flash(tags: Tags, known: Callable[[int], Any]) -> Any:
    found = tags.get("ExifIFD:Flash")
    return None if found is None else known(found)


def at(name: str) -> Callable[[MetadataResult], Any]:
    return lambda ours: getattr(ours.gps, name, None)


FIELDS: dict[str, tuple[Callable[[MetadataResult], Any], Callable[[Tags], Any]]] = {
    "orientation": (lambda ours: ours.orientation, lambda tags: tags.get("IFD0:Orientation", 1)),
    "takenAt": (
        lambda ours: ours.taken_at,
        lambda tags: moment(tags, "ExifIFD:DateTimeOriginal", "ExifIFD:OffsetTimeOriginal"),
    ),
    "takenAtSubsecondMs": (lambda ours: ours.taken_at_subsecond_ms, subseconds),
    "digitizedAt": (
        lambda ours: ours.digitized_at,
        lambda tags: moment(tags, "ExifIFD:CreateDate", "ExifIFD:OffsetTimeDigitized"),
    ),
    "make": (lambda ours: ours.camera.make, lambda tags: first(tags, "IFD0:Make")),
    "model": (lambda ours: ours.camera.model, lambda tags: first(tags, "IFD0:Model")),
    "lens": (lambda ours: ours.camera.lens, lens),
    "time": (lambda ours: ours.exposure.time, exposure_time),
    "fNumber": (lambda ours: ours.exposure.f_number, number("ExifIFD:FNumber")),
    "iso": (lambda ours: ours.exposure.iso, number("ExifIFD:ISO")),
    "focalLength": (lambda ours: ours.exposure.focal_length, number("ExifIFD:FocalLength")),
    "focalLength35mm": (
        lambda ours: ours.exposure.focal_length_35mm,
        number("ExifIFD:FocalLengthIn35mmFormat"),
    ),
    "compensationEv": (
        lambda ours: ours.exposure.compensation_ev,
        signed("ExifIFD:ExposureCompensation"),
    ),
    "program": (
        lambda ours: ours.exposure.program,
        lambda tags: PROGRAMS.get(tags.get("ExifIFD:ExposureProgram", 0)),
    ),
    "meteringMode": (
        lambda ours: ours.exposure.metering_mode,
        lambda tags: METERING.get(tags.get("ExifIFD:MeteringMode", 0)),
    ),
    "flashFired": (
        lambda ours: ours.exposure.flash_fired,
        lambda tags: flash(tags, lambda value: bool(value & 1)),
    ),
    "flashMode": (
        lambda ours: ours.exposure.flash_mode,
        lambda tags: flash(tags, lambda value: (None, "on", "off", "auto")[value >> 3 & 3]),
    ),
    "whiteBalance": (
        lambda ours: ours.exposure.white_balance,
        lambda tags: {0: "auto", 1: "manual"}.get(tags.get("ExifIFD:WhiteBalance", -1)),
    ),
    "latitude": (at("latitude"), coordinate("Composite:GPSLatitude")),
    "longitude": (at("longitude"), coordinate("Composite:GPSLongitude")),
    "altitude": (at("altitude"), signed("Composite:GPSAltitude")),
    "directionDegrees": (at("direction_degrees"), signed("GPS:GPSImgDirection")),
    "gpsTime": (at("time"), gps_time),
    "software": (
        lambda ours: ours.software,
        lambda tags: first(tags, "IFD0:Software", "XMP-xmp:CreatorTool"),
    ),
    "colourProfile": (
        lambda ours: ours.colour_profile,
        lambda tags: first(tags, "ICC_Profile:ProfileDescription"),
    ),
    "bitDepth": (lambda ours: ours.bit_depth, bits),
    "contentIdentifier": (
        lambda ours: ours.content_identifier,
        lambda tags: first(tags, "Apple:ContentIdentifier", "Apple:MediaGroupUUID"),
    ),
    "title": (
        lambda ours: ours.description.title,
        lambda tags: first(tags, "XMP-dc:Title", "IPTC:ObjectName"),
    ),
    "caption": (
        lambda ours: ours.description.caption,
        lambda tags: first(
            tags, "IFD0:ImageDescription", "XMP-dc:Description", "IPTC:Caption-Abstract"
        ),
    ),
    "keywords": (lambda ours: ours.description.keywords, keywords),
    "rating": (
        lambda ours: ours.description.rating,
        lambda tags: first(tags, "XMP-xmp:Rating", "IFD0:Rating"),
    ),
    "creator": (
        lambda ours: ours.description.creator,
        lambda tags: first(tags, "IFD0:Artist", "XMP-dc:Creator", "IPTC:By-line"),
    ),
    "copyright": (
        lambda ours: ours.description.copyright,
        lambda tags: first(tags, "IFD0:Copyright", "XMP-dc:Rights", "IPTC:CopyrightNotice"),
    ),
}

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("animated.webp", "bitDepth"): "WebP always has 8 bits, which ExifTool does not tell",
    ("photo.webp", "bitDepth"): "WebP always has 8 bits, which ExifTool does not tell",
    ("photo.avif", "bitDepth"): "ExifTool does not read the configuration of AV1",
    ("corrupted.jpg", "caption"): "the camera wrote OLYMPUS DIGITAL CAMERA, nobody else",
}
"""Where we tell something else, with the reason."""


def ours(data: bytes, name: str) -> MetadataResult:
    """Return what the stage finds, without decoding the picture."""
    found = embedded.read(data, name)
    picture = Picture(
        format=name,
        mime_type="",
        width=1,
        height=1,
        frames=1,
        orientation=found.orientation,
        embedded=found,
        damaged=False,
        warning=None,
        colour_space="sRGB",
        has_gain_map=False,
        image=gradient(1, 1),
    )
    result = metadata.run(picture, StageContext()).result
    assert isinstance(result, MetadataResult)
    return result


def named(photos: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(photos.glob("*/*.*")):
        kind = sniff(path.read_bytes()[:HEAD_BYTES])
        if kind is not None:
            yield path, kind[0]


def told_by_exiftool(paths: list[Path]) -> list[Tags]:
    if shutil.which("exiftool") is None:
        unavailable("no ExifTool on this machine: apt-get install libimage-exiftool-perl")
    options = ("-json", "-n", "-G1", "-struct", "-charset", "exif=UTF8")
    command = ["exiftool", *options, *map(str, paths)]
    answer = subprocess.run(command, capture_output=True, check=False)
    return json.loads(answer.stdout)


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, str) and isinstance(expected, int | float):
        try:  # a time of exposure: ours is a fraction
            return abs(float(Fraction(found)) - expected) <= expected / 100
        except ValueError:
            return found == str(expected)
    if isinstance(found, float) and isinstance(expected, int | float):
        return abs(found - expected) <= 0.011
    return found == (expected.strip() if isinstance(expected, str) else expected)


@pytest.fixture(scope="module")
def told(photos: Path) -> dict[str, tuple[MetadataResult, Tags]]:
    files = list(named(photos))
    tags = told_by_exiftool([path for path, _ in files])
    assert [each["SourceFile"] for each in tags] == [str(path) for path, _ in files]
    return {
        path.name: (ours(path.read_bytes(), name), each)
        for (path, name), each in zip(files, tags, strict=True)
    }


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_what_exiftool_tells(
    told: dict[str, tuple[MetadataResult, Tags]], field: str
) -> None:
    mine, theirs = FIELDS[field]

    different = {
        (name, field): (mine(found), theirs(tags))
        for name, (found, tags) in told.items()
        if not same(mine(found), theirs(tags))
    }

    assert {key: value for key, value in different.items() if key not in EXCEPTIONS} == {}
    assert {key for key in EXCEPTIONS if key[1] == field} <= different.keys()
