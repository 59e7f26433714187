"""Read JPEG with libjpeg-turbo, whose warnings tell damage that can still be decoded.

libjpeg fills what it cannot read with grey and only warns. Pillow drops the warning; simplejpeg
raises it as an error after decoding. ``handlers.imaging.jpeg_stream`` has removed before what
libjpeg warns of although no pixel suffers from it.
"""

import io

from PIL import Image, ImageChops, JpegImagePlugin

from handlers.imaging import cost, damage, jpeg_stream, reader
from handlers.imaging.attempt import Attempt, Box, Decoded
from handlers.imaging.jpeg_stream import Stream
from handlers.stage import BadImage

_LAYOUTS = {"L": "GRAY", "RGB": "RGBX", "CMYK": "CMYK"}
"""How libjpeg-turbo has to lay out pixels, so that Pillow uses them without a copy."""

_UNDECIDED = "tjDecompressHeader3"
"""Begins the error for sampling factors that TurboJPEG has no name for, such as 3x1."""

_OUT_OF_MEMORY = "Insufficient memory"


def read(attempt: Attempt) -> Decoded:
    """Decode at the smallest scale that is enough; also of a damaged file, as far as possible.

    Raises:
        BadImage: ``unsupported-jpeg``, ``too-many-pixels``, ``unreadable-image``.
        MemoryError: libjpeg has too little memory.
        TooCostly: as the attempt decides.
        Exception: anything that Pillow raises for a broken header.
    """
    frame = jpeg_stream.find_frame(attempt.data)
    if frame is not None and frame.unsupported:
        message = f"The file is {frame.unsupported}, which cannot be decoded here."
        raise BadImage("unsupported-jpeg", message)
    opened = JpegImagePlugin.JpegImageFile(io.BytesIO(attempt.data))
    attempt.check_size(*opened.size)
    attempt.admit_opened(opened)
    stream = jpeg_stream.extract(attempt.data)
    image, box, warned = _decode(opened, stream, attempt.edge)
    flaw = _damage(stream, warned=warned)
    if flaw and damage.is_flat(image):
        raise attempt.unreadable()
    return Decoded(
        image=image,
        size=opened.size,
        box=box,
        frames=1,
        profile=reader.profile(opened.info),
        damage=flaw,
    )


def _damage(stream: Stream, *, warned: bool) -> str | None:
    if not (warned or stream.broken or stream.incomplete):
        return None
    return damage.BROKEN if stream.ended or stream.broken else damage.CUT


def _decode(
    opened: JpegImagePlugin.JpegImageFile, stream: Stream, edge: int
) -> tuple[Image.Image, Box, bool]:
    """Return the picture, the part of it that the file's size covers, and whether libjpeg warned.

    The picture is mode L, RGBX or CMYK.
    """
    # Imported here, because only decoder processes should take the 14 MB of NumPy.
    import simplejpeg  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    width, height = opened.size
    scale = cost.jpeg_scale(opened.size, edge)
    size = -(-width // scale), -(-height // scale)
    layout = _LAYOUTS[opened.mode]
    pixels = bytearray(size[0] * size[1] * len(layout if layout != "GRAY" else "L"))
    warned = False
    try:
        simplejpeg.decode_jpeg(
            stream.data, layout, min_width=size[0], min_height=size[1], buffer=pixels
        )
    except ValueError as error:
        if str(error).startswith(_UNDECIDED):
            return _with_pillow(stream, edge)
        if str(error).startswith(_OUT_OF_MEMORY):
            raise MemoryError from error
        warned = True  # and the pixels are there
    mode = "L" if layout == "GRAY" else layout
    image = Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
    # Programs that write CMYK invert it, as Adobe's do.
    image = ImageChops.invert(image) if mode == "CMYK" else image
    return image, (0, 0, width / scale, height / scale), warned


def _with_pillow(stream: Stream, edge: int) -> tuple[Image.Image, Box, bool]:
    """Decode without libjpeg's warnings: only the order of the restart markers shows damage."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(stream.data))
    _, box = reader.load(image, edge)
    return image, box, not stream.ended or not stream.restarts_in_turn
