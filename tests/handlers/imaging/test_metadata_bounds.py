"""Metadata never costs a photo its picture, nor more time than a file of its size may take."""

import random
import struct
import time
import zlib

from handlers.imaging.metadata import containers
from handlers.imaging.picture import load
from tests.handlers.pictures import encoded, gradient

EDGE = 64
CHECKED_S = 3.0
"""Processor time; each of these files would take a minute or more if nothing bounded it."""

MEGABYTE_OF_TEXT = zlib.compress(bytes((1 << 20) - 10), 9)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(*chunks: bytes) -> bytes:
    """Return a PNG with these chunks after its header."""
    data = encoded(gradient(EDGE, EDGE), "PNG")
    return b"".join((data[:33], *chunks, data[33:]))


def segment(body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xE1, len(body) + 2) + body


def assert_is_read_soon(data: bytes) -> None:
    began = time.process_time()
    picture = load(data)

    assert time.process_time() - began < CHECKED_S
    assert picture.width == EDGE
    assert not picture.damaged


def test_any_number_of_texts_leaves_a_png_its_picture() -> None:
    compressed = chunk(b"zTXt", b"Comment\0\0" + MEGABYTE_OF_TEXT)
    international = chunk(b"iTXt", b"Comment\0\1\0\0\0" + MEGABYTE_OF_TEXT)
    plain = chunk(b"tEXt", b"Comment\0" + b"x" * 1_000_000)

    assert_is_read_soon(with_chunks(*[compressed] * 30_000))
    assert_is_read_soon(with_chunks(*[international] * 30_000))
    assert_is_read_soon(with_chunks(*[plain] * 70))


def test_profiles_in_texts_are_decompressed_up_to_a_bound() -> None:
    profile = zlib.compress(bytes((8 << 20) - 10), 9)
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + profile)

    assert_is_read_soon(with_chunks(*[bomb] * 3_000))


def test_a_broken_profile_leaves_the_next_one_its_turn() -> None:
    packet = b"<x:xmpmeta/>"
    broken = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + b"no zlib")
    whole = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet))

    assert containers.find(with_chunks(broken, whole), "PNG").xmp == packet


def test_a_large_png_whose_last_row_is_black_is_read_once() -> None:
    width, height = 6_000, 2_000
    row = b"\0" + random.Random(1).randbytes(3 * width)
    rows = zlib.compress(row * (height - 1) + bytes(3 * width + 1), 0)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    began = time.process_time()

    picture = load(data)

    assert time.process_time() - began < CHECKED_S
    assert not picture.damaged


def test_an_extended_packet_in_a_hundred_thousand_parts_is_read_once() -> None:
    name = b"A" * 32
    packet = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="'
        + name
        + b'"/></rdf:RDF>'
    )
    parts = [segment(b"http://ns.adobe.com/xap/1.0/\0" + packet)]
    for at in range(100_000):
        place = struct.pack(">II", 99_999_999, at)
        parts.append(segment(b"http://ns.adobe.com/xmp/extension/\0" + name + place + b"x"))
    data = encoded(gradient(EDGE, EDGE), "JPEG")
    began = time.process_time()

    found = containers.find(b"".join((data[:2], *parts, data[2:])), "JPEG")

    assert time.process_time() - began < CHECKED_S
    assert found.xmp == packet
    assert found.xmp_extended == b""
