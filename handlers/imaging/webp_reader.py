"""Read WebP, whose decoder allocates the whole canvas when it opens a file."""

import io

from PIL import WebPImagePlugin

from handlers.imaging import cost, reader
from handlers.imaging.attempt import Attempt, Decoded


def read(attempt: Attempt) -> Decoded:
    """Check size and cost by the header, and then decode; raises as ``reader.read``."""
    attempt.check_size(*size(attempt.data))
    attempt.admit(cost.of_webp(attempt.data, attempt.pixels, attempt.edge))
    return reader.decode_opened(attempt, WebPImagePlugin.WebPImageFile(io.BytesIO(attempt.data)))


def size(data: bytes) -> tuple[int, int]:
    """Return the size of the canvas (RFC 9649, 2.7) or the frame (lossy: 2.5, lossless: 3.4)."""
    if data[12:16] == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
    return width, height
