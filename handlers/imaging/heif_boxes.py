"""Look into the boxes of HEIF and AVIF files (ISO/IEC 14496-12, ISO/IEC 23008-12).

Decoders keep to themselves how many pictures a sequence has. ``metadata.isobmff`` reads the items.
"""

from collections.abc import Iterator

import msgspec

_MAX_BOXES = 10_000
"""Boxes to look at in one container; more than any file needs."""

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
