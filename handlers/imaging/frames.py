"""Count the frames of a file without decoding them."""

import struct

from PIL import ImageFile, TiffImagePlugin

from handlers.imaging.complexity import colour_table_bytes

_IMAGE, _EXTENSION = 0x2C, 0x21


def count(image: ImageFile.ImageFile, data: bytes, limit: int) -> int:
    """Return the number of frames, at least 1; stop counting at ``limit`` + 1.

    Further pictures in a JPEG are previews or other views, not frames.
    """
    if image.format == "GIF":
        return max(1, _gif(data, limit))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff(image, limit)
    return max(1, getattr(image, "n_frames", 1))


def _gif(data: bytes, limit: int) -> int:
    """Walk the blocks of GIF89a (appendix A); a truncated frame does not count."""
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
    """Follow the linked list of directories up to the one after the last allowed."""
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
