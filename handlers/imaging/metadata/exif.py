"""Read the EXIF tags that facts are made of, uninterpreted.

Numbers and names of the tags: CIPA DC-008-2023 (EXIF 3.0), 4.6; TIFF 6.0; TIFF/EP (ISO 12234-2).
"""

import enum
from collections.abc import Iterable

import msgspec

from handlers.imaging.metadata import maker_notes
from handlers.imaging.metadata.maker_notes import MakerNote
from handlers.imaging.metadata.tiff_directory import Directory, Value, open_block
from handlers.imaging.metadata.values import integer


class Tag(enum.IntEnum):
    """The tags of the main directory and the EXIF directory that facts are made of."""

    BITS_PER_SAMPLE = 0x0102
    DESCRIPTION = 0x010E
    MAKE = 0x010F
    MODEL = 0x0110
    ORIENTATION = 0x0112
    SOFTWARE = 0x0131
    ARTIST = 0x013B
    RATING = 0x4746
    COPYRIGHT = 0x8298
    EXPOSURE_TIME = 0x829A
    F_NUMBER = 0x829D
    EXPOSURE_PROGRAM = 0x8822
    SENSITIVITY = 0x8827
    TIME_ZONE_OFFSET = 0x882A
    SENSITIVITY_TYPE = 0x8830
    STANDARD_OUTPUT_SENSITIVITY = 0x8831
    RECOMMENDED_EXPOSURE_INDEX = 0x8832
    ISO_SPEED = 0x8833
    DATE_ORIGINAL = 0x9003
    DATE_DIGITIZED = 0x9004
    OFFSET_ORIGINAL = 0x9011
    OFFSET_DIGITIZED = 0x9012
    EXPOSURE_BIAS = 0x9204
    METERING_MODE = 0x9207
    FLASH = 0x9209
    FOCAL_LENGTH = 0x920A
    SUBSECONDS_ORIGINAL = 0x9291
    SUBSECONDS_DIGITIZED = 0x9292
    XP_TITLE = 0x9C9B
    XP_AUTHOR = 0x9C9D
    XP_KEYWORDS = 0x9C9E
    COLOUR_SPACE = 0xA001
    FILE_SOURCE = 0xA300
    WHITE_BALANCE = 0xA403
    FOCAL_LENGTH_35MM = 0xA405
    LENS_SPECIFICATION = 0xA432
    LENS_MODEL = 0xA434


XMP = 0x02BC
IPTC = 0x83BB
PHOTOSHOP = 0x8649
EXIF_DIRECTORY = 0x8769
ICC_PROFILE = 0x8773
GPS_DIRECTORY = 0x8825
MAKER_NOTE = 0x927C
INTEROPERABILITY_DIRECTORY = 0xA005
INTEROPERABILITY_INDEX = 0x0001

_WANTED = frozenset(map(int, Tag))
_GPS = frozenset(range(0x20))


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """Values by tag number: of the main directory, and of those for EXIF and GPS.

    A tag that is there but cannot be read has the value ``()``.
    ``interoperability`` is the index of that directory, ``R98`` or ``R03``.
    """

    main: dict[int, Value] = {}
    exif: dict[int, Value] = {}
    gps: dict[int, Value] = {}
    interoperability: bytes = b""
    maker_note: MakerNote = MakerNote()

    def of(self, tag: int) -> Value | None:
        """Return the value from the EXIF directory, or from the main one, where TIFF/EP and some
        software put it."""
        return self.exif.get(tag) or self.main.get(tag)

    @property
    def orientation(self) -> int:
        """1 to 8 as in TIFF 6.0, tag 274; anything else in the file counts as 1, upright."""
        value = integer(self.main.get(Tag.ORIENTATION))
        return value if value is not None and 1 <= value <= 8 else 1


def read(block: bytes, exif_block: bytes = b"", gps_block: bytes = b"") -> Tags:
    """Read the tags of an EXIF block or of a TIFF file; none if it is neither.

    CR3 keeps the directories for EXIF and GPS in blocks of their own.
    """
    tiff = open_block(block)
    if tiff is None:
        return Tags()
    main = tiff.first()
    exif = _first_of(exif_block) or main.child(EXIF_DIRECTORY)
    gps = _first_of(gps_block) or main.child(GPS_DIRECTORY)
    index = exif.child(INTEROPERABILITY_DIRECTORY).get(INTEROPERABILITY_INDEX)
    found = Tags(
        main=main.values(_WANTED),
        exif=exif.values(_WANTED),
        gps=gps.values(_GPS),
        interoperability=index if isinstance(index, bytes) else b"",
    )
    note = _first(directory.span(MAKER_NOTE) for directory in (exif, main))
    if note is None:
        return found
    make = found.main.get(Tag.MAKE)
    maker = make if isinstance(make, bytes) else b""
    return msgspec.structs.replace(found, maker_note=maker_notes.read(tiff, note, maker))


def _first_of(block: bytes) -> Directory | None:
    tiff = open_block(block)
    return None if tiff is None else tiff.first()


def _first(spans: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    return next((span for span in spans if span is not None), None)
