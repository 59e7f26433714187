"""Find damage in the bytes of a file that decoders silently ignore.

libheif fills in missing tiles. Damage that the JPEG decoder ignores is found by
``handlers.imaging.jpeg``, that of PNG by ``handlers.imaging.png``.
"""

from handlers.imaging import jpeg

CUT = "The file ends before the picture does."
BROKEN = "The picture data is broken in places."


def find(data: bytes, name: str) -> str | None:
    """Return a sentence about damage in a file of the format ``name``; None if none is found."""
    match name:
        case "JPEG" if jpeg.has_broken_scan(data):
            return BROKEN
        case "HEIC" | "HEIF" | "AVIF" if _is_cut(data):
            return CUT
        case _:
            return None


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
