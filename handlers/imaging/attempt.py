"""One attempt to decode a file, and what every format's reader returns."""

import resource
from collections.abc import Callable

import msgspec
from PIL import Image, ImageFile

from domain.photo.results import Raw
from domain.pipeline.failures import Category
from handlers.imaging import cost
from handlers.imaging.colours.coding import Coding
from handlers.imaging.colours.tone import Shaped
from handlers.imaging.cost import Cost
from handlers.imaging.metadata.containers import Blocks
from handlers.stage import BadImage, StageContext

SMALLEST_WORKING_EDGE = 600
"""The largest thumbnail, so that a recipe for small pictures does not shrink thumbnails."""

_BYTES_PER_PIXEL = 20
"""The peak of the decoder that takes most, WebP's: measured 18.9 at 144 million pixels."""

Size = tuple[int, int]
Box = tuple[float, float, float, float]

Admit = Callable[[Cost], None]
"""Called with the estimated cost before a decode; raises ``TooCostly`` to prevent it."""


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """Eight-bit pixels in the file's colours and orientation.

    ``box`` is the part of ``image`` that the original's ``size`` covers. ``profile`` is an ICC
    profile; ``coding`` the space that counts without a usable one, None where EXIF decides.
    ``damage`` is a sentence about parts of the picture that are missing or broken, ``notice`` one
    about anything else that a user should know. ``original`` is the size of the original if
    ``image`` is only a preview of it, which ``raw`` describes. ``blocks`` are the blocks of
    metadata that count; None where those of the file do.
    """

    image: Image.Image
    size: Size
    box: Box
    frames: int
    profile: bytes | None
    coding: Coding | Shaped | None = None
    damage: str | None = None
    notice: str | None = None
    original: Size | None = None
    raw: Raw | None = None
    blocks: Blocks | None = None


class Attempt(msgspec.Struct, kw_only=True):
    """A file to decode, and the bounds to check before its pixels are touched.

    ``scans`` is the number of scans of a JPEG. A ``lenient`` attempt keeps what can be decoded of
    a broken file. ``pixels`` is what the file's header declares, 0 until a reader has read it.
    """

    data: bytes
    name: str
    mime_type: str
    context: StageContext
    admit: Admit
    scans: int = 0
    lenient: bool = False
    pixels: int = 0

    @property
    def edge(self) -> int:
        """The longest edge, in pixels, that any rendition needs."""
        return working_edge(self.context)

    def check_size(self, width: int, height: int) -> None:
        """Record the declared size; raises BadImage, ``too-many-pixels``."""
        self.pixels = width * height
        if self.pixels > self.context.limits.max_pixels:
            largest = f"{self.context.limits.max_pixels / 1_000_000:g} megapixels"
            message = f"The picture has more than {largest}."
            raise BadImage("too-many-pixels", message, Category.SECURITY)

    def check_frames(self, count: int) -> None:
        """Raise BadImage, ``too-many-frames``, if the file has more frames than are allowed."""
        if count > self.context.limits.max_frames:
            message = f"The picture has more than {self.context.limits.max_frames} frames."
            raise BadImage("too-many-frames", message, Category.SECURITY)

    def admit_opened(self, image: ImageFile.ImageFile, *, deep: bool = False) -> None:
        """Ask whether the opened picture may be decoded; raises TooCostly.

        ``deep`` says that its samples are decoded with more than eight bits.
        """
        estimated = cost.of_opened(image, self.name, self.data, self.scans, self.edge)
        self.admit(cost.with_depth(estimated, self.name) if deep else estimated)

    def unreadable(self) -> BadImage | MemoryError:
        """Return the failure; decoders also report a lack of memory as broken data."""
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY and self.pixels * _BYTES_PER_PIXEL > hard:
            return MemoryError()
        message = f"The file begins like a {self.name} file, but no picture can be read from it."
        return BadImage("unreadable-image", message)


def working_edge(context: StageContext) -> int:
    return max(context.recipe.longest_edge, SMALLEST_WORKING_EDGE)


def fitted(size: Size, edge: int) -> Size:
    """Reduce ``size`` to a longest edge of ``edge``; never enlarge, and keep at least 1 pixel."""
    longest = max(size)
    if longest <= edge:
        return size
    width, height = size
    return max(1, round(width * edge / longest)), max(1, round(height * edge / longest))
