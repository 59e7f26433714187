"""Read JPEG with libjpeg-turbo, whose warnings tell damage that can still be decoded.

libjpeg fills what it cannot read with grey and only warns. Pillow drops the warning; simplejpeg
raises it as an error after decoding. ``handlers.imaging.jpeg_stream`` has removed before what
libjpeg warns of although no pixel suffers from it. TurboJPEG, which simplejpeg uses, has no name
for some sampling factors: those files are decoded by Pillow, and ``handlers.imaging.jpeg_entropy``
finds what libjpeg would warn of.
"""

import io

from PIL import Image, ImageChops, JpegImagePlugin

from handlers.imaging import cost, damage, jpeg_entropy, jpeg_stream, reader
from handlers.imaging.attempt import Attempt, Box, Decoded
from handlers.imaging.jpeg_stream import Stream
from handlers.stage import BadImage

_LAYOUTS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""The names of Pillow's modes in simplejpeg."""

_UNDECIDED = "tjDecompressHeader3"
"""Begins the error for sampling factors that TurboJPEG has no name for, such as 3x1."""

_NAMED = {(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4)}
"""The factors of the first component for which TurboJPEG has names, if the colours have 1x1."""

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
        raise _unsupported(frame.unsupported)
    opened = JpegImagePlugin.JpegImageFile(io.BytesIO(attempt.data))
    attempt.check_size(*opened.size)
    if _is_fractional(opened):
        raise _unsupported(f"a JPEG with the sampling factors {_factors(opened)}")
    if _has_named_sampling(opened):
        attempt.admit_opened(opened)
    else:
        attempt.admit(cost.of_checked_jpeg(opened, attempt.data, attempt.scans, attempt.edge))
    stream = jpeg_stream.extract(attempt.data)
    image, box, warned = _decode(attempt, opened, stream)
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
    attempt: Attempt, opened: JpegImagePlugin.JpegImageFile, stream: Stream
) -> tuple[Image.Image, Box, bool]:
    """Return the picture, the part of it that the file's size covers, and whether libjpeg warned.

    The picture is mode L, RGB or CMYK.
    """
    # Imported here, because only decoder processes should take the 14 MB of NumPy.
    import simplejpeg  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    width, height = opened.size
    eighths = cost.jpeg_eighths(opened.size, attempt.edge)
    size = -(-width * eighths // 8), -(-height * eighths // 8)
    mode = opened.mode
    pixels = bytearray(size[0] * size[1] * len(mode))
    warned = False
    try:
        simplejpeg.decode_jpeg(
            stream.data, _LAYOUTS[mode], min_width=size[0], min_height=size[1], buffer=pixels
        )
    except ValueError as error:
        if str(error).startswith(_UNDECIDED):
            return _with_pillow(attempt, opened, stream)
        if str(error).startswith(_OUT_OF_MEMORY):
            raise MemoryError from error
        warned = True  # and the pixels are there
    image = Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
    # Programs that write CMYK invert it, as Adobe's do.
    image = ImageChops.invert(image) if mode == "CMYK" else image
    return image, (0, 0, width * eighths / 8, height * eighths / 8), warned


def _with_pillow(
    attempt: Attempt, opened: JpegImagePlugin.JpegImageFile, stream: Stream
) -> tuple[Image.Image, Box, bool]:
    """Decode a picture whose sampling factors TurboJPEG has no name for.

    Raises BadImage, ``unsupported-jpeg``, where nothing can tell damage: for arithmetic coding.
    """
    if stream.is_arithmetic:
        raise _unsupported(
            f"a JPEG with arithmetic coding and the sampling factors {_factors(opened)}"
        )
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(stream.data))
    _, box = reader.load(image, attempt.edge)
    return image, box, jpeg_entropy.is_broken(stream.data)


def _is_fractional(opened: JpegImagePlugin.JpegImageFile) -> bool:
    """Return whether a component has a fraction of the samples of the largest, as 2/3.

    libjpeg decodes only whole numbers of pixels a sample.
    """
    if len(opened.layer) == 1:
        return False
    across, down = zip(*((each[1], each[2]) for each in opened.layer), strict=True)
    return any(max(factors) % each for factors in (across, down) for each in factors if each)


def _has_named_sampling(opened: JpegImagePlugin.JpegImageFile) -> bool:
    """Return whether TurboJPEG surely has a name for the sampling factors."""
    first, *others = [(across, down) for _, across, down, _ in opened.layer]
    black = others.pop() if len(others) == 3 else first
    return not others or (
        first in _NAMED and black == first and all(each == (1, 1) for each in others)
    )


def _factors(opened: JpegImagePlugin.JpegImageFile) -> str:
    return ",".join(f"{across}x{down}" for _, across, down, _ in opened.layer)


def _unsupported(kind: str) -> BadImage:
    message = f"The file is {kind}, which cannot be decoded here."
    return BadImage("unsupported-jpeg", message)
