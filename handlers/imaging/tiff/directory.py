"""Parse the directories of TIFF and BigTIFF in both byte orders, and write changed ones.

Raw formats of cameras are TIFF too, some with a mark of their own instead of the 42 (section 2).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from PIL.TiffImagePlugin import IFDRational

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43

# Section 2: code and size of each type, as for `struct`; BigTIFF has 13 and 16 to 18 too.
_TYPES = {
    1: ("B", 1),
    2: ("s", 1),
    3: ("H", 2),
    4: ("I", 4),
    5: ("I", 8),
    6: ("b", 1),
    7: ("s", 1),
    8: ("h", 2),
    9: ("i", 4),
    10: ("i", 8),
    11: ("f", 4),
    12: ("d", 8),
    13: ("I", 4),
    16: ("Q", 8),
    17: ("q", 8),
    18: ("Q", 8),
}
_LONG, _RATIONAL, _UNDEFINED, _SIGNED_RATIONAL, _LONG8 = 4, 5, 7, 10, 16

_MAX_ENTRIES = 10_000

_MAX_CHAIN = 2_000_000
"""The most entries that are read from linked directories, which takes about 2 s. Each directory
counts as ``_DIRECTORY`` more."""

_DIRECTORY = 10


class Header(msgspec.Struct, frozen=True):
    """How the file is written, and where its first directory is."""

    order: str
    big: bool
    first: int
    mark: int


class Entry(msgspec.Struct, frozen=True):
    """A field: its type, the count of its values, and where they are in the file."""

    kind: int
    count: int
    at: int


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of ``data`` at ``offset``; ``following`` is the offset of the next, or 0."""

    data: bytes
    header: Header
    offset: int
    following: int
    entries: dict[int, Entry]

    def value(self, tag: int, most: int | None = None) -> Any:
        """Return the field's value, or a tuple of several; None if it is missing or broken.

        Text and undefined bytes are bytes, without conversion. ``most`` limits the values, since
        a field may have millions of them.
        """
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _TYPES:
            return None
        code, size = _TYPES[entry.kind]
        end = entry.at + entry.count * size
        if end > len(self.data):
            return None
        if code == "s":
            return self.data[entry.at : end]
        there = entry.count if most is None else min(entry.count, most)
        count = there * (2 if entry.kind in (_RATIONAL, _SIGNED_RATIONAL) else 1)
        values = struct.unpack_from(f"{self.header.order}{count}{code}", self.data, entry.at)
        if entry.kind in (_RATIONAL, _SIGNED_RATIONAL):
            pairs = zip(values[::2], values[1::2], strict=True)
            return _single([IFDRational(*pair) for pair in pairs])
        return _single(values)

    def numbers(self, tag: int, most: int | None = None) -> tuple[int, ...]:
        """Return the integers of a field; empty if it is missing, broken or of another type.

        ``most`` is how many of them are wanted; None stands for all.
        """
        value = self.value(tag, most)
        values = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
        return values if all(isinstance(each, int) for each in values) else ()

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first integer of a field, or ``default``."""
        return next(iter(self.numbers(tag, 1)), default)

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a field of text or undefined bytes; empty without one."""
        value = self.value(tag)
        return value if isinstance(value, bytes) else b""

    def at(self, offset: int) -> "Directory | None":
        """Return another directory of the same file; None if there is none."""
        return read(self.data, self.header, offset)


def _single(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def header(data: bytes) -> Header | None:
    """Return the header of a TIFF or BigTIFF file, or of another file that begins like TIFF."""
    order = _BYTE_ORDERS.get(data[:2])
    if order is None or len(data) < 8:
        return None
    mark, first = struct.unpack_from(f"{order}HI", data, 2)
    if mark != _BIG:
        return Header(order, False, first, mark)
    if len(data) < 16:
        return None
    return Header(order, True, struct.unpack_from(f"{order}Q", data, 8)[0], mark)


def read(data: bytes, head: Header, offset: int) -> Directory | None:
    """Return the directory at ``offset``; None if it is not within the file."""
    order = head.order
    count_code, entry_bytes, pointer = ("Q", 20, "Q") if head.big else ("H", 12, "I")
    count_bytes = struct.calcsize(count_code)
    if not 8 <= offset <= len(data) - count_bytes:
        return None
    (count,) = struct.unpack_from(order + count_code, data, offset)
    inline = 8 if head.big else 4
    entries: dict[int, Entry] = {}
    at = offset + count_bytes
    if count > _MAX_ENTRIES or at + count * entry_bytes > len(data):
        return None
    for _ in range(count):
        tag, kind, values = struct.unpack_from(f"{order}HH{pointer}", data, at)
        place = at + entry_bytes - inline
        if values * _TYPES.get(kind, ("B", 1))[1] > inline:
            (place,) = struct.unpack_from(order + pointer, data, place)
        entries.setdefault(tag, Entry(kind, values, place))
        at += entry_bytes
    following = 0
    if at + inline <= len(data):
        (following,) = struct.unpack_from(order + pointer, data, at)
    return Directory(data=data, header=head, offset=offset, following=following, entries=entries)


def first(data: bytes) -> Directory | None:
    """Return the file's first directory; None if it is broken or the file is no TIFF."""
    head = header(data)
    return None if head is None else read(data, head, head.first)


def chain(start: Directory) -> Iterator[Directory]:
    """Iterate over the linked list of directories, each once.

    A broken link ends it, and so do more entries than any honest file has.
    """
    seen: set[int] = set()
    directory: Directory | None = start
    left = _MAX_CHAIN
    while directory is not None and directory.offset not in seen and left > 0:
        seen.add(directory.offset)
        left -= len(directory.entries) + _DIRECTORY
        yield directory
        directory = directory.at(directory.following)


def appended(directory: Directory, fields: Mapping[int, tuple[int, ...] | bytes]) -> Directory:
    """Return the same file with a new directory at its end, which has only ``fields``.

    Integers are written as LONG, or as LONG8 in BigTIFF; bytes as undefined bytes.
    """
    head = directory.header
    big, order = head.big, head.order
    kind, code = (_LONG8, "Q") if big else (_LONG, "I")
    inline, entry_bytes, count_code = (8, 20, "Q") if big else (4, 12, "H")
    start = len(directory.data) + len(directory.data) % 2
    table = struct.pack(order + count_code, len(fields))
    values_at = start + len(table) + len(fields) * entry_bytes + inline
    values = b""
    for tag, value in sorted(fields.items()):
        if isinstance(value, bytes):
            field_kind, packed = _UNDEFINED, value
        else:
            field_kind, packed = kind, struct.pack(f"{order}{len(value)}{code}", *value)
        entry = struct.pack(f"{order}HH{code}", tag, field_kind, len(value))
        if len(packed) <= inline:
            entry += packed.ljust(inline, b"\0")
        else:
            entry += struct.pack(order + code, values_at + len(values))
            values += packed + bytes(len(packed) % 2)
        table += entry
    table += bytes(inline)
    data = b"".join((directory.data, bytes(start - len(directory.data)), table, values))
    made = read(data, head, start)
    if made is None:
        raise ValueError("the file is too large for another directory")
    return made
