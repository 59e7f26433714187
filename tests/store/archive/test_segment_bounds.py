"""Segments that somebody made to exhaust memory: refused before their entries are decoded."""

import hashlib
import struct
import tracemalloc

import msgspec
import pytest
import zstandard

from store.archive.segment import (
    ENTRY_VALUES_MAX,
    HEAD,
    INDEX,
    TRAILER,
    Block,
    Entry,
    Head,
    Index,
    Segment,
    encode,
)
from store.errors import Corrupt
from tests.store.archive.segments import LOG_ID

MEMORY_MAX = 64 << 20
"""In bytes: several times the content of the crafted blocks, and far below what they expand to."""


def skippable(magic: int, payload: bytes) -> bytes:
    return struct.pack("<II", magic, len(payload)) + payload


def crafted(content: bytes, count: int, *, photos: dict[str, list[int]] | None = None) -> bytes:
    """Return a segment with a right checksum, and one block that has this content."""
    compressor = zstandard.ZstdCompressor(level=3)
    head = Head(log=LOG_ID, partition=0, first="1-0", last="1-0", entries=count)
    begin = skippable(HEAD, msgspec.json.encode(head))
    frame = compressor.compress(content)
    block = Block(offset=len(begin), size=len(frame), first="1-0", entries=count)
    index = msgspec.json.encode(Index(head=head, blocks=[block], photos=photos or {}))
    body = begin + frame + skippable(INDEX, compressor.compress(index))
    sha256 = hashlib.sha256(body).digest()
    end = struct.pack("<Q32s8s", len(begin) + len(frame), sha256, b"PHLOGSEG")
    return body + skippable(TRAILER, end)


def refused(data: bytes) -> str:
    """Return why the segment is refused; reading it must not take much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt) as refusal:
            list(Segment(data).entries())
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()
    return str(refusal.value)


def array(count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count)


def test_more_entries_than_a_segment_can_have_are_refused() -> None:
    bomb = array(4_000_000) + b"\x92\xc4\x00\x90" * 4_000_000

    assert "cannot have 4,000,000 entries" in refused(crafted(bomb, 4_000_000))


def test_more_entries_than_the_index_says_are_refused() -> None:
    bomb = array(4_000_000) + b"\x92\xc4\x00\x90" * 4_000_000

    assert "has other entries than its index says" in refused(crafted(bomb, 1))


def test_more_values_than_a_block_can_have_are_refused() -> None:
    bomb = array(1) + b"\x92\xc4\x031-0" + array(4_000_000) + b"\xc4\x02ab" * 4_000_000

    assert "more than 1,048,576 fields and values" in refused(crafted(bomb, 1))


def test_a_larger_index_than_a_segment_can_have_is_refused() -> None:
    photos: dict[str, list[int]] = {f"{number:x}": [] for number in range(800_000)}
    data = crafted(b"", 1, photos=photos)
    photos.clear()

    assert "its index is too large" in refused(data)


def test_an_entry_with_many_fields_can_be_sealed_up_to_a_bound() -> None:
    entry = Entry(b"1-0", [b"field", b"value"] * 100_000)
    after = Entry(b"2-0", [b"field", b"value"])
    larger = Entry(b"1-0", [b"f", b""] * (ENTRY_VALUES_MAX // 2 + 1))

    segment = Segment(encode([entry, after], log_id=LOG_ID, partition=0, previous=None))

    assert list(segment.entries()) == [entry, after]
    assert [block.entries for block in segment.index.blocks] == [1, 1]
    with pytest.raises(Corrupt, match="491,521 fields: too many for a segment"):
        encode([larger], log_id=LOG_ID, partition=0, previous=None)
