"""Load a photo's bytes as the picture that all stages share: decoded once, bounded, upright, sRGB.

Pure: bytes in, Struct out. Two loads of the same bytes give the same picture.
"""

import msgspec
from PIL import Image

from domain.photo.formats import HEAD_BYTES, refusal, sniff
from domain.photo.results import Raw
from domain.pipeline.failures import Category
from handlers.imaging import complexity, heic, jxl, scaling
from handlers.imaging.attempt import Admit, Attempt, fitted, working_edge
from handlers.imaging.colours import coding, conversion, gain_map
from handlers.imaging.colours.coding import Coding
from handlers.imaging.cost import Cost
from handlers.imaging.decoding import decode
from handlers.imaging.metadata import embedded
from handlers.imaging.metadata.embedded import Embedded
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.values import integer
from handlers.imaging.raw import kinds
from handlers.stage import BadImage, ImageLimits, StageContext, StageFailure

# TIFF 6.0, tag 274: how to turn a stored picture upright, by its orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_DECLARED_BY_EXIF = ("JPEG", "TIFF", "WebP")
"""The formats that have no other place for a colour space but an ICC profile."""

_LYING = 5
"""From this orientation on, width and height are swapped."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded photo, ready for the stages.

    ``image`` is the first frame: upright, sRGB as RGB or RGBA, without metadata, and no larger
    than the renditions need. ``width`` and ``height`` are those of the upright original, in
    pixels; ``orientation`` is how the file stores it, 1 to 8. ``colour_space`` names the space that
    its colours were converted from. ``raw`` is None unless the file is RAW.
    """

    format: str
    mime_type: str
    width: int
    height: int
    frames: int
    orientation: int
    embedded: Embedded
    damaged: bool
    warning: str | None
    colour_space: str
    has_gain_map: bool
    image: Image.Image
    raw: Raw | None = None

    @property
    def size_bytes(self) -> int:
        """The memory of ``image``: Pillow keeps RGB and RGBA in four bytes a pixel."""
        return self.image.width * self.image.height * 4


def admit_all(_cost: Cost) -> None:
    """Allow any cost."""


def load(data: bytes, context: StageContext | None = None, admit: Admit = admit_all) -> Picture:
    """Decode the whole first frame and reduce it to the picture that stages share.

    Raises:
        TooCostly: as ``admit`` does.
        BadImage: ``not-an-image``, ``unreadable-image``, ``too-many-pixels``, ``too-many-frames``,
            ``too-many-parts``, ``too-many-scans``, ``layout-not-supported``,
            ``raw-without-preview``, ``unsupported-jpeg``.
        StageFailure: ``format-refused``, ``heic-not-supported``, ``jxl-not-supported``.
        MemoryError: the limits allow more than the process may use.
    """
    context = context or StageContext()
    kind = sniff(data[:HEAD_BYTES])
    if kind is None:
        raise BadImage("not-an-image", refusal(data))
    if kind[0] == "TIFF" and (found := kinds.within_tiff(data)) is not None:
        kind = kinds.NAME, found.mime_type
    _check_format(kind[0], context.limits)
    attempt = Attempt(
        data=data,
        name=kind[0],
        mime_type=kind[1],
        context=context,
        admit=admit,
        scans=complexity.check(data, kind[0], context.limits),
    )
    decoded = decode(attempt)
    found = embedded.read(data, kind[0], decoded.blocks)

    # Reduced first: later steps then cost a tenth, with no visible difference.
    size = fitted(decoded.size, working_edge(context))
    image = scaling.reduce_quickly(decoded.image, size, decoded.box)
    space = decoded.coding
    if kind[0] in _DECLARED_BY_EXIF:
        space = space or _declared(found.tags)
    converted = conversion.to_srgb(image, decoded.profile, space)
    image = conversion.without_idle_alpha(converted.image)
    image = _upright(image, found.turn)
    image.info = {}

    width, height = decoded.original or decoded.size
    if found.turn >= _LYING:
        width, height = height, width
    return Picture(
        format=kind[0],
        mime_type=kind[1],
        width=width,
        height=height,
        frames=decoded.frames,
        orientation=found.orientation,
        embedded=found,
        damaged=decoded.damage is not None,
        warning=decoded.damage or decoded.notice or converted.warning,
        colour_space=converted.space,
        has_gain_map=gain_map.is_in(data, kind[0]),
        image=image,
        raw=decoded.raw,
    )


def _declared(tags: Tags) -> Coding | None:
    """Return the colour space that EXIF declares."""
    return coding.of_exif(integer(tags.of(Tag.COLOUR_SPACE)), tags.interoperability)


def _check_format(name: str, limits: ImageLimits) -> None:
    if name in limits.refused_formats.split():
        message = (
            f"{name} is disabled by the setting `refused_formats`. The original is kept: "
            "once the format is allowed again, run `photolog dead-letters retry --category "
            "configuration`."
        )
        raise StageFailure(Category.CONFIGURATION, "format-refused", message)
    if name in heic.FORMATS:
        heic.require()
    if name == jxl.NAME:
        jxl.require()


def fit(image: Image.Image, edge: int) -> Image.Image:
    """Reduce ``image`` to a longest edge of ``edge``, with the sharpest filter."""
    size = fitted(image.size, edge)
    if size == image.size:
        return image
    return scaling.reduce(image, size)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
