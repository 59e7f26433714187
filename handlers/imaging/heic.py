"""Read HEIC and HEIF with pillow-heif, an optional extra because of its wheels' licence.

``ops/guides/decisions/heic.md`` gives the reasons. Importing this module loads libheif and its
decoder, so that no file has to be opened later.
"""

from typing import IO, cast

import msgspec
from PIL import ImageFile

from domain.pipeline.failures import Category
from handlers.imaging import heif_boxes, reader
from handlers.imaging.attempt import Attempt, Decoded
from handlers.stage import StageFailure

try:
    import pillow_heif
except ModuleNotFoundError:
    pillow_heif = None

FORMATS = ("HEIC", "HEIF")

HOW_TO_ENABLE = (
    "HEIC is not supported by this worker, because pillow-heif is not installed. The original is "
    "kept: install `photolog[heic]`, then run `photolog dead-letters retry --category "
    "configuration`."
)


def require() -> None:
    """Raise StageFailure ``heic-not-supported`` if pillow-heif is not installed."""
    if pillow_heif is None:
        raise _not_supported()


def read(attempt: Attempt) -> Decoded:
    """Decode the primary picture. Raises StageFailure ``heic-not-supported``, or as a decoder.

    libheif turns a picture that has a rotation or a mirror image.
    """
    length = heif_boxes.sequence_length(attempt.data)
    attempt.check_frames(length)
    decoded = reader.read(attempt, _open)
    return msgspec.structs.replace(decoded, frames=max(decoded.frames, length))


def _open(file: IO[bytes]) -> ImageFile.ImageFile:
    if pillow_heif is None:
        raise _not_supported()
    return cast("ImageFile.ImageFile", pillow_heif.HeifImageFile(file))


def confine() -> None:
    """Limit decoding to the primary picture and one thread. Call it before the first ``read``."""
    if pillow_heif is not None:
        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.options.THUMBNAILS = False
        pillow_heif.options.DEPTH_IMAGES = False
        pillow_heif.options.AUX_IMAGES = False


def _not_supported() -> StageFailure:
    return StageFailure(Category.CONFIGURATION, "heic-not-supported", HOW_TO_ENABLE)
