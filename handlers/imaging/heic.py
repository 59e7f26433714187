"""Read HEIC and HEIF with pillow-heif, an optional extra because of its wheels' licence.

``ops/guides/decisions/heic.md`` gives the reasons. Importing this module loads libheif and its
decoder, so that no file has to be opened later.
"""

import io
from typing import IO, Any, cast

import msgspec
from PIL import Image, ImageFile

from domain.pipeline.failures import Category
from handlers.imaging import damage, frames, heif_boxes, reader
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.colours import heif_marks, tone
from handlers.imaging.colours.coding import Coding
from handlers.imaging.colours.tone import Shaped
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
    image = _open(io.BytesIO(attempt.data))
    attempt.check_size(*image.size)
    space = None if attempt.lenient else _deep_space(attempt.data, image)
    attempt.admit_opened(image, deep=space is not None)
    decoded = _deep(attempt, image, space) if space else reader.decode_opened(attempt, image)
    return msgspec.structs.replace(decoded, frames=max(decoded.frames, length))


def _deep_space(data: bytes, image: ImageFile.ImageFile) -> Coding | None:
    """Return the space of a picture whose colours would suffer if it were decoded to eight bits."""
    colours = heif_marks.of_primary(data)
    if colours.profile or colours.coding is None or image.info.get("bit_depth", 8) <= 8:
        return None
    return colours.coding if colours.coding.needs_depth else None


def _deep(attempt: Attempt, image: ImageFile.ImageFile, space: Coding) -> Decoded:
    """Decode to 16 bits, and bring those to eight in ``tone``."""
    count = frames.count(image, attempt.data, attempt.context.limits.max_frames)
    attempt.check_frames(count)
    picture, shaped = _decoded(attempt.data, space)
    return Decoded(
        image=picture,
        size=image.size,
        box=(0, 0, *picture.size),
        frames=count,
        profile=None,
        coding=shaped,
        damage=damage.find(attempt.data, attempt.name),
    )


def _decoded(data: bytes, space: Coding) -> tuple[Image.Image, Shaped]:
    if pillow_heif is None:
        raise _not_supported()
    file = cast("Any", pillow_heif).open_heif(
        io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=True, remove_stride=False
    )
    samples = len(file.mode.partition(";")[0])
    return tone.of_deep(tone.interleaved(file.data, file.size, file.stride, samples), space)


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
