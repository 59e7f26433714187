"""Decode a file of any format: strictly, or else as far as possible.

Each format has a reader, which takes an ``Attempt`` and returns a ``Decoded``. Most are Pillow's
decoders behind ``reader.read``; a format that needs more has a module of its own.
"""

import contextlib
import resource
import warnings
from collections.abc import Callable, Generator
from functools import partial
from typing import cast

import msgspec
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
)

from handlers.imaging import damage, gif, heic, jxl, png, reader, webp_reader
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.cost import TooCostly
from handlers.imaging.raw import reader as raw_reader
from handlers.imaging.tiff import reader as tiff_reader
from handlers.stage import BadImage, StageFailure

Reader = Callable[[Attempt], Decoded]

# The only readers in use. The content of the file alone selects one.
READERS: dict[str, Reader] = {
    "JPEG": partial(reader.read, opener=JpegImagePlugin.JpegImageFile),
    "PNG": png.read,
    "WebP": webp_reader.read,
    "GIF": gif.read,
    "TIFF": tiff_reader.read,
    "AVIF": partial(reader.read, opener=AvifImagePlugin.AvifImageFile),
    "HEIC": heic.read,
    "HEIF": heic.read,
    "JXL": jxl.read,
    "RAW": raw_reader.read,
}

_BYTES_PER_PIXEL = 20
"""The peak of the decoder that takes most, WebP's: measured 18.9 at 144 million pixels."""

_JPEG_BLOCK = 16


def decode(attempt: Attempt) -> Decoded:
    """Decode strictly, or else as far as possible: part of a photo is worth keeping.

    Raises:
        TooCostly: as the attempt's ``admit`` does.
        BadImage: a bound is exceeded, or ``unreadable-image``.
        MemoryError: the limits allow more than the process may use.
    """
    try:
        return _try(attempt)
    except (StageFailure, MemoryError, TooCostly):
        raise
    # A decoder may raise anything on broken bytes; the second attempt decides what that means.
    except Exception as error:
        flaw = str(error)
    attempt.lenient = True
    try:
        decoded = _try(attempt)
    except (StageFailure, MemoryError, TooCostly):
        raise
    except Exception as error:
        raise _unreadable(attempt) from error
    if _is_flat(decoded.image):
        raise _unreadable(attempt)
    if "truncated" in flaw:
        return msgspec.structs.replace(decoded, damage=damage.CUT)
    return decoded


def _try(attempt: Attempt) -> Decoded:
    with _pillow(lenient=attempt.lenient):
        return READERS[attempt.name](attempt)


def _unreadable(attempt: Attempt) -> BadImage | MemoryError:
    """Return the failure; decoders also report a lack of memory as broken data."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY and attempt.pixels * _BYTES_PER_PIXEL > hard:
        return MemoryError()
    message = f"The file begins like a {attempt.name} file, but no picture can be read from it."
    return BadImage("unreadable-image", message)


def _is_flat(image: Image.Image) -> bool:
    """Return whether all pixels are equal, as in a broken file of which nothing was decoded.

    A JPEG decoder turns the last bytes into a few blocks of noise, so the top does not count.
    """
    if image.height > 2 * _JPEG_BLOCK:
        image = image.crop((0, _JPEG_BLOCK, image.width, image.height))
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in cast("tuple[tuple[float, float], ...]", bands))


@contextlib.contextmanager
def _pillow(*, lenient: bool) -> Generator[None]:
    """Set Pillow's process-wide switches for one decode, which has the process to itself."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    # The readers check the limit, as an error instead of a warning.
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = lenient
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before
