"""Read the lens and the identifier of a live photo from the notes of camera makers.

Makers do not document their notes; the layouts and tags here are those that the tables of ExifTool
(exiftool.org/TagNames) describe. Each note is a TIFF directory, with or without a header of its
own. Editors move notes without adjusting their offsets, so a value outside its note is none.
"""

import re
from collections.abc import Callable

import msgspec

from handlers.imaging.metadata.tiff_directory import Block, Directory, Number, Value, open_block
from handlers.imaging.metadata.values import fraction, numbers

LensSpecification = tuple[Number | None, ...]
"""The shortest and the longest focal length in mm, and the largest aperture at each (EXIF
0xA432); what is unknown is None."""

_PRINTABLE = re.compile(rb"[ -~]+\0*")

_Span = tuple[int, int]
"""Begin and end of a note in the data."""


class MakerNote(msgspec.Struct, frozen=True, kw_only=True):
    """``content_identifier`` is what Apple gives to a live photo and its video."""

    lens: bytes = b""
    lens_specification: LensSpecification = ()
    content_identifier: bytes = b""


def read(tiff: Block, note: tuple[int, int], make: bytes) -> MakerNote:
    """Read the note of ``make`` at these bytes, its begin and length; empty if it is unknown."""
    span = note[0], note[0] + note[1]
    head = tiff.data[span[0] : span[0] + 16]
    for beginning, reader in _BY_HEADER.items():
        if head.startswith(beginning):
            return reader(tiff, span)
    maker = make.upper()
    return next(
        (reader(tiff, span) for name, reader in _BY_MAKE.items() if maker.startswith(name)),
        MakerNote(),
    )


def _canon(tiff: Block, span: _Span) -> MakerNote:
    """CameraSettings has the focal lengths at 23 and 24, in the units a mm of 25."""
    note = _within(tiff, span, 0)
    settings = numbers(note.get(0x0001))
    specification: LensSpecification = ()
    if len(settings) > 25 and settings[25]:
        longest, shortest, units = (fraction((value,)) for value in settings[23:26])
        if shortest and longest and units and shortest > 0 and longest > 0 and units > 0:
            specification = (shortest / units, longest / units, None, None)
    return MakerNote(lens=_name(note.get(0x0095)), lens_specification=specification)


def _nikon(tiff: Block, span: _Span) -> MakerNote:
    inner = open_block(tiff.data, span[0] + 10, span[1])
    return MakerNote() if inner is None else _nikon_lens(inner.first())


def _old_nikon(tiff: Block, span: _Span) -> MakerNote:
    return _nikon_lens(_within(tiff, span, 0))


def _nikon_lens(note: Directory) -> MakerNote:
    return MakerNote(lens_specification=numbers(note.get(0x0084)))


def _sony(tiff: Block, span: _Span) -> MakerNote:
    """LensSpec is binary-coded decimal: flags, two focal lengths, two f-numbers, flags."""
    coded = _within(tiff, span, 12).get(0xB02A)
    if not isinstance(coded, bytes) or len(coded) != 8 or not coded[1:7].hex().isdecimal():
        return MakerNote()
    digits = coded.hex()
    short, long = int(digits[2:6]), int(digits[6:10])
    apertures = (int(digits[at : at + 2]) / 10 for at in (10, 12))
    return MakerNote(lens_specification=(short, long or short, *apertures))


def _panasonic(tiff: Block, span: _Span) -> MakerNote:
    return MakerNote(lens=_name(_within(tiff, span, 12).get(0x0051)))


def _fujifilm(tiff: Block, span: _Span) -> MakerNote:
    own = Block(tiff.data, "<", span[0], within=span)
    at = int.from_bytes(tiff.data[span[0] + 8 : span[0] + 12], "little")
    note = own.directory(at)
    found = (numbers(note.get(tag)) for tag in range(0x1404, 0x1408))
    return MakerNote(lens_specification=tuple(each[0] if each else None for each in found))


def _old_olympus(tiff: Block, span: _Span) -> MakerNote:
    return _olympus_lens(_within(tiff, span, 8))


def _olympus(tiff: Block, span: _Span) -> MakerNote:
    return _olympus_lens(_own(tiff, span, order_at=8, at=12))


def _om_system(tiff: Block, span: _Span) -> MakerNote:
    return _olympus_lens(_own(tiff, span, order_at=12, at=16))


def _olympus_lens(note: Directory) -> MakerNote:
    return MakerNote(lens=_name(note.child(0x2010).get(0x0203)))


def _apple(tiff: Block, span: _Span) -> MakerNote:
    note = _own(tiff, span, order_at=12, at=14)
    return MakerNote(content_identifier=_name(note.get(0x0011)))


def _within(tiff: Block, span: _Span, at: int) -> Directory:
    """Return the directory ``at`` bytes into the note; its offsets are those of the file."""
    block = Block(tiff.data, tiff.order, tiff.base, within=span)
    return block.directory(span[0] - tiff.base + at)


def _own(tiff: Block, span: _Span, *, order_at: int, at: int) -> Directory:
    """Return the directory of a note that has its own byte order and its own offsets."""
    marker = tiff.data[span[0] + order_at : span[0] + order_at + 2]
    order = {b"II": "<", b"MM": ">"}.get(marker, tiff.order)
    return Block(tiff.data, order, span[0], within=span).directory(at)


def _name(value: Value | None) -> bytes:
    return value if isinstance(value, bytes) and _PRINTABLE.fullmatch(value) else b""


_Reader = Callable[[Block, _Span], MakerNote]

_BY_HEADER: dict[bytes, _Reader] = {
    b"Nikon\0\x02": _nikon,
    b"OLYMPUS\0": _olympus,
    b"OM SYSTEM\0": _om_system,
    b"OLYMP\0": _old_olympus,
    b"Panasonic\0": _panasonic,
    b"FUJIFILM": _fujifilm,
    b"SONY": _sony,
    b"Apple iOS\0": _apple,
}
_BY_MAKE: dict[bytes, _Reader] = {b"CANON": _canon, b"NIKON": _old_nikon}
