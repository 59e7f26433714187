"""The name of the lens: from EXIF, from the makers' notes, from XMP."""

import struct
from typing import Any

import pytest

from handlers.imaging.metadata.exif import MAKER_NOTE, Tag
from handlers.imaging.metadata.lens import described
from tests.handlers.imaging.metadata.files import (
    IFD,
    RATIONAL,
    SHORT,
    Entry,
    Values,
    directory,
    exif_segment,
    facts,
    facts_of,
    jpeg,
    tiff,
    xmp,
)

SPECIFICATION = [(24, 1), (70, 1), (28, 10), (28, 10)]


def lens(**tags: Any) -> str | None:
    return facts_of(exif_={Tag[name.upper()]: value for name, value in tags.items()}).camera.lens


def test_the_name_counts_before_the_specification() -> None:
    assert lens(lens_model="A lens", lens_specification=SPECIFICATION) == "A lens"
    assert lens(lens_specification=SPECIFICATION) == "24–70 mm f/2.8"


@pytest.mark.parametrize(
    "nothing",
    [
        *("", " ", "\0\0\0\0", "----", "---", "-- mm f/--", "---- mm f/----", "0.0 mm f/0.0"),
        *("0 mm f/0", "unknown", "Unknown", "(unknown)", "Unknown (0)", "N/A", "n/a", "None"),
        *("null", "????", "***", ".", "undefined", "no lens", "––––", "not available"),
    ],
)
def test_a_name_that_says_nothing_is_missing(nothing: str) -> None:
    assert lens(lens_model=nothing) is None
    assert lens(lens_model=nothing, lens_specification=SPECIFICATION) == "24–70 mm f/2.8"
    assert facts_of({Tag.MAKE: nothing, Tag.MODEL: nothing}).camera.make is None


@pytest.mark.parametrize("name", ["35mm f/2", "D90", "FE 24-70mm F2.8 GM II", "OM-1", "X", "Nonen"])
def test_a_name_that_looks_like_nothing_is_a_name(name: str) -> None:
    assert lens(lens_model=name) == name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(18, 1), (55, 1), (35, 10), (56, 10)], "18–55 mm f/3.5–5.6"),
        ([(50, 1), (50, 1), (18, 10), (18, 10)], "50 mm f/1.8"),
        ([(50, 1), (50, 1), (0, 0), (0, 0)], "50 mm"),
        ([(50, 1), (50, 1), (0, 1), (0, 1)], "50 mm"),
        ([(24, 1), (70, 1), (28, 10), (0, 0)], "24–70 mm f/2.8"),
        ([(1539999962, 1000000000), (6, 1), (18, 10), (24, 10)], "1.5–6 mm f/1.8–2.4"),
        ([(50, 1), (0, 0)], "50 mm"),
        ([(0, 0)] * 4, None),
        ([(0, 1)] * 4, None),
        ([(0, 0), (0, 0), (28, 10), (28, 10)], None),
    ],
)
def test_a_specification_has_ranges(values: list[tuple[int, int]], expected: str | None) -> None:
    assert lens(lens_specification=values) == expected


def test_no_specification_has_no_description() -> None:
    assert described(()) is None


def noted(make: str, note: bytes, *, order: str = "<") -> str | None:
    """Return the lens of a photo whose maker's note is ``note``."""
    return facts(
        jpeg(exif_segment(tiff({Tag.MAKE: make}, {MAKER_NOTE: note}, order=order)))
    ).camera.lens


def placed(make: str, head: bytes, values: Values, *, order: str = "<") -> str | None:
    """Return the lens by a note whose offsets count from the file's header."""
    empty = head + directory(values, 0, order)
    block = tiff({Tag.MAKE: make}, {MAKER_NOTE: empty}, order=order)
    note = head + directory(values, block.index(empty) + len(head), order)
    return facts(jpeg(exif_segment(block.replace(empty, note)))).camera.lens


SETTINGS = [0] * 23 + [105, 24, 1] + [0] * 10


@pytest.mark.parametrize("order", ["<", ">"])
def test_canon_notes_the_name_and_the_focal_lengths(order: str) -> None:
    assert placed("Canon", b"", {0x95: "EF50mm f/1.8 STM"}, order=order) == "EF50mm f/1.8 STM"
    assert placed("Canon", b"", {1: (SHORT, SETTINGS)}, order=order) == "24–105 mm"


