"""Find damage in the bytes of a file that decoders silently ignore.

libheif fills in missing tiles, and Pillow checks no checksum of PNG's picture data. Damage that the
JPEG decoder ignores is found by ``handlers.imaging.jpeg``.
"""

import zlib

from handlers.imaging import jpeg

CUT = "The file ends before the picture does."
BROKEN = "The picture data is broken in places."

_CHUNK = 12
"""Length, type and checksum of a PNG chunk, four bytes each."""


def find(data: bytes, name: str) -> str | None:
    """Return a sentence about damage in a file of the format ``name``; None if none is found."""
    match name:
        case "JPEG" if jpeg.has_broken_scan(data):
            return BROKEN
        case "PNG" if _has_broken_chunk(data):
            return BROKEN
        case "HEIC" | "HEIF" | "AVIF" if _is_cut(data):
            return CUT
        case _:
            return None


def _has_broken_chunk(data: bytes) -> bool:
    """Return whether a chunk of picture data has a wrong checksum (PNG, 5.3)."""
    view, at = memoryview(data), 8
    while at + _CHUNK <= len(data):
        end = at + _CHUNK + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            found = zlib.crc32(view[at + 4 : end - 4])
            if data[end - 4 : end] != found.to_bytes(4, "big"):
                return True
        at = end
    return False


def _is_cut(data: bytes) -> bool:
    """Return whether the picture box extends beyond the end of the file (ISO/IEC 14496-12, 4.2).

    Some phones append data that is not a box; it does not count.
    """
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:  # the actual size follows the type
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # the box ends with the file
            return False
        if kind == b"mdat" and at + size > len(data):
            return True
        at += max(size, 8)
    return False
