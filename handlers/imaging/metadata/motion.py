"""Find the video of a motion photo.

Phones append it to the JPEG file, whatever they write about it in XMP (Google's ``MotionPhoto`` and
``MicroVideo``) or in a trailer (Samsung's ``MotionPhoto_Data``), and software that removes the
video often keeps those marks. So only the video itself counts. In HEIF it is the box ``mpvd``
(developer.android.com/media/platform/motion-photo-format).
"""

import re

from handlers.imaging.metadata import isobmff

_START = re.compile(rb"\0\0\0[\x10-\x7f]ftyp(?:mp4|iso|qt|avc|hvc|hev|M4V|MSNV|3gp|dash)")

_MOVIE = frozenset((b"moov", b"mdat", b"moof"))
_PART = re.compile(rb"[a-zA-Z0-9 ]{4}")


def video_bytes(data: bytes, name: str) -> int | None:
    """Return the size of the video that a file in the format ``name`` has; None if it has none."""
    if name == "JPEG":
        return _after_picture(data)
    if name in ("HEIC", "HEIF", "AVIF"):
        for kind, (begin, end) in isobmff.boxes(data, 0, len(data)):
            if kind == b"mpvd" and _START.match(data, begin):
                return _length(data, begin, end)
    return None


def _after_picture(data: bytes) -> int | None:
    at = data.find(b"\xff\xd9")  # at the latest, the end of the picture
    while at >= 0 and (at := data.find(b"ftyp", at + 1)) >= 0:
        if _START.match(data, at - 4) and (length := _length(data, at - 4, len(data))):
            return length
    return None


def _length(data: bytes, begin: int, end: int) -> int | None:
    """Return how many bytes the boxes of the video take; None without a box of a movie."""
    last, is_movie = begin, False
    for kind, (_, after) in isobmff.boxes(data, begin, end):
        if not _PART.fullmatch(kind):
            break
        last, is_movie = after, is_movie or kind in _MOVIE
    return last - begin if is_movie else None