def test_a_note_that_was_moved_says_nothing() -> None:
    note = directory({0x95: "EF50mm f/1.8 STM"}, 100_000, "<")
    outside = directory({0x95: Entry(2, 12, b"", offset=8)}, 0, "<")

    assert noted("Canon", note) is None
    assert noted("Canon", outside) is None


def test_nikon_notes_the_specification() -> None:
    own = b"MM\0*\0\0\0\x08" + directory({0x84: SPECIFICATION}, 8, ">")

    assert noted("NIKON CORPORATION", b"Nikon\0\x02\x10\0\0" + own) == "24–70 mm f/2.8"
    assert placed("NIKON", b"", {0x84: SPECIFICATION}) == "24–70 mm f/2.8"


@pytest.mark.parametrize("order", ["<", ">"])
def test_olympus_notes_the_name_with_its_equipment(order: str) -> None:
    marker = b"II" if order == "<" else b"MM"
    head = b"OLYMPUS\0" + marker + b"\3\0"
    equipment = directory({0x203: "OLYMPUS M.12-40mm F2.8"}, 100, order)
    main = directory({0x2010: (IFD, [100])}, len(head), order)

    note = (head + main).ljust(100, b"\0") + equipment

    assert noted("OLYMPUS CORPORATION", note) == "OLYMPUS M.12-40mm F2.8"


def test_the_successor_of_olympus_notes_it_likewise() -> None:
    head = b"OM SYSTEM\0\0\0II\4\0"
    main = directory({0x2010: (IFD, [100])}, len(head), "<")
    note = (head + main).ljust(100, b"\0") + directory({0x203: "OM 20mm F1.4"}, 100, "<")

    assert noted("OM Digital Solutions", note) == "OM 20mm F1.4"


def test_panasonic_notes_the_name() -> None:
    name = "LUMIX G 20/F1.7"

    assert placed("Panasonic", b"Panasonic\0\0\0", {0x51: name}) == name


@pytest.mark.parametrize("order", ["<", ">"])
def test_fujifilm_notes_the_specification_always_with_the_low_byte_first(order: str) -> None:
    values = dict(zip(range(0x1404, 0x1408), ([each] for each in SPECIFICATION), strict=True))
    note = b"FUJIFILM" + struct.pack("<I", 12) + directory(values, 12, "<")

    assert noted("FUJIFILM", note, order=order) == "24–70 mm f/2.8"


def test_sony_notes_decimal_digits() -> None:
    def sony(digits: str) -> str | None:
        return placed("SONY", b"SONY DSC \0\0\0", {0xB02A: bytes.fromhex(digits)})

    assert sony("0000240070282800") == "24–70 mm f/2.8"
    assert sony("0000500000181800") == "50 mm f/1.8"
    assert sony("00ffffffffffff00") is None
    assert sony("0000000000000000") is None


@pytest.mark.parametrize("note", [b"", b"Canon", b"Nikon\0\x02", b"OLYMPUS\0II", b"FUJIFILM", b"x"])
def test_a_note_that_ends_early_says_nothing(note: bytes) -> None:
    assert noted("Canon", note) is None


def test_a_live_photo_has_the_identifier_of_its_video() -> None:
    head = b"Apple iOS\0\0\x01MM"
    note = head + directory({0x11: "1745E022-9712"}, 14, ">")

    found = facts(jpeg(exif_segment(tiff({Tag.MAKE: "Apple"}, {MAKER_NOTE: note}))))

    assert found.content_identifier == "1745E022-9712"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (xmp(exifEX_LensModel="A lens", aux_Lens="Other"), "A lens"),
        (xmp(aux_Lens="6.0-22.5 mm"), "6.0-22.5 mm"),
        (xmp(aux_LensInfo="240/10 700/10 28/10 28/10"), "24–70 mm f/2.8"),
        (xmp(aux_LensInfo="24/1 70/1 0/0 0/0"), "24–70 mm"),
        (xmp(aux_Lens="----"), None),
    ],
)
def test_xmp_names_the_lens_if_nothing_else_does(packet: bytes, expected: str | None) -> None:
    assert facts_of(xmp_=packet).camera.lens == expected
    assert facts_of(exif_={Tag.LENS_MODEL: "By EXIF"}, xmp_=packet).camera.lens == "By EXIF"


def test_a_specification_of_another_type_says_nothing() -> None:
    assert lens(lens_specification=(RATIONAL, [])) is None
    assert lens(lens_specification="24-70mm") is None
