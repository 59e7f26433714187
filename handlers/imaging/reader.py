"""Read a picture with one of Pillow's decoders, within bounds, as far as it can be decoded."""

import io
from collections.abc import Callable
from typing import IO, Any

from PIL import ImageFile, JpegImagePlugin

from handlers.imaging import damage, frames
from handlers.imaging.attempt import Attempt, Box, Decoded, Size, fitted
from handlers.imaging.colours import conversion, heif_marks
from handlers.imaging.colours.heif_marks import Colours

_BOXED = ("AVIF", "HEIC", "HEIF")

Opener = Callable[[IO[bytes]], ImageFile.ImageFile]


def read(attempt: Attempt, opener: Opener) -> Decoded:
    """Open the file with ``opener``, check its bounds and decode its first frame.

    Raises:
        BadImage: ``too-many-pixels``, ``too-many-frames``.
        TooCostly: as the attempt decides.
        Exception: anything that a decoder raises on broken bytes.
    """
    image = opener(io.BytesIO(attempt.data))
    attempt.check_size(*image.size)
    attempt.admit_opened(image)
    return decode_opened(attempt, image)


def decode_opened(attempt: Attempt, image: ImageFile.ImageFile) -> Decoded:
    """Decode the first frame of a picture whose size and cost are within bounds."""
    count = frames.count(image, attempt.data, attempt.context.limits.max_frames)
    attempt.check_frames(count)
    size, box = load(image, attempt.edge)
    colours = heif_marks.of_primary(attempt.data) if attempt.name in _BOXED else Colours()
    return Decoded(
        image=conversion.to_eight_bits(image),
        size=size,
        box=box,
        frames=count,
        profile=profile(image.info) or colours.profile,
        coding=colours.coding,
        damage=damage.BROKEN if attempt.lenient else damage.find(attempt.data, attempt.name),
    )


def load(image: ImageFile.ImageFile, edge: int) -> tuple[Size, Box]:
    """Decode; a JPEG at 1/2, 1/4 or 1/8 if that is enough, which still reads all its data."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        size = image.size
        draft = image.draft(None, fitted(size, edge))
        image.load()
        return size, draft[1] if draft else (0, 0, *size)
    image.load()
    return image.size, (0, 0, *image.size)


def profile(info: dict[Any, Any]) -> bytes | None:
    """Return the ICC profile that a decoder has found; None without one."""
    found = info.get("icc_profile")
    return found if isinstance(found, bytes) and found else None
