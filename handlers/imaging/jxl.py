"""Read JPEG XL with pillow-jxl-plugin, an optional extra because of its licence.

``ops/guides/decisions/jpeg-xl.md`` gives the reasons. Its decoder is called without its plug-in,
which opens files with all of Pillow's decoders. Sections are those of ISO/IEC 18181-1:2024.
"""

from typing import Any, cast

import msgspec
from PIL import Image

from domain.pipeline.failures import Category
from handlers.imaging import complexity, cost, heif_boxes, jpeg
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.colours import conversion
from handlers.imaging.metadata import containers, exif
from handlers.imaging.metadata.containers import Blocks, with_header
from handlers.stage import BadImage, StageFailure

try:
    import pillow_jxl
except ModuleNotFoundError:
    pillow_jxl = None

NAME = "JXL"

HOW_TO_ENABLE = (
    "JPEG XL is not supported by this worker, because pillow-jxl-plugin is not installed. The "
    "original is kept: install `photolog[jxl]`, then run `photolog dead-letters retry --category "
    "configuration`."
)

_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 64

# Width as a fraction of the height, by the field "ratio" (D.2).
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)
_PREVIEW_SIZES = ((6, 1), (8, 65), (10, 321), (12, 1345))


class Header(msgspec.Struct, frozen=True):
    """The size of the picture as stored, its orientation, and whether the file is an animation."""

    width: int
    height: int
    animated: bool
    orientation: int = 1


def require() -> None:
    """Raise StageFailure ``jxl-not-supported`` if pillow-jxl-plugin is not installed."""
    if pillow_jxl is None:
        raise StageFailure(Category.CONFIGURATION, "jxl-not-supported", HOW_TO_ENABLE)


def read(attempt: Attempt) -> Decoded:
    """Decode the picture, which libjxl turns upright.

    Raises:
        StageFailure: ``jxl-not-supported``.
        BadImage: ``layout-not-supported`` for an animation, or a limit is exceeded.
        TooCostly: as the attempt decides.
        Exception: what the decoder raises on broken bytes.
    """
    require()
    found = header(attempt.data)
    attempt.check_size(found.width, found.height)
    attempt.admit(cost.of_jxl(attempt.data, attempt.pixels, attempt.edge))
    if found.animated:
        message = "Animated JPEG XL is not supported. Upload its first picture as JPEG XL or PNG."
        raise BadImage("layout-not-supported", message)
    decoder = cast("Any", pillow_jxl).Decoder(num_threads=0)
    is_jpeg, facts, data, profile, boxes = decoder(attempt.data)
    if is_jpeg:
        return _recompressed(attempt, data)
    mode = "F" if facts.mode == "F;16" else facts.mode
    size = (facts.width, facts.height)
    image = Image.frombytes(mode, size, data)  # pyright: ignore[reportUnknownMemberType]
    del data
    # The codestream's orientation counts, which libjxl has undone; that of EXIF is a copy.
    return Decoded(
        image=conversion.to_eight_bits(image),
        size=size,
        box=(0, 0, *size),
        frames=1,
        profile=profile or None,
        blocks=_blocks(boxes, found.orientation),
    )


def header(data: bytes) -> Header:
    """Parse the beginning of the codestream (D.2, D.3); raises ValueError if there is none."""
    bits = _Bits(_codestream(data))
    width, height = _size(bits)
    animated, orientation = False, 1
    if not bits.take(1) and bits.take(1):  # neither all defaults nor only basic fields
        orientation = bits.take(3) + 1
        if bits.take(1):
            _size(bits)
        if bits.take(1):
            _skip_preview(bits)
        animated = bool(bits.take(1))
    return Header(width, height, animated, orientation)


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which a box may hold in one piece or several."""
    if not data.startswith(_CODESTREAM):
        for box in heif_boxes.boxes(data):
            if box.kind in (b"jxlc", b"jxlp"):
                start = box.start + (4 if box.kind == b"jxlp" else 0)
                data = data[start : start + _HEADER_BYTES]
                break
    if not data.startswith(_CODESTREAM):
        raise ValueError("no codestream")
    return data[len(_CODESTREAM) : _HEADER_BYTES]


class _Bits:
    """Bits of a codestream, the least significant of a byte first (B.1)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the header ends early")
        self._left -= count
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def edge() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.take(_SIZE_BITS[bits.take(2)]) + 1

    height = edge()
    ratio = bits.take(3)
    over, under = _RATIOS[ratio]
    return (height * over // under if ratio else edge()), height


def _skip_preview(bits: _Bits) -> None:
    by_eight = bits.take(1)

    def edge() -> None:
        choice = bits.take(2)
        if by_eight:
            bits.take((0, 0, 5, 9)[choice])
        else:
            bits.take(_PREVIEW_SIZES[choice][0])

    edge()
    if bits.take(3) == 0:
        edge()


def _recompressed(attempt: Attempt, data: bytes) -> Decoded:
    """Decode the JPEG that the file was made of, which libjxl restores byte for byte."""
    inner = msgspec.structs.replace(
        attempt,
        data=data,
        name="JPEG",
        scans=complexity.check(data, "JPEG", attempt.context.limits),
    )
    blocks = containers.find(data, "JPEG")
    blocks.orientation = exif.read(blocks.exif).orientation
    return msgspec.structs.replace(jpeg.read(inner), blocks=blocks)


def _blocks(boxes: list[Any], orientation: int) -> Blocks:
    """Return the boxes of metadata; Exif begins with the offset of the TIFF header."""
    found = {bytes(box.box_type): bytes(box.data) for box in reversed(boxes)}
    return Blocks(
        exif=with_header(found.get(b"Exif", b"")),
        xmp=found.get(b"xml ", b""),
        orientation=orientation,
        is_upright=True,
    )
