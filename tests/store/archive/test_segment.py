"""Segments in memory, and as others read them by the page about their format alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.archive.segment import (
    TRAILER_BYTES,
    Entry,
    Previous,
    Segment,
    blocks_of,
    decode_block,
    decode_head,
    decode_tail,
    encode,
)
from store.errors import Corrupt
from store.log.position import Position
from tests.servers import unavailable
from tests.store.archive.segments import LOG_ID, entries

PAGE = Path(__file__).parents[3] / "ops" / "guides" / "segment-format.md"

MANY = entries(1_000)


def sealed(count: int = 20, previous: Previous | None = None) -> bytes:
    return encode(MANY[:count], log_id=LOG_ID, partition=3, previous=previous)


def test_a_segment_has_the_entries_that_it_was_made_of() -> None:
    segment = Segment(sealed(1_000))

    assert list(segment.entries()) == MANY
    assert len(segment.index.blocks) > 1


def test_equal_entries_give_equal_bytes() -> None:
    assert sealed() == sealed()


def test_fields_keep_their_order_and_their_repetitions() -> None:
    odd = Entry(b"5-0", [b"b", b"2", b"b", b"\x00\xff", b"", b""])

    data = encode([odd], log_id=LOG_ID, partition=0, previous=None)

    assert list(Segment(data).entries()) == [odd]
    assert Segment(data).index.photos == {}


def test_a_photo_is_found_without_reading_the_other_blocks() -> None:
    data = sealed(1_000)
    tail = decode_tail(data[-len(data) // 2 :], len(data))

    [(block, numbers)] = blocks_of(tail.index, tail.index.photos["photo-400"])

    found = decode_block(data[block.offset : block.offset + block.size], block)
    assert [found[number] for number in numbers] == MANY[800:802]


def test_the_head_says_what_the_segment_continues() -> None:
    previous = Previous(first="1-0", sha256="ab" * 32)

    head = decode_head(sealed(previous=previous))

    assert (head.log, head.partition, head.entries) == (LOG_ID, 3, 20)
    assert head.previous == previous
    assert head.first_position == Position.of_entry(3, MANY[0].entry_id)
    assert head.last_position == Position.of_entry(3, MANY[19].entry_id)


@given(at=st.integers(0, len(sealed()) - 1), bit=st.integers(0, 7))
@example(at=len(sealed()) - TRAILER_BYTES + 4, bit=4)  # the length of the trailer
def test_any_changed_bit_is_noticed(at: int, bit: int) -> None:
    data = bytearray(sealed())
    data[at] ^= 1 << bit

    with pytest.raises(Corrupt):
        list(Segment(bytes(data)).entries())


@given(length=st.integers(0, len(sealed()) - 1))
def test_a_cut_segment_is_noticed(length: int) -> None:
    with pytest.raises(Corrupt):
        Segment(sealed()[:length])


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_corrupt_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Segment(data)


def test_a_later_version_of_the_format_is_named() -> None:
    data = sealed().replace(b'"version":1', b'"version":2')

    with pytest.raises(Corrupt, match="version 2 of the format: a newer Photolog wrote it"):
        decode_head(data)


def blocks(language: str) -> list[str]:
    """Return the blocks of code of the page in this language."""
    fenced = rf"^```{language}\n(.*?)^```$"
    return re.findall(fenced, PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def program() -> str:
    """Return the program that the page prints."""
    (found,) = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


def read_by_page(segment: Path) -> list[tuple[str, dict[str, object]]]:
    """Read the segment with the program of the page, which has none of our code."""
    # -I: neither the working directory nor the environment adds our modules.
    command = [sys.executable, "-I", "-c", program(), str(segment)]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [tuple(json.loads(line)) for line in output.splitlines()]


def test_the_program_of_the_page_reads_a_segment(tmp_path: Path) -> None:
    segment = tmp_path / "segment"
    segment.write_bytes(sealed(1_000))

    found = read_by_page(segment)

    assert [entry_id.encode() for entry_id, _ in found] == [entry.entry_id for entry in MANY]
    first = found[0][1]
    assert (first["t"], first["p"], first["v"]) == ("photo.uploaded", "photo-0", "1")
    assert isinstance(first["b"], dict)
    assert first["b"]["data"]["originalFilename"] == "a.jpg"  # pyright: ignore[reportUnknownMemberType]


def test_the_commands_of_the_page_check_and_print_a_segment(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        unavailable("no zstd on this machine: apt-get install zstd")
    (tmp_path / "SEGMENT").write_bytes(sealed())

    printed, digests = (
        subprocess.run(block, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
        for block in blocks("sh")
    )

    assert all(part in printed for entry in MANY[:20] for part in entry.parts)
    calculated, stored = digests.decode().split("-\n")
    assert calculated.strip() == re.sub(r"\s", "", stored)
    assert calculated.strip() == Segment(sealed()).sha256


def test_the_trailer_has_the_size_that_the_page_says() -> None:
    assert f"Without its last {TRAILER_BYTES} bytes" in PAGE.read_text("utf-8")
