"""Recognize an HDR gain map: a second picture that says how much brighter an HDR display is.

Renditions show the picture that it belongs to, which is meant for SDR displays.
"""

import itertools
import struct
from collections.abc import Iterator

from handlers.imaging.colours import heif_marks

_ULTRA_HDR = b"http://ns.adobe.com/hdr-gain-map/1.0/"
_APPLE, _ISO = heif_marks.GAIN_MAP_URNS
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PICTURES = b"MPF\0"
_START_OF_PICTURE = b"\xff\xd8\xff"

_APP_1, _APP_2, _SCAN, _END = 0xE1, 0xE2, 0xDA, 0xD9
_MP_ENTRY = 0xB002
_MAX_SEGMENTS, _MAX_PICTURES = 1000, 20


def is_in(data: bytes, name: str) -> bool:
    """Return whether a file in the format ``name``, as ``sniff`` names it, has a gain map."""
    match name:
        case "JPEG":
            return _is_in_jpeg(data)
        case "HEIC" | "HEIF" | "AVIF":
            return heif_marks.has_gain_map(data)
        case _:
            return False


def _is_in_jpeg(data: bytes) -> bool:
    """Look at the marks of the picture and of those that follow it in the file.

    Ultra HDR names the gain map in the XMP of both, ISO 21496-1 in an APP2 segment of both, and
    Apple in the XMP of the second picture. Software that removes the second picture often keeps the
    marks of the first, so they count only with another picture.
    """
    is_marked, end, pictures = False, 2, list[int]()
    for marker, start, end in _segments(data, 0):
        if marker == _APP_2 and data.startswith(_PICTURES, start):
            pictures += _picture_offsets(data[start + len(_PICTURES) : end], start + 4)
        is_marked = is_marked or _is_mark(data, marker, start, end)
    if is_marked:
        return data.find(_START_OF_PICTURE, end) >= 0
    return any(
        _is_mark(data, *segment)
        for offset in pictures[:_MAX_PICTURES]
        for segment in _segments(data, offset)
    )


def _is_mark(data: bytes, marker: int, start: int, end: int) -> bool:
    if marker == _APP_2:
        return data.startswith(_ISO, start, end)
    if marker == _APP_1 and data.startswith(_XMP, start, end):
        return any(data.find(mark, start, end) >= 0 for mark in (_ULTRA_HDR, _APPLE))
    return False


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Iterate over marker, begin and end of the segments before the scan of the picture at ``at``.

    A segment that is cut ends the walk.
    """
    if data[at : at + 2] != b"\xff\xd8":
        return
    at += 2
    for _ in range(_MAX_SEGMENTS):
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in (_SCAN, _END):
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 1], at + 4, end
        at = end


def _picture_offsets(block: bytes, base: int) -> list[int]:
    """Return where the further pictures begin (CIPA DC-007-2021, 5.2.3), counted from ``base``."""
    order = "<" if block[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, at)
        for entry in itertools.islice(range(at + 2, len(block) - 11, 12), count):
            tag, _, size, place = struct.unpack_from(order + "HHII", block, entry)
            if tag == _MP_ENTRY:
                entries = range(place, min(place + size, len(block) - 15), 16)
                offsets = [struct.unpack_from(order + "I", block, each + 8)[0] for each in entries]
                return [base + offset for offset in offsets if offset]
    except struct.error:
        return []
    return []
