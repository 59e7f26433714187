"""Directories whose entries may be broken: each costs itself alone."""

import itertools
import os
import struct
from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.imaging.metadata import exif
from handlers.imaging.metadata.exif import MAKER_NOTE, Tag, Tags
from handlers.imaging.metadata.tiff_directory import (
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_NUMBERS,
    open_block,
)
from tests.handlers.imaging.metadata.files import (
    ASCII,
    BYTE,
    DOUBLE,
    FLOAT,
    IFD,
    LONG,
    RATIONAL,
    SBYTE,
    SHORT,
    SLONG,
    SRATIONAL,
    SSHORT,
    Entry,
    Values,
    exif_segment,
    facts,
    facts_of,
    jpeg,
    tiff,
)

ORDERS = pytest.mark.parametrize("order", ["<", ">"])

DATE = "2020:01:02 03:04:05"
MAIN = {Tag.MAKE: "Canon", Tag.MODEL: "Some model", Tag.ORIENTATION: 6}
EXIF = {Tag.EXPOSURE_TIME: Fraction(1, 250), Tag.DATE_ORIGINAL: DATE, Tag.LENS_MODEL: "A lens"}
GPS = {
    1: "N",
    2: [(48, 1), (30, 1), (0, 1)],
    3: "E",
    4: [(11, 1), (15, 1), (0, 1)],
}


@ORDERS
def test_every_type_is_read(order: str) -> None:
    values = {
        1: (BYTE, [1, 2, 3, 4, 5]),
        2: "text",
        3: (SHORT, [1, 2, 3]),
        4: (LONG, [1, 70_000]),
        5: (RATIONAL, [(1, 2), (3, 0)]),
        6: Entry(SBYTE, 2, b"\xff\x01"),
        7: b"bytes",
        8: (SSHORT, [-1, 1]),
        9: (SLONG, [-70_000]),
        10: (SRATIONAL, [(-1, 2)]),
        11: (FLOAT, [0.5]),
        12: (DOUBLE, [0.25, float("nan")]),
        13: (IFD, [8]),
        14: Entry(129, 4, "Gö\0".encode()),
    }
    block = open_block(tiff(values, order=order))
    assert block is not None

    found = block.first().values(range(20))

    assert found == {
        1: b"\1\2\3\4\5",
        2: b"text\0",
        3: (1, 2, 3),
        4: (1, 70_000),
        5: (Fraction(1, 2), None),
        6: (-1, 1),
        7: b"bytes",
        8: (-1, 1),
        9: (-70_000,),
        10: (Fraction(-1, 2),),
        11: (0.5,),
        12: (0.25, None),
        13: (8,),
        14: "Gö\0".encode(),
    }


@ORDERS
@pytest.mark.parametrize("kind", range(16))
def test_a_bad_entry_costs_itself_alone(order: str, kind: int) -> None:
    """Each type, count and offset, before the tags that matter, in every directory."""
    counts = (0, 1, 2, 4, 5, 50, 65_535, 0x7FFFFFFF, 0xFFFFFFFF)
    offsets = (0, 1, 8, 20, 0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF)
    for count, offset in itertools.product(counts, offsets):
        bad = Entry(kind, count, b"", offset=offset)

        found = facts_of_block({0x0100: bad, **MAIN}, {0x8000: bad, **EXIF}, {0: bad, **GPS}, order)

        assert (found.main.get(Tag.MAKE), found.orientation) == (b"Canon\0", 6)
        assert found.exif.get(Tag.DATE_ORIGINAL) == DATE.encode() + b"\0"
        assert len(found.gps) >= 4


def facts_of_block(main: Values, exif_: Values, gps: Values, order: str) -> Tags:
    return exif.read(tiff(main, exif_, gps, order=order))


@ORDERS
def test_a_bad_value_of_a_tag_loses_that_tag_alone(order: str) -> None:
    bad = Entry(ASCII, 50, b"", offset=0x7FFFFFFF)

    block = tiff({**MAIN, Tag.MODEL: bad}, EXIF, GPS, order=order)
    found = facts(jpeg(exif_segment(block)))

    assert (found.camera.make, found.camera.model, found.orientation) == ("Canon", None, 6)
    assert (found.width, found.height) == (8, 16)
    assert found.taken_at == "2020-01-02T03:04:05"


def test_the_orientation_counts_in_any_type_of_number() -> None:
    for value in ((BYTE, [6]), (SHORT, [6]), (LONG, [6]), (SLONG, [6]), (SHORT, [6, 0])):
        assert facts_of({Tag.ORIENTATION: value}).orientation == 6


@pytest.mark.parametrize(
    "value", [0, 9, 65_535, "6", (SLONG, [-1]), Fraction(1, 2), (SHORT, []), (FLOAT, [6.5])]
)
def test_an_orientation_that_does_not_exist_is_upright(value: object) -> None:
    assert facts_of({Tag.ORIENTATION: value}).orientation == 1


