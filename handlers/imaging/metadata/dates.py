"""Tell when a photo was taken, and which source says so.

Sources in their order: EXIF, EXIF tags in the wrong directory, XMP, IPTC, the file's name, the time
of the client's file. ``ops/guides/metadata.md`` gives the reasons. The first source that has a date
counts; if it has only a day, a later one of the same day that has a time completes it.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from handlers.imaging.metadata import filenames, iptc, values
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.iptc import Iptc
from handlers.imaging.metadata.moments import Moment, parse, parse_offset
from handlers.imaging.metadata.tiff_directory import Value
from handlers.imaging.metadata.xmp import Properties
from handlers.stage import Origin

DIGITAL_CAMERA = 3
"""FileSource: a digital still camera, in which taking and digitizing are one. 1 and 2 are scanners
of film and of prints."""

_OFFSET_FITS_S = 150
"""How far a local time may be from GPS time plus a whole offset: a fix may be a while old."""

Source = Literal[
    "exif:DateTimeOriginal",
    "exif:DateTimeDigitized",
    "ifd0:DateTimeOriginal",
    "ifd0:DateTimeDigitized",
    "xmp:exif:DateTimeOriginal",
    "xmp:photoshop:DateCreated",
    "xmp:xmp:CreateDate",
    "iptc:DateCreated",
    "filename",
    "lastModified",
]

Dated = tuple[Moment, Source]
"""A moment, and the name of its source."""

_DIRECTORIES: tuple[tuple[Source, Source], ...] = (
    ("exif:DateTimeOriginal", "exif:DateTimeDigitized"),
    ("ifd0:DateTimeOriginal", "ifd0:DateTimeDigitized"),
)


def taken(tags: Tags, xmp: Properties, iptc_: Iptc, origin: Origin) -> Dated | None:
    """Return when the shutter opened; None if nothing says so."""
    found = iter(_candidates(tags, xmp, iptc_, origin))
    first = next(found, None)
    if first is None or first[0].time:
        return first
    day = first[0].date
    return next((each for each in found if each[0].time and each[0].date == day), first)


def digitized(tags: Tags, xmp: Properties) -> Moment | None:
    """Return when the picture became digital: for a scan later than it was taken."""
    return (
        _exif_digitized(tags, tags.exif)
        or _exif_digitized(tags, tags.main)
        or _xmp(xmp, "xmp:CreateDate")
    )


def offset_by(local: Moment, utc: datetime) -> str | None:
    """Return the offset of a local time without one, if the time of the GPS fix reveals it."""
    if local.offset is not None or local.time is None or not local.has_seconds:
        return None
    apart_s = (local.wall - utc.replace(tzinfo=None)).total_seconds()
    quarters = round(apart_s / 900)
    if abs(apart_s - 900 * quarters) > _OFFSET_FITS_S or not -48 <= quarters <= 56:
        return None
    hours, minutes = divmod(15 * abs(quarters), 60)
    return f"{'-' if quarters < 0 else '+'}{hours:02}:{minutes:02}"


def _candidates(tags: Tags, xmp: Properties, iptc_: Iptc, origin: Origin) -> Iterator[Dated]:
    source = _file_source(tags.of(Tag.FILE_SOURCE))
    is_scan = source in (1, 2)
    for directory, names in zip((tags.exif, tags.main), _DIRECTORIES, strict=True):
        original = directory.get(Tag.DATE_ORIGINAL)
        yield from _named(_exif_original(tags, original), names[0])
        # Only then is the time of digitizing that of taking.
        if source == DIGITAL_CAMERA or (_is_broken(original) and not is_scan):
            yield from _named(_exif_digitized(tags, directory), names[1])
    yield from _named(_xmp(xmp, "exif:DateTimeOriginal"), "xmp:exif:DateTimeOriginal")
    created = _named(_xmp(xmp, "photoshop:DateCreated"), "xmp:photoshop:DateCreated")
    by_iptc = _named(_iptc(iptc_), "iptc:DateCreated")
    yield from (*by_iptc, *created) if iptc_.is_newer_than_xmp else (*created, *by_iptc)
    if source == DIGITAL_CAMERA:
        yield from _named(_xmp(xmp, "xmp:CreateDate"), "xmp:xmp:CreateDate")
    if is_scan:
        return  # name and time of the file are those of the scan
    yield from _named(filenames.moment(origin.filename or ""), "filename")
    yield from _named(_modified(origin.last_modified_ms), "lastModified")


def _file_source(value: Value | None) -> int | None:
    """Return the source; some cameras write it in four bytes."""
    return values.integer(value[:1] if isinstance(value, bytes) else value)


def _is_broken(original: Value | None) -> bool:
    """Return whether something is there; blanks between colons say that the time is unknown."""
    if not isinstance(original, bytes):
        return original is not None
    return re.sub(r"[\s:]", "", values.text(original) or "") != ""


def _named(moment: Moment | None, source: Source) -> tuple[Dated, ...]:
    return () if moment is None else ((moment, source),)


def _exif_original(tags: Tags, value: Value | None) -> Moment | None:
    zone = _zone(tags.of(Tag.TIME_ZONE_OFFSET))
    return _exif(value, tags.of(Tag.SUBSECONDS_ORIGINAL), tags.of(Tag.OFFSET_ORIGINAL), zone)


def _exif_digitized(tags: Tags, directory: dict[int, Value]) -> Moment | None:
    value = directory.get(Tag.DATE_DIGITIZED)
    subseconds, offset = tags.of(Tag.SUBSECONDS_DIGITIZED), tags.of(Tag.OFFSET_DIGITIZED)
    return _exif(value, subseconds, offset, None)


def _exif(
    value: Value | None, subseconds: Value | None, offset: Value | None, zone: str | None
) -> Moment | None:
    """Return the moment of a tag, with what its neighbours add to it."""
    moment = parse(values.text(value) or "")
    if moment is None or moment.time is None:
        return moment
    digits = re.match(r"[0-9]{1,12}", values.text(subseconds) or "")
    return msgspec.structs.replace(
        moment,
        subseconds=moment.subseconds or (digits[0] if digits and moment.has_seconds else None),
        offset=moment.offset or parse_offset(values.text(offset) or "") or zone,
    )


def _zone(value: Value | None) -> str | None:
    """Return the offset that TIFF/EP gives in hours, first that of DateTimeOriginal."""
    hours = values.integer(value)
    return None if hours is None else parse_offset(f"{hours:+03}:00")


def _xmp(xmp: Properties, name: str) -> Moment | None:
    return parse(xmp.name(name) or "", partial=True)


def _iptc(iptc_: Iptc) -> Moment | None:
    day = iptc_.text(iptc.DATE_CREATED) or ""
    clock = iptc_.text(iptc.TIME_CREATED) or ""
    whole = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", day, re.ASCII)
    if whole is None:
        return parse(day, partial=True)
    # 00 stands for a month or a day that is not known.
    known = [part for part in whole.groups() if part != "00"]
    if len(known) < 3 or not clock:
        return parse("-".join(known), partial=True)
    hms = re.sub(r"^(\d\d)(\d\d)(\d\d)", r"\1:\2:\3", clock, flags=re.ASCII)
    return parse(f"{day[:4]}-{day[4:6]}-{day[6:]}T{hms}") or parse("-".join(known))


def _modified(ms: int | None) -> Moment | None:
    if ms is None or not 0 < ms < 253_402_300_800_000:  # the year 10000
        return None
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
    return Moment(
        date=moment.date().isoformat(),
        time=moment.time().isoformat("seconds"),
        subseconds=f"{ms % 1000:03}" if ms % 1000 else None,
        offset="+00:00",
    )
