"""Finds the segments that may have events of a photo without reading all of their indexes.

| key | what |
|---|---|
| ``log/photos/07/<ms>-<seq>`` | the photos of ``GROUP`` segments; the id of their first entry |

A catalog is a file of pages of 4 KB. The first one is a head in JSON. Each of the others has 340
records of 12 bytes, in order: the first 8 bytes of the SHA-256 of a photo's id, and the number of a
segment in the group. Each page ends with its CRC-32. Digests are spread evenly, so one read of a
few pages finds a photo, however large the catalog is.

A catalog only says where to look: the index of the segment decides. It is derived from segments,
and may be deleted; then the indexes of its segments are read instead.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from store.errors import Corrupt
from store.log.position import Position

FOLDER = "log/photos"

GROUP = 128
"""Segments of a catalog: half a million events, or 50,000 photos with ten events each."""

PAGE = 4_096
RECORDS = 340
AROUND = 3
"""Pages that are read on both sides of the expected one: evenly spread digests are off by one."""

_NAME = re.compile(rf"{FOLDER}/(\d{{2,5}})/(\d{{16}})-(\d{{20}})", re.ASCII)
_RECORD = struct.Struct(">QI")
_CRC = struct.Struct(">I")
_FILLER = _RECORD.pack(2**64 - 1, 2**32 - 1)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The segments that a catalog covers: of which log, how many, and the ids of first entries.

    ``sha256`` is that of the last one, which names the one before it, and so on: it shows that the
    catalog was made of these very segments. ``pages`` of the catalog includes the first one.
    """

    format: Literal["photolog-catalog"] = "photolog-catalog"
    log: str
    partition: int
    first: str
    last: str
    segments: int
    sha256: str
    pages: int = 1


_heads = msgspec.json.Decoder(Head)


def key_of(first: Position) -> str:
    """Return the key of the catalog whose first segment begins there."""
    return f"{FOLDER}/{first.partition:02d}/{first.ms:016d}-{first.seq:020d}"


def is_catalog(key: str) -> bool:
    """Return whether this can be the key of a catalog."""
    return bool(_NAME.fullmatch(key))


def encode(head: Head, photos: Iterable[tuple[int, int]]) -> bytes:
    """Return the catalog with these digests, each with the number of its segment."""
    records = sorted({_RECORD.pack(*each) for each in photos})
    head = msgspec.structs.replace(head, pages=1 + -(-len(records) // RECORDS))
    pages = [_page(msgspec.json.encode(head))]
    for at in range(0, len(records), RECORDS):
        page = records[at : at + RECORDS]
        pages.append(_page(b"".join(page + [_FILLER] * (RECORDS - len(page)))))
    return b"".join(pages)


def decode_head(page: bytes) -> Head:
    """Return the head in the first page; raises Corrupt."""
    try:
        return _heads.decode(_content(page).rstrip(b"\0"))
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"its head cannot be decoded: {error}") from error


def expected(digest: int, pages: int) -> tuple[int, int]:
    """Return the first page to read for the digest, and the one after the last; page 0 is the head.

    ``pages`` counts the head too.
    """
    at = 1 + (digest * (pages - 1) >> 64)
    return max(1, at - AROUND), min(pages, at + AROUND + 1)


def records(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the digests in these pages, each with the number of its segment; raises Corrupt."""
    for at in range(0, len(data), PAGE):
        content = _content(data[at : at + PAGE])[: RECORDS * _RECORD.size]
        yield from _RECORD.iter_unpack(content)


def _page(content: bytes) -> bytes:
    filled = content.ljust(PAGE - _CRC.size, b"\0")
    return filled + _CRC.pack(zlib.crc32(filled))


def _content(page: bytes) -> bytes:
    content = page[: -_CRC.size]
    if len(page) != PAGE or zlib.crc32(content) != _CRC.unpack(page[-_CRC.size :])[0]:
        raise Corrupt("a page of it is damaged")
    return content
