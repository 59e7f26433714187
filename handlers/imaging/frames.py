"""How many frames a file holds, counted without decoding them."""

import struct

from PIL import ImageFile, TiffImagePlugin

from handlers.imaging.complexity import colour_table_bytes

_IMAGE, _EXTENSION = 0x2C, 0x21


def count(image: ImageFile.ImageFile, data: bytes, limit: int) -> int:
    """Frames of the opened picture ``data``, at least 1; counting ends at ``limit`` + 1.

    The pictures beside the main one in a JPEG are previews or other views, not frames.
    """
    if image.format == "GIF":
        return max(1, _gif(data, limit))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff(image, limit)
    return max(1, getattr(image, "n_frames", 1))


def _gif(data: bytes, limit: int) -> int:
    """Walks the blocks of GIF89a (appendix A); what is cut off does not count."""
    frames = 0
    at = 13 + colour_table_bytes(data[10])
    while frames <= limit and at < len(data):
        if data[at] == _EXTENSION:
            at = _after_blocks(data, at + 2)
        elif data[at] == _IMAGE and at + 9 < len(data):
            frames += 1
            at = _after_blocks(data, at + 11 + colour_table_bytes(data[at + 9]))
        else:
            break
    return frames


def _after_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _tiff(image: TiffImagePlugin.TiffImageFile, limit: int) -> int:
    """Directories are a linked list: going to the one after the last allowed reads no more."""
    frames = 0
    try:
        while frames <= limit:
            image.seek(frames)
            frames += 1
    except (EOFError, OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        # A broken link ends the list; the pages before it are there.
        pass
    image.seek(0)
    return max(1, frames)
