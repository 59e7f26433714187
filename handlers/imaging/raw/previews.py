"""Find the pictures that a camera has put into a RAW file.

Makers keep previews in directories, in notes whose structure they do not publish, and in boxes. As
JPEG they can be found everywhere by their structure: the beginning, segments one after another, and
the header of a frame (ISO/IEC 10918-1, B.1.1, B.2.2). Strips and tiles may be JPEG too, also those
of the sensor's data and of maps: their directory is a picture as a whole, or none.
"""

import msgspec

from handlers.imaging.raw import kinds
from handlers.imaging.tiff import layout as layouts
from handlers.imaging.tiff.directory import Directory
from handlers.stage import BadImage

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Frames that hold a picture; 0xC3 is lossless, which cameras use for the sensor's data."""

_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}

_NO_PICTURE = kinds.SENSOR_DATA | {4, 51177, 52527}
"""Photometric interpretations; also those of a mask, and of DNG's depth maps and semantic masks."""

_MAX_SEGMENTS = 1_000
_MAX_BEGINNINGS = 10_000
"""Where a JPEG may begin. Random data has one in 16 million bytes."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in a RAW file: a JPEG from ``start`` to ``end``, or that of a directory."""

    width: int
    height: int
    start: int = 0
    end: int = 0
    directory: Directory | None = None

    @property
    def pixels(self) -> int:
        return self.width * self.height


def largest(data: bytes, first: Directory | None) -> Preview | None:
    """Return the preview with the most pixels; None if there is none."""
    found: list[Preview] = []
    parts: set[int] = set()
    for directory in kinds.every_directory(first) if first is not None else ():
        offsets = directory.numbers(layouts.TILE_OFFSETS) or directory.numbers(
            layouts.STRIP_OFFSETS
        )
        try:
            layout = layouts.of(directory)
        except (BadImage, ValueError):
            # No picture that is supported, unless the one part of it is a whole JPEG.
            if len(offsets) > 1 or directory.number(layouts.PHOTOMETRIC, -1) in _NO_PICTURE:
                parts.update(offsets)
            continue
        is_jpeg = layout.compression in (layouts.OLD_JPEG, layouts.JPEG)
        if not is_jpeg or len(offsets) > 1:
            parts.update(offsets)
            found.append(Preview(width=layout.width, height=layout.height, directory=directory))
    found += (each for each in _jpegs(data) if each.start not in parts)
    return max(found, key=lambda preview: preview.pixels, default=None)


def _jpegs(data: bytes) -> list[Preview]:
    found: list[Preview] = []
    at = data.find(_START)
    for _ in range(_MAX_BEGINNINGS):
        if at < 0:
            break
        preview = _jpeg(data, at)
        if preview is not None:
            found.append(preview)
        at = data.find(_START, preview.end if preview else at + 2)
    return found


def _jpeg(data: bytes, start: int) -> Preview | None:
    """Return the JPEG that begins at ``start``; None if it is none, or lossless."""
    size: tuple[int, int] | None = None
    at = start + 2
    for _ in range(_MAX_SEGMENTS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # filler
            at += 1
            continue
        if marker in _WITHOUT_LENGTH:
            return None
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES and data[at + 4] == 8:
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            size = width, height
        if marker == _START_OF_SCAN:
            break
        at += 2 + max(2, length)
    if size is None or 0 in size:
        return None
    end = data.find(_END, at)
    return Preview(
        width=size[0], height=size[1], start=start, end=end + 2 if end > 0 else len(data)
    )
