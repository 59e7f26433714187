"""Limit the parts of a file: JPEG's segments and scans, PNG's chunks, GIF's blocks.

Pillow reads parts one by one, and filler between them byte by byte: 100 MB of filler took 135 s.
Each scan of a JPEG may cover the whole picture: 500 of them, in 0.6 MB, took 65 s. Counting them
first takes less than a second.
"""

import re

from PIL.JpegImagePlugin import MARKER

from domain.pipeline.failures import Category
from handlers.stage import BadImage, ImageLimits

# 0xFF before a marker is filler; 0xFF before 0 is a data byte of a scan.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_START_OF_SCAN, _END_OF_IMAGE = 0xFFDA, 0xFFD9
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def check(data: bytes, name: str, limits: ImageLimits) -> int:
    """Check the limits; return the number of scans of a JPEG, 0 for other formats.

    Raises BadImage, ``too-many-parts`` or ``too-many-scans``.
    """
    parts = scans = 0
    match name:
        case "JPEG":
            parts, scans = _jpeg(data, limits)
        case "PNG":
            parts = _png(data, limits.max_parts)
        case "GIF":
            parts = _gif(data, limits.max_parts)
        case _:
            pass  # C code reads it, fast enough
    if parts > limits.max_parts:
        message = f"The file has more than {limits.max_parts} parts."
        raise BadImage("too-many-parts", message, Category.SECURITY)
    if scans > limits.max_scans:
        message = f"The picture has more than {limits.max_scans} scans."
        raise BadImage("too-many-scans", message, Category.SECURITY)
    return scans


def _jpeg(data: bytes, limits: ImageLimits) -> tuple[int, int]:
    """Count parts and scans. Before the first scan, ignore an end of image, as Pillow does."""
    parts, scans, at = 0, 0, 2
    while parts <= limits.max_parts and scans <= limits.max_scans:
        found = _MARKER.search(data, at)
        start = found.start() if found else len(data)
        parts += 1 if scans else 1 + start - at
        marker = int.from_bytes(found[0], "big") if found else 0
        if marker not in MARKER or (scans and marker == _END_OF_IMAGE):
            break
        at = start + 2
        if MARKER[marker][2] is not None:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == _START_OF_SCAN:
            scans += 1
            following = _END_OF_SCAN.search(data, at)
            at = following.start() if following else len(data)
    return parts, scans


def _png(data: bytes, limit: int) -> int:
    parts, at = 0, 8
    while parts <= limit and at < len(data):
        parts += 1
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return parts


def _gif(data: bytes, limit: int) -> int:
    """Count the blocks of images and extensions (GIF89a, appendix A), and stray bytes."""
    if len(data) < 13:
        return 0
    parts, at = 0, 13 + colour_table_bytes(data[10])
    while parts <= limit and at < len(data) and data[at] != _TRAILER:
        parts += 1
        if data[at] == _EXTENSION:
            at += 2
        elif data[at] == _IMAGE and at + 9 < len(data):
            at += 11 + colour_table_bytes(data[at + 9])
        else:
            at += 1
            continue
        while parts <= limit and at < len(data) and data[at]:
            parts += 1
            at += data[at] + 1
        at += 1
    return parts


def colour_table_bytes(packed: int) -> int:
    """Return the size of a GIF's colour table, from its byte of flags; 0 if there is no table."""
    return 3 << ((packed & 7) + 1) if packed & 0x80 else 0
