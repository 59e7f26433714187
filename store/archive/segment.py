"""The bytes of a sealed segment, as ``ops/guides/segment-format.md`` specifies them.

A segment is a file of Zstandard frames: a skippable one with the head, frames with the entries, and
skippable ones with the index and the trailer. So ``zstd -d`` prints the entries. Equal entries give
equal bytes: two archivers that seal the same range write the same file.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple, TypeVar

import msgspec
import zstandard

from store.errors import Corrupt, Unexpected
from store.log.position import Position
from store.log.recorded import FIELDS

VERSION = 1

HEAD, INDEX, TRAILER = 0x184D2A50, 0x184D2A51, 0x184D2A52
"""The magic numbers of the three skippable frames."""

BLOCK_BYTES = 512 << 10
"""Size of the entries of a block before compression; a block is read as a whole.

Measured with the events of 28 real photos, cloned to 13,200 entries with other ids: 1,062 bytes a
photo instead of 7,939. With blocks of 128 KB it is 1,299, with a dictionary of 32 KB 1,175: larger
blocks save more, need no dictionary, and one takes 0.6 ms to read.
"""

BLOCK_VALUES = 1 << 16
"""Fields and values after which a block ends too."""

BLOCK_BYTES_MAX = 64 << 20
"""A block that claims more is damaged. The largest value of a Redis stream is far below."""

BLOCK_VALUES_MAX = 1 << 20
"""The most fields and values in a block: small ones take ten times as much memory as room."""

ENTRY_VALUES_MAX = BLOCK_VALUES_MAX - BLOCK_VALUES

ENTRIES_MAX = 1 << 16
"""The most entries in a segment; ``archive_segment_entries`` allows no more."""

INDEX_BYTES_MAX = 8 << 20
"""The largest index, before compression: each entry has room for an id of 100 bytes."""

SEGMENT_BYTES_MAX = 256 << 20
"""A larger file is not a segment."""

LEVEL = 9
"""Level 3 is five times as fast, and takes 12 % more room; segments are written once."""

TRAILER_BYTES = 56
HEAD_BYTES_MAX = 4 << 10
TAIL_BYTES = 64 << 10
"""How much of the end of a file is read at first: it has the whole index, unless that is large."""

_FRAME = struct.Struct("<II")
_TRAILER = struct.Struct("<Q32s8s")
_MARK = b"PHLOGSEG"


class Entry(NamedTuple):
    """An entry of a stream: its id, and its fields and values in turn, as they are stored."""

    entry_id: bytes
    parts: list[bytes]

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(zip(self.parts[::2], self.parts[1::2], strict=True))

    @property
    def size(self) -> int:
        """The bytes of its fields and values."""
        return sum(map(len, self.parts))


class _Framed(NamedTuple):
    """An entry whose fields and values are not decoded yet."""

    entry_id: bytes
    parts: msgspec.Raw


class Previous(msgspec.Struct, frozen=True, kw_only=True):
    """The segment before this one: the id of its first entry, and its digest."""

    first: str
    sha256: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says about itself. ``first`` and ``last`` are ids of entries."""

    format: Literal["photolog-segment"] = "photolog-segment"
    version: int = VERSION
    log: str
    partition: int
    first: str
    last: str
    entries: int
    previous: Previous | None = None

    @property
    def first_position(self) -> Position:
        return Position.parse(f"{self.partition}:{self.first}")

    @property
    def last_position(self) -> Position:
        return Position.parse(f"{self.partition}:{self.last}")


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of entries: where it is in the file, its first entry, and how many it has."""

    offset: int
    size: int
    first: str
    entries: int


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """``photos`` has the numbers of each photo's entries, counted from 0 over the segment."""

    head: Head
    blocks: list[Block]
    photos: dict[str, list[int]]


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a segment: its index, and the SHA-256 of the bytes before the trailer."""

    index: Index
    sha256: str


_json = msgspec.json.Encoder(order="deterministic")
_heads = msgspec.json.Decoder(Head)
_indexes = msgspec.json.Decoder(Index)
_entries = msgspec.msgpack.Decoder(list[Entry])
_framed = msgspec.msgpack.Decoder(list[_Framed])
_msgpack = msgspec.msgpack.Encoder()

T = TypeVar("T")


def encode(
    entries: Sequence[Entry], *, log_id: str, partition: int, previous: Previous | None
) -> bytes:
    """Return the segment with these entries: at least one, in order.

    Raises:
        Corrupt: an entry, or all of them, are larger than a segment can be.
    """
    head = Head(
        log=log_id,
        partition=partition,
        first=entries[0].entry_id.decode(),
        last=entries[-1].entry_id.decode(),
        entries=len(entries),
        previous=previous,
    )
    parts = [_skippable(HEAD, _json.encode(head) + b"\n")]
    offset = len(parts[0])
    blocks: list[Block] = []
    for block in _blocks(entries):
        content = _msgpack.encode(block)
        if len(content) > BLOCK_BYTES_MAX:
            raise Corrupt(f"the entry {block[-1].entry_id.decode()} is too large for a segment")
        frame = _compressed(content)
        first = block[0].entry_id.decode()
        blocks.append(Block(offset=offset, size=len(frame), first=first, entries=len(block)))
        parts.append(frame)
        offset += len(frame)
    index = Index(head=head, blocks=blocks, photos=_photos(entries))
    content = _json.encode(index)
    if len(content) > INDEX_BYTES_MAX or len(entries) > ENTRIES_MAX:
        raise Corrupt(f"{len(entries):,} entries from {head.first} on are too many for a segment")
    parts.append(_skippable(INDEX, _compressed(content)))
    body = b"".join(parts)
    trailer = _TRAILER.pack(offset, hashlib.sha256(body).digest(), _MARK)
    return body + _skippable(TRAILER, trailer)


def decode_head(data: bytes) -> Head:
    """Return the head from the first bytes of a segment; raises Corrupt."""
    head = _decoded(_heads, _payload(data, 0, HEAD, HEAD_BYTES_MAX), "its head")
    if head.version != VERSION:
        raise Corrupt(f"it has version {head.version} of the format: a newer Photolog wrote it")
    return head


def index_offset(tail: bytes) -> int:
    """Return where the index begins, from the last bytes of a segment; raises Corrupt."""
    return _trailer(tail)[0]


def decode_tail(tail: bytes, size: int) -> Tail:
    """Return index and digest from the last bytes of a segment of ``size`` bytes.

    Raises:
        Corrupt: they are damaged, or the tail does not reach back to ``index_offset``.
    """
    offset, sha256 = _trailer(tail)
    begin = offset - (size - len(tail))
    if not 0 <= begin < len(tail):
        raise Corrupt("its trailer does not point to an index")
    payload = _payload(tail, begin, INDEX, SEGMENT_BYTES_MAX)
    if begin + _FRAME.size + len(payload) != len(tail) - TRAILER_BYTES:
        raise Corrupt("its index does not end at its trailer")
    content = _decompressed(payload, "its index", INDEX_BYTES_MAX)
    index = _decoded(_indexes, content, "its index")
    head = index.head
    if head.version != VERSION:
        raise Corrupt(f"it has version {head.version} of the format: a newer Photolog wrote it")
    if not index.blocks or sum(block.entries for block in index.blocks) != head.entries:
        raise Corrupt("its index does not cover its entries")
    if head.entries > ENTRIES_MAX or any(block.entries < 1 for block in index.blocks):
        raise Corrupt(f"it cannot have {head.entries:,} entries in {len(index.blocks):,} blocks")
    ends = [block.offset + block.size for block in index.blocks]
    begins = [*(block.offset for block in index.blocks[1:]), offset]
    if ends != begins:
        raise Corrupt("its blocks do not follow one another")
    return Tail(index=index, sha256=sha256)


def decode_block(frame: bytes, block: Block) -> list[Entry]:
    """Return the entries of a block; raises Corrupt."""
    what = f"the block at byte {block.offset}, from {block.first} on,"
    content = _decompressed(frame, what, BLOCK_BYTES_MAX)
    # Small values take much more memory than room, so they are counted before any is decoded.
    if _length(content) != block.entries or block.entries > ENTRIES_MAX:
        raise Corrupt(f"{what} has other entries than its index says")
    if len(content) > BLOCK_VALUES_MAX and _values(content, what) > BLOCK_VALUES_MAX:
        raise Corrupt(f"{what} has more than {BLOCK_VALUES_MAX:,} fields and values")
    entries = _decoded(_entries, content, what)
    found = entries[0].entry_id.decode("ascii", "replace") if entries else ""
    if len(entries) != block.entries or found != block.first:
        raise Corrupt(f"{what} has other entries than its index says")
    if any(len(entry.parts) % 2 for entry in entries):
        raise Corrupt(f"{what} has an entry with a field without a value")
    return entries


class Segment:
    """A segment in memory, checked as a whole; its entries are decoded block by block."""

    def __init__(self, data: bytes) -> None:
        """Raises Corrupt if the bytes are not a whole segment."""
        if len(data) > SEGMENT_BYTES_MAX:
            raise Corrupt(f"it has {len(data):,} bytes: too many for a segment")
        tail = decode_tail(data, len(data))
        body = memoryview(data)[:-TRAILER_BYTES]
        if hashlib.sha256(body).hexdigest() != tail.sha256:
            raise Corrupt("its bytes differ from its SHA-256")
        self.head = decode_head(data)
        if self.head != tail.index.head:
            raise Corrupt("its head differs from that in its index")
        self.sha256 = tail.sha256
        self.index = tail.index
        self._data = data
        self._last: tuple[int, list[Entry]] = -1, []

    def block(self, number: int) -> list[Entry]:
        """Return the entries of the block; raises Corrupt. The last one is remembered for pages."""
        if self._last[0] != number:
            block = self.index.blocks[number]
            frame = self._data[block.offset : block.offset + block.size]
            self._last = number, decode_block(frame, block)
        return self._last[1]

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, in order; raises Corrupt."""
        for _, entries in self.placed():
            yield from entries

    def placed(self) -> Iterator[tuple[list[Position], list[Entry]]]:
        """Yield the positions and the entries of each block, in order; raises Corrupt."""
        before = Position.start(self.head.partition)
        for number in range(len(self.index.blocks)):
            entries = self.block(number)
            positions = _positions(self.head.partition, entries)
            for earlier, later in pairwise((before, *positions)):
                if later <= earlier:
                    raise Corrupt(f"{later} does not follow {earlier}")
            yield positions, entries
            before = positions[-1]
        if before != self.head.last_position:
            raise Corrupt(f"it ends at {before}, but its head says {self.head.last_position}")


