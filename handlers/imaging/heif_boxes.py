"""Look into the boxes of HEIF and AVIF files (ISO/IEC 14496-12, ISO/IEC 23008-12).

Decoders keep to themselves how many pictures a sequence has, and much of its colours.
``metadata.isobmff`` reads the items that hold metadata.
"""

from collections.abc import Iterator

import msgspec

_MAX_BOXES = 10_000
"""Boxes to look at in one container; more than any file needs."""

_MAX_SOURCES = 16
"""Tiles to look at; those of a grid are alike."""

_FULL_BOX = 4
"""Version and flags."""


class Box(msgspec.Struct, frozen=True):
    """A box: its type, and where its content begins and ends."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Iterate over the boxes between two places; a box that is cut ends with the file."""
    at, stop = start, len(data) if end is None else min(end, len(data))
    for _ in range(_MAX_BOXES):
        if at + 8 > stop:
            return
        size, kind, content = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:  # the actual size follows the type
            size, content = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:  # the box ends with the file
            size = stop - at
        yield Box(kind, at + content, min(at + size, stop))
        at += max(size, 8)


def find(data: bytes, *path: bytes, start: int = 0, end: int | None = None) -> Box | None:
    """Return the first box at ``path``, such as ``meta``, ``iprp``, ``ipco``; None without one."""
    found = None
    for kind in path:
        found = next((box for box in boxes(data, start, end) if box.kind == kind), None)
        if found is None:
            return None
        start, end = found.start + (_FULL_BOX if kind == b"meta" else 0), found.end
    return found


def item_properties(data: bytes, item: int) -> Iterator[Box]:
    """Iterate over the properties that belong to the item (ISO/IEC 23008-12, 9.3)."""
    properties = find(data, b"meta", b"iprp")
    container = find(data, b"meta", b"iprp", b"ipco")
    if properties is None or container is None:
        return
    known = list(boxes(data, container.start, container.end))
    for box in boxes(data, properties.start, properties.end):
        used = _properties(data[box.start : box.end], item) if box.kind == b"ipma" else ()
        yield from (known[index - 1] for index in used if 0 < index <= len(known))


def sources(data: bytes, item: int) -> list[int]:
    """Return the items that a grid or another derived item is made from (``dimg``, 6.4.7)."""
    references = find(data, b"meta", b"iref")
    if references is None:
        return []
    id_bytes, found = (2 if data[references.start] == 0 else 4), list[int]()
    for box in boxes(data, references.start + _FULL_BOX, references.end):
        body = data[box.start : box.end]
        if box.kind != b"dimg" or int.from_bytes(body[:id_bytes], "big") != item:
            continue
        count = int.from_bytes(body[id_bytes : id_bytes + 2], "big")
        at = id_bytes + 2
        found += (
            int.from_bytes(body[place : place + id_bytes], "big")
            for place in range(at, min(at + count * id_bytes, len(body)), id_bytes)
        )
    return found[:_MAX_SOURCES]


def item_types(data: bytes) -> set[bytes]:
    """Return the types of the items (``infe``, ISO/IEC 14496-12, 8.11.6)."""
    information = find(data, b"meta", b"iinf")
    if information is None or information.end <= information.start:
        return set()
    start = information.start + _FULL_BOX + (2 if data[information.start] == 0 else 4)
    found: set[bytes] = set()
    for box in boxes(data, start, information.end):
        version = data[box.start : box.start + 1]
        if box.kind == b"infe" and version in (b"\2", b"\3"):
            at = box.start + _FULL_BOX + (2 if version == b"\2" else 4) + 2
            found.add(data[at : at + 4])
    return found


def sequence_length(data: bytes) -> int:
    """Return the number of samples of the longest track of pictures; 0 without one."""
    movie, longest = find(data, b"moov"), 0
    for track in boxes(data, movie.start, movie.end) if movie else ():
        if track.kind != b"trak":
            continue
        inside = {"start": track.start, "end": track.end}
        handler = find(data, b"mdia", b"hdlr", **inside)
        sizes = find(data, b"mdia", b"minf", b"stbl", b"stsz", **inside)
        if handler is None or sizes is None:
            continue
        if data[handler.start + 8 : handler.start + 12] in (b"pict", b"vide"):
            longest = max(longest, int.from_bytes(data[sizes.start + 8 : sizes.start + 12], "big"))
    return longest


def primary_item(data: bytes) -> int | None:
    """Return the id of the picture that the file is about; None without one."""
    box = find(data, b"meta", b"pitm")
    if box is None or box.end <= box.start:
        return None
    size = 2 if data[box.start] == 0 else 4
    return int.from_bytes(data[box.start + _FULL_BOX :][:size], "big")


def _properties(body: bytes, item: int) -> list[int]:
    """Return the indexes of the item's properties, from 1, in the body of an ``ipma`` box."""
    if len(body) < 2 * _FULL_BOX:
        return []
    id_bytes = 2 if body[0] == 0 else 4
    index_bytes, index_mask = (2, 0x7FFF) if body[3] & 1 else (1, 0x7F)
    at, found = 8, list[int]()
    for _ in range(min(int.from_bytes(body[4:8], "big"), _MAX_BOXES)):
        if at + id_bytes >= len(body):
            break
        current = int.from_bytes(body[at : at + id_bytes], "big")
        count, at = body[at + id_bytes], at + id_bytes + 1
        if current == item:
            found += [
                int.from_bytes(body[place : place + index_bytes], "big") & index_mask
                for place in range(at, at + count * index_bytes, index_bytes)
            ]
        at += count * index_bytes
    return found