@ORDERS
def test_the_first_of_several_entries_counts(order: str) -> None:
    block = bytearray(tiff({Tag.MAKE: "one", Tag.MODEL: "two"}, order=order))
    second = 8 + 2 + 12
    block[second : second + 2] = struct.pack(order + "H", Tag.MAKE)

    assert exif.read(bytes(block)).main == {Tag.MAKE: b"one\0"}


def test_a_directory_that_points_to_itself_ends() -> None:
    block = tiff({Tag.MAKE: "Canon", exif.EXIF_DIRECTORY: (LONG, [8])})

    found = exif.read(block)

    assert found.main == found.exif == {Tag.MAKE: b"Canon\0"}


def test_what_is_read_is_bounded() -> None:
    long = Entry(ASCII, 100_000, b"x" * 100_000)
    many = (LONG, [1] * 5_000)
    found = exif.read(tiff({Tag.MAKE: long, Tag.RATING: many}))
    wide = struct.pack("<4sIH", b"II*\0", 8, 65_535) + b"".join(
        struct.pack("<HHII", n % 65_536, SHORT, 1, 1) for n in range(65_535)
    )
    block = open_block(wide)

    assert len(found.main[Tag.MAKE]) == MAX_BYTES
    assert len(found.main[Tag.RATING]) == MAX_NUMBERS
    assert block is not None
    assert len(block.first()) == MAX_ENTRIES


def test_big_tiff_is_read() -> None:
    head = struct.pack("<4sHHQ", b"II+\0", 8, 0, 16)
    entries = struct.pack("<HHQ6s2x", Tag.MAKE, ASCII, 6, b"Canon\0")
    entries += struct.pack("<HHQQ", Tag.ORIENTATION, SHORT, 1, 6)

    found = exif.read(head + struct.pack("<Q", 2) + entries + bytes(8))

    assert (found.main[Tag.MAKE], found.orientation) == (b"Canon\0", 6)


@given(st.binary(max_size=400), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
def test_any_bytes_are_read_without_an_error(data: bytes, header: bytes) -> None:
    exif.read(data)
    exif.read(header + b"\x08\0\0\0" + data)
    exif.read(header + b"\0\0\0\x08" + data)


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_among_the_entries_are_read_without_an_error(data: st.DataObject) -> None:
    block = bytearray(WHOLE["<"])
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))

    exif.read(bytes(block))


# One directory each, with values in their entries and values elsewhere.
NOTE = b"Apple iOS\0\0\x01MM" + bytes(2)
WHOLE = {order: tiff(MAIN, {**EXIF, MAKER_NOTE: NOTE}, GPS, order=order) for order in "<>"}


class Layout:
    """What each byte of a block belongs to."""

    def __init__(self, block: bytes, order: str) -> None:
        sizes = {ASCII: 1, 7: 1, SHORT: 2, LONG: 4, RATIONAL: 8}
        names = {exif.EXIF_DIRECTORY: "exif", exif.GPS_DIRECTORY: "gps"}
        self.tags: list[set[tuple[str, int]]] = [set() for _ in block]
        self.numbers_of_tags: set[int] = set()
        # Header, counts, and entries that point to a directory: all that comes by them.
        self.structure: dict[str, set[int]] = {"main": set(range(8))}
        directories = [("main", struct.unpack_from(order + "I", block, 4)[0])]
        for name, start in directories:
            (count,) = struct.unpack_from(order + "H", block, start)
            self.structure[name] |= {start, start + 1}
            for begin in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind, number, offset = struct.unpack_from(order + "HHII", block, begin)
                own, length = set(range(begin, begin + 12)), sizes[kind] * number
                if length > 4:
                    own |= set(range(offset, offset + length))
                for at in own:
                    self.tags[at].add((name, tag))
                self.numbers_of_tags |= {begin, begin + 1}
                if tag in names:
                    directories.append((names[tag], offset))
                    self.structure[names[tag]] = self.structure[name] | own

    def is_touched(self, at: int, tag: tuple[str, int]) -> bool:
        return tag in self.tags[at] or at in self.structure[tag[0]]


def by_tag(block: bytes) -> Mapping[tuple[str, int], object]:
    tags = exif.read(block)
    read = {"main": tags.main, "exif": tags.exif, "gps": tags.gps}
    return {(name, tag): value for name, each in read.items() for tag, value in each.items()} | {
        ("exif", MAKER_NOTE): tags.maker_note
    }


@ORDERS
def test_a_changed_byte_changes_or_loses_only_what_it_touches(order: str) -> None:
    """Every byte of the block, in many ways; ``LONG_TESTS`` in all."""
    whole = WHOLE[order]
    before, layout = by_tag(whole), Layout(whole, order)
    assert len(before) == 11
    flips = range(1, 256) if os.environ.get("LONG_TESTS") else (1, 2, 4, 8, 16, 32, 64, 128, 255)
    for at, flip in itertools.product(range(len(whole)), flips):
        changed = bytearray(whole)
        changed[at] ^= flip

        after = by_tag(bytes(changed))

        different = {
            tag
            for tag in before.keys() | after.keys()
            if after.get(tag) != before.get(tag) and not layout.is_touched(at, tag)
        }
        # The number of a tag names another tag then, which the byte touches too.
        assert len(different) <= (at in layout.numbers_of_tags)
