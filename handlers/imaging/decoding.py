"""Decode a file of any format: strictly, or else as far as possible.

Each format has a reader, which takes an ``Attempt`` and returns a ``Decoded``. Most are Pillow's
decoders behind ``reader.read``; a format that needs more has a module of its own. Each reader calls
``Attempt.check_size`` once it knows the size, before it decodes any pixels.
"""

import contextlib
import warnings
from collections.abc import Callable, Generator
from functools import partial

import msgspec
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
)

from handlers.imaging import damage, gif, heic, jpeg, jxl, png, reader, webp_reader
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.cost import TooCostly
from handlers.imaging.raw import reader as raw_reader
from handlers.imaging.tiff import reader as tiff_reader
from handlers.stage import StageFailure

Reader = Callable[[Attempt], Decoded]

# The only readers in use. The content of the file alone selects one.
READERS: dict[str, Reader] = {
    "JPEG": jpeg.read,
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
        raise attempt.unreadable() from error
    if damage.is_flat(decoded.image):
        raise attempt.unreadable()
    if "truncated" in flaw:
        return msgspec.structs.replace(decoded, damage=damage.CUT)
    return decoded


def _try(attempt: Attempt) -> Decoded:
    with _pillow(lenient=attempt.lenient):
        return READERS[attempt.name](attempt)


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
