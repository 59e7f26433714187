"""A TIFF whose fields promise far more than the file holds costs no more than its picture."""

import lzma
import struct
import time
import zlib

import pytest

from handlers.imaging.picture import load
from handlers.imaging.tiff import directory
from tests.handlers.imaging.tiffs import Storage, assembled, tiff

EDGE = 64
ROW = bytes(range(EDGE))
CHECKED_S = 3.0
"""Processor time; each of these files would take a minute or more if nothing bounded it."""

Fields = dict[int, tuple[int, ...] | bytes]


def grey(compression: int, height: int = EDGE) -> Fields:
    return {256: (EDGE,), 257: (height,), 258: (8,), 259: (compression,), 262: (1,), 277: (1,)}


def with_fields(data: bytes, fields: Fields) -> bytes:
    """Return the file with other fields, also those for places."""
    first = directory.first(data)
    assert first is not None
    kept: Fields = {tag: first.raw(tag) or first.numbers(tag) for tag in first.entries}
    made = directory.appended(first, {**kept, **fields})
    return made.data[:4] + made.offset.to_bytes(4, "little") + made.data[8:]


def assert_is_read_soon(data: bytes) -> None:
    began = time.process_time()
    picture = load(data)

    assert time.process_time() - began < CHECKED_S
    assert not picture.damaged


def bomb(compression: int) -> bytes:
    """Return a strip of the picture, and of many gigabytes of zeros after it."""
    if compression == 8:
        packer = zlib.compressobj(9)
        begin, zeros = packer.compress(ROW * EDGE), packer.compress(bytes(1 << 26))
        begin += zeros + packer.flush(zlib.Z_FULL_FLUSH)
        more = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
        return begin + more * 600
    return lzma.compress(ROW * EDGE + bytes(1 << 30), lzma.FORMAT_XZ, preset=0) * 20


@pytest.mark.parametrize("compression", [8, 34925])
def test_a_strip_that_expands_without_end_is_read_as_far_as_its_rows(compression: int) -> None:
    storage = Storage(rows_per_strip=EDGE)

    assert_is_read_soon(assembled([bomb(compression)], grey(compression), storage))


def test_tiles_beyond_those_of_the_picture_are_not_read() -> None:
    tile = zlib.compress(ROW * 64 * 4096)
    data = assembled([tile], grey(8), Storage(tile=4096))
    first = directory.first(data)
    assert first is not None
    many = 100_000
    places: Fields = {tag: first.numbers(tag) * many for tag in (324, 325)}

    assert_is_read_soon(with_fields(data, places))


@pytest.mark.parametrize("compression", [8, 32773])
def test_strips_that_overlap_are_checked_as_far_as_the_file_is_long(compression: int) -> None:
    height = 3_000
    strip = {8: zlib.compress(ROW), 32773: b"\x3f" + ROW}[compression]
    data = assembled(
        [strip + b"\x80" * 20_000_000], grey(compression, height), Storage(rows_per_strip=1)
    )
    first = directory.first(data)
    assert first is not None
    start, size = first.number(273), first.number(279)
    places: Fields = {273: (start,) * height, 279: tuple(size - at for at in range(height))}

    assert_is_read_soon(with_fields(data, places))


def test_a_large_strip_is_read_once() -> None:
    height = 1_000_000
    stored = zlib.compress(ROW * height, 0)
    data = assembled([stored], grey(8, height), Storage(rows_per_strip=height))

    assert_is_read_soon(data)


def test_a_directory_that_is_named_a_million_times_is_read_once() -> None:
    entries: Fields = {40_000 + at: (1,) for at in range(9_000)}
    plain = tiff([[[0.0, 9.0]] * 2])
    first = directory.first(plain)
    assert first is not None
    with_junk = directory.appended(first, entries)

    assert_is_read_soon(with_fields(with_junk.data, {330: (with_junk.offset,) * 1_000_000}))


def test_a_list_of_smaller_versions_is_followed_up_to_a_bound() -> None:
    data = bytearray(tiff([[[0.0, 9.0]] * 2]))
    first = directory.first(bytes(data))
    assert first is not None
    data += bytes(len(data) % 2)
    size, start = 2 + 12 + 4, len(data)
    struct.pack_into("<I", data, first.offset + 2 + 12 * len(first.entries), start)
    for at in range(start, start + size * 2_000_000, size):
        data += struct.pack("<HHHIII", 1, 254, 4, 1, 1, at + size)

    assert_is_read_soon(bytes(data))
