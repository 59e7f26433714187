"""Read directories of a TIFF structure, which EXIF blocks and maker notes also are.

Sources: TIFF 6.0, section 2; CIPA DC-008-2023 (EXIF 3.0), 4.6.2; the BigTIFF design. The reader is
tolerant: an entry with an unknown type, an impossible count or an offset outside the block is
skipped, and the entries beside it stay. It is bounded: a directory has at most ``MAX_ENTRIES``
entries, a value at most ``MAX_BYTES`` bytes or ``MAX_NUMBERS`` numbers, and nothing is followed
but what the caller asks for. It raises nothing, whatever the bytes.
"""

import math
import struct
from collections.abc import Collection
from fractions import Fraction

MAX_ENTRIES = 4_096
MAX_BYTES = 8_192
MAX_NUMBERS = 256

Number = int | float | Fraction

Value = bytes | tuple[Number | None, ...]
"""Text and bytes, or numbers; a number without a value (0/0, not a number) is None."""

_BYTES = (1, 2, 7, 129)
"""BYTE, ASCII, UNDEFINED, and UTF-8 of EXIF 3.0."""

_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"} | {
    16: "Q",
    17: "q",
    18: "Q",
}
_RATIONALS = {5: "I", 10: "i"}

_SIZES = (
    dict.fromkeys(_BYTES, 1)
    | {kind: struct.calcsize("=" + code) for kind, code in _NUMBERS.items()}
    | dict.fromkeys(_RATIONALS, 8)
)

_Entry = tuple[int, int, int]
"""The type, the count, and where the value begins in the data."""


class Block:
    """A TIFF structure in ``data``; its offsets count from ``base``.

    ``order`` is ``<`` or ``>``, ``big`` means BigTIFF. Nothing outside of ``within`` belongs to the
    structure: begin and end in the data.
    """

    def __init__(
        self,
        data: bytes,
        order: str,
        base: int = 0,
        *,
        within: tuple[int, int] | None = None,
        big: bool = False,
    ) -> None:
        self.data = data
        self.order = order
        self.base = base
        self._low, self._high = within or (base, len(data))
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ" if big else "HHI"))
        self._offset = struct.Struct(order + ("Q" if big else "I"))

    def directory(self, offset: Number | None) -> "Directory":
        """Return the directory at ``offset``; an empty one if there is none."""
        at = self.base + offset if isinstance(offset, int) else -1
        first = at + self._count.size
        if at < self._low or first > self._high:
            return Directory(self, {})
        data, size = self.data, self._entry.size + self._offset.size
        (count,) = self._count.unpack_from(data, at)
        there = min(count, MAX_ENTRIES, (self._high - first) // size)
        entries: dict[int, _Entry] = {}
        unreadable: set[int] = set()
        for begin in range(first, first + there * size, size):
            tag, kind, count = self._entry.unpack_from(data, begin)
            length = _SIZES.get(kind, 0) * count
            where = begin + self._entry.size
            if length > self._offset.size:
                where = self.base + self._offset.unpack_from(data, where)[0]
            if length and self._low <= where <= self._high - length:
                entries.setdefault(tag, (kind, count, where))
            else:
                unreadable.add(tag)
        return Directory(self, entries, unreadable)

    def first(self) -> "Directory":
        """Return the directory that the header of the block points to."""
        at = self.base + (4 if self._offset.size == 4 else 8)
        if at + self._offset.size > self._high:
            return Directory(self, {})
        return self.directory(self._offset.unpack_from(self.data, at)[0])

    def decode(self, entry: _Entry) -> Value:
        kind, count, at = entry
        if kind in _BYTES:
            return self.data[at : at + min(count, MAX_BYTES)]
        count = min(count, MAX_NUMBERS)
        if code := _RATIONALS.get(kind):
            found = struct.unpack_from(f"{self.order}{2 * count}{code}", self.data, at)
            return tuple(map(_ratio, found[::2], found[1::2]))
        found = struct.unpack_from(f"{self.order}{count}{_NUMBERS[kind]}", self.data, at)
        return tuple(map(_finite, found))


class Directory:
    """The readable entries of a directory, decoded when asked for.

    Of several entries with one tag, the first that is readable counts (TIFF 6.0 allows one).
    """

    def __init__(
        self, block: Block, entries: dict[int, _Entry], unreadable: Collection[int] = ()
    ) -> None:
        self.block = block
        self._entries = entries
        self._unreadable = unreadable

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, tag: int) -> Value | None:
        """Return the value of the tag; None if there is none that can be read."""
        entry = self._entries.get(tag)
        return None if entry is None else self.block.decode(entry)

    def values(self, wanted: Collection[int]) -> dict[int, Value]:
        """Return the values of the wanted tags; of one that is there but unreadable, ``()``."""
        found: dict[int, Value] = {tag: () for tag in self._unreadable if tag in wanted}
        for tag, entry in self._entries.items():
            if tag in wanted:
                found[tag] = self.block.decode(entry)
        return found

    def child(self, tag: int) -> "Directory":
        """Return the directory that the tag points to; an empty one if there is none."""
        value = self.get(tag)
        return self.block.directory(value[0] if isinstance(value, tuple) else None)

    def span(self, tag: int) -> tuple[int, int] | None:
        """Return where the bytes of the value begin in the block's data, and how many there are."""
        entry = self._entries.get(tag)
        if entry is None:
            return None
        kind, count, at = entry
        return at, _SIZES[kind] * count

    def bytes_of(self, tag: int, at_most: int) -> bytes:
        """Return the bytes of the value, whatever its type; empty if it is missing or longer."""
        span = self.span(tag)
        if span is None or span[1] > at_most:
            return b""
        return self.block.data[span[0] : sum(span)]


_HEADERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}


def open_block(data: bytes, base: int = 0, end: int | None = None) -> Block | None:
    """Return the TIFF structure from ``base`` to ``end``; None if no header is there."""
    header = data[base : base + 4]
    order = _HEADERS.get(header)
    if order is None:
        return None
    within = (base, len(data) if end is None else end)
    return Block(data, order, base, within=within, big=b"+" in header)


def _ratio(numerator: int, denominator: int) -> Fraction | None:
    return Fraction(numerator, denominator) if denominator else None


def _finite(value: float) -> Number | None:
    return value if isinstance(value, int) or math.isfinite(value) else None