def _blocks(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    block: list[Entry] = []
    size = values = 0
    for entry in entries:
        if len(entry.parts) > ENTRY_VALUES_MAX:
            raise Corrupt(
                f"the entry {entry.entry_id.decode()} has {len(entry.parts) // 2:,} fields: too "
                "many for a segment"
            )
        block.append(entry)
        size += entry.size
        values += len(entry.parts)
        if size >= BLOCK_BYTES or values >= BLOCK_VALUES:
            yield block
            block, size, values = [], 0, 0
    if block:
        yield block


def _photos(entries: Sequence[Entry]) -> dict[str, list[int]]:
    """Return the numbers of each photo's events; entries that are not events have no photo."""
    photos: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        fields = entry.fields
        if fields.keys() >= FIELDS:
            photos.setdefault(fields[b"p"].decode("utf-8", "replace"), []).append(number)
    return photos


def blocks_of(index: Index, numbers: Sequence[int]) -> list[tuple[Block, list[int]]]:
    """Return the blocks with the entries of these numbers, and their places in each block.

    Raises:
        Corrupt: the segment has fewer entries.
    """
    ends = list(accumulate(block.entries for block in index.blocks))
    found: dict[int, list[int]] = {}
    for number in numbers:
        at = next((at for at, end in enumerate(ends) if number < end), None)
        if at is None or number < 0:
            raise Corrupt(f"its index names an entry {number}, which it does not have")
        found.setdefault(at, []).append(number - (ends[at] - index.blocks[at].entries))
    return [(index.blocks[at], places) for at, places in found.items()]


def _skippable(magic: int, payload: bytes) -> bytes:
    return _FRAME.pack(magic, len(payload)) + payload


def _payload(data: bytes, begin: int, magic: int, most: int) -> bytes:
    """Return the content of the skippable frame at ``begin``."""
    if begin < 0 or len(data) < begin + _FRAME.size:
        raise Corrupt("it ends too early")
    found, length = _FRAME.unpack_from(data, begin)
    end = begin + _FRAME.size + length
    if found != magic or length > most or end > len(data):
        raise Corrupt(f"it is cut off or damaged: no whole frame {magic:#x} is where it belongs")
    return data[begin + _FRAME.size : end]


def _trailer(tail: bytes) -> tuple[int, str]:
    payload = _payload(tail, len(tail) - TRAILER_BYTES, TRAILER, _TRAILER.size)
    if len(payload) != _TRAILER.size or not payload.endswith(_MARK):
        raise Corrupt("its trailer is not that of a segment")
    offset, sha256, _ = _TRAILER.unpack(payload)
    return offset, sha256.hex()


def _compressed(data: bytes) -> bytes:
    # One for each call: they must not be shared among threads.
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    return compressor.compress(data)


def _values(content: bytes, what: str) -> int:
    """Return how many fields and values a block has, without decoding them."""
    return sum(_length(each.parts) for each in _decoded(_framed, content, what))


def _length(data: bytes | msgspec.Raw) -> int:
    """Return how many values the MessagePack array has, by its header; -1 if it is no array."""
    header = bytes(memoryview(data)[:5])
    kind = header[0] if header else 0
    if 0x90 <= kind <= 0x9F:
        return kind & 15
    if kind == 0xDC:
        return int.from_bytes(header[1:3], "big")
    return int.from_bytes(header[1:], "big") if kind == 0xDD else -1


def _positions(partition: int, entries: Sequence[Entry]) -> list[Position]:
    ids = [entry.entry_id for entry in entries]
    try:
        return Position.of_entries(partition, ids)
    except Unexpected as error:
        wrong = next(each for each in ids if not _is_id(each))
        raise Corrupt(f"{wrong[:50]!r} is not the id of an entry") from error


def _is_id(entry_id: bytes) -> bool:
    try:
        Position.of_entry(0, entry_id)
    except Unexpected:
        return False
    return True


def _decompressed(frame: bytes, what: str, most: int) -> bytes:
    try:
        # Without a size in its header, a frame could have any: that gives -1 here.
        if not 0 <= zstandard.frame_content_size(frame) <= most:
            raise Corrupt(f"{what} is too large")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Corrupt(f"{what} is damaged: {error}") from error


def _decoded(
    decoder: msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T], data: bytes, what: str
) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: bad UTF-8
        raise Corrupt(f"{what} cannot be decoded: {error}") from error
