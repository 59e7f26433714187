"""Estimate the memory and time of decoding a picture from its header, before decoding a pixel.

The numbers are peak memory and processor time of ``picture.load``, measured at 24 and 96 megapixels
(2026, Pillow 13, x86-64). Memory is what the picture's mode takes while it is converted and
reduced, plus what the decoder holds meanwhile:

| bytes a pixel | measured | charged |
|---|---|---|
| PNG: RGB, RGBA, grey, palette | 4, 8, 1, 5 | the same |
| 16-bit grey | 11 | the same |
| TIFF | 6 to 24 | see ``of_tiff`` |
| GIF | 5 | 5 |
| JPEG, at the scale it is decoded at | 6 to 11, with later steps | 8, and the file once more |
| progressive JPEG, more at full scale | 3 to 8 | 2 a component |
| WebP: lossy, other | 16, 16 to 18.9 | 17, 20 |
| AVIF: 4:2:0, 4:4:4, eight bits | 8.4, 9.9 | 14, for ten bits too |
| HEIC | 8.8 | 14 |

A tiny file may legitimately declare many pixels, for example a picture of one colour. So a picture
that is cheap to send and expensive to decode is charged for, not rejected.
"""

import math

import msgspec
from PIL import ImageFile, JpegImagePlugin

from handlers.imaging.tiff import layout as layouts
from handlers.imaging.tiff.layout import Layout

_FIXED_BYTES_PER_EDGE = 16
"""Times the square of the working edge: the memory of the steps after decoding. Measured: 13."""

_FIXED_S = 0.05

_MODE_BYTES = {
    "1": 2,
    "L": 1,
    "P": 5,
    "RGB": 4,
    "CMYK": 4,
    "LAB": 4,
    "I": 9,
    "F": 9,
    "RGBA": 8,
    "LA": 8,
    "YCbCr": 8,
    "PA": 12,
    "RGBX": 8,
    "RGBa": 8,
    "La": 8,
    "HSV": 8,
}
_DEEP_BYTES = 11  # I;16 and its variants
_UNKNOWN_BYTES = 12

_KEYED_BYTES = 8
"""Extra bytes if one colour stands for transparent, or around a smaller first frame of a GIF: the
picture becomes RGBA."""

_SCALING_BYTES = 9
"""Two pictures of 32 bits and the result, while a band is scaled to eight bits."""

_DECODER_BYTES = {"AVIF": 10, "HEIC": 10, "HEIF": 10}

_DEPTH_BYTES = {"PNG": 14, "HEIC": 14, "HEIF": 14}
_DEPTH_S_PER_PIXEL = 60e-9
"""More for samples of more than eight bits that are kept until they are tone mapped."""

_WEBP_BYTES, _WEBP_LOSSLESS_BYTES = 17, 20

_JXL_BYTES = 24
"""Measured: 7 to 10. A decoder needs more for frames that refer to others."""

_S_PER_PIXEL = {
    # Measured, in nanoseconds: 23 to 59 for 16-bit RGBA, 11, 26, 18, 33
    "PNG": 60e-9,
    "GIF": 12e-9,
    "TIFF": 30e-9,
    "AVIF": 20e-9,
    "HEIC": 35e-9,
    "HEIF": 35e-9,
    "WebP": 32e-9,
    "JPEG": 6e-9,
    "JXL": 120e-9,  # 33 to 94
}
_S_PER_PIXEL_OF_SAMPLES = 75e-9
"""For a TIFF whose samples are decoded one by one."""

_S_PER_CHECKED_TIFF_BYTE = {
    layouts.DEFLATE: (0, 5e-9),
    layouts.OLD_DEFLATE: (0, 5e-9),
    layouts.LZMA: (0, 60e-9),
    layouts.PACK_BITS: (0.2e-6, 0),
}
"""To check strips once more: for each byte of the file, and for each byte of the samples."""

_LONGEST_CHECK_S = 0.8
_S_PER_CHECKED_CODE_BYTE = {
    layouts.LZW: 0.4e-6,
    layouts.MODIFIED_HUFFMAN: 0.8e-6,
    layouts.GROUP_3: 0.8e-6,
}
"""The checks of codes are bounded."""

_S_PER_PIXEL_OF_A_SCAN = 2e-9
"""For a JPEG with several scans. Measured: 1.6 with ten scans of a photo."""

_S_PER_CHECKED_BYTE = 2.5e-6
_S_PER_CHECKED_BLOCK = 0.3e-6
"""For a JPEG whose codes are checked in Python. A block of a progressive one takes this in each
scan, and ``_CHECKED_BLOCK_BYTES``."""

_BLOCK_PIXELS, _CHECKED_BLOCK_BYTES = 64, 40

_COEFFICIENT_BYTES = 2
_UNPACKED_BYTES = 4
"""More for a JPEG, whose pixels libjpeg-turbo packs and Pillow does not. Where only Pillow can
decode it, the scale is 1/2, 1/4 or 1/8: at most 2.6 times the pixels, but only once."""

_MOST_BYTES, _MOST_S = 1 << 50, 1e6


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one decode: peak memory beyond that of an idle decoder, and processor time."""

    memory_bytes: int
    seconds: float
    pixels: int = 0

    def is_within(self, allowed: "Cost") -> bool:
        return self.memory_bytes <= allowed.memory_bytes and self.seconds <= allowed.seconds

    @property
    def is_sane(self) -> bool:
        """Whether these are numbers that a cost can have; a decoder may lie."""
        bytes_and_pixels = 0 <= self.memory_bytes <= _MOST_BYTES and 0 <= self.pixels <= _MOST_BYTES
        return bytes_and_pixels and 0 <= self.seconds <= _MOST_S


class TooCostly(Exception):
    """The picture costs more than was allowed, so it was not decoded."""

    def __init__(self, cost: Cost) -> None:
        super().__init__(f"about {cost.memory_bytes} bytes and {cost.seconds:.1f} s")
        self.cost = cost


def of_webp(data: bytes, pixels: int, edge: int) -> Cost:
    """Estimate the cost of a WebP file before opening it, which allocates the whole canvas."""
    a_pixel = _WEBP_BYTES if data[12:16] == b"VP8 " else _WEBP_LOSSLESS_BYTES
    return _cost(data, edge, pixels, pixels * a_pixel, pixels * _S_PER_PIXEL["WebP"])


def of_jxl(data: bytes, pixels: int, edge: int) -> Cost:
    """Estimate the cost of a JPEG XL, whose decoder decodes everything when it opens a file."""
    return _cost(data, edge, pixels, pixels * _JXL_BYTES, pixels * _S_PER_PIXEL["JXL"])


def of_tiff(layout: Layout, data: bytes, edge: int) -> Cost:
    """Estimate the cost of a TIFF: its samples as libtiff decodes them, and as eight bits.

    Measured in bytes and nanoseconds a pixel, without strips: RGB of 8 and 16 bits 6 and 10, RGBA
    10 and 17 to 23, grey of 16 bits 11 and 15, planes 7 and 13 to 19, RGB of 32 bits 22 and 42,
    floating point 24 and 62. A strip or tile may hold the whole picture.
    """
    pixels = layout.width * layout.height
    bands = layout.colours + (layout.alpha is not None)
    strip = layout.bits / 8 * (1 if layout.planar else layout.samples)
    picture = 8 if layout.alpha is not None else 5
    if layout.is_simple:
        decode_bytes = math.ceil(pixels * (picture + 1 + strip))
        seconds = pixels * _S_PER_PIXEL["TIFF"] + _tiff_check_s(layout, data)
        return _cost(data, edge, pixels, decode_bytes, seconds)
    row = 0 if layout.planar or layout.samples == 1 else layout.sample_bytes * layout.samples
    if layout.is_unsigned:
        scaling = _SCALING_BYTES if layout.bits in (12, 16) and layout.colours == 1 else 0
        a_pixel = row + layout.sample_bytes + bands + picture + scaling
    else:
        a_pixel = layout.sample_bytes * bands + max(row, _SCALING_BYTES) + bands
    copy = len(data) if layout.samples > 1 else 0
    decode_bytes = copy + math.ceil(pixels * (a_pixel + strip))
    seconds = pixels * _S_PER_PIXEL_OF_SAMPLES + _tiff_check_s(layout, data)
    return _cost(data, edge, pixels, decode_bytes, seconds)


def _tiff_check_s(layout: Layout, data: bytes) -> float:
    if layout.compression in _S_PER_CHECKED_CODE_BYTE:
        a_byte = _S_PER_CHECKED_CODE_BYTE[layout.compression]
        return min(_LONGEST_CHECK_S, len(data) * a_byte)
    a_stored, a_decoded = _S_PER_CHECKED_TIFF_BYTE.get(layout.compression, (0, 0))
    samples = layout.width * layout.height * layout.samples
    return len(data) * a_stored + samples * layout.bits / 8 * a_decoded


def of_opened(image: ImageFile.ImageFile, name: str, data: bytes, scans: int, edge: int) -> Cost:
    """Estimate the cost of an opened picture for a working size of ``edge``.

    ``scans`` is the number of scans of a JPEG.
    """
    pixels = image.width * image.height
    decoded, more_bytes, seconds = pixels, 0, pixels * _S_PER_PIXEL[name]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        decoded = _reduced(image.size, edge)
        if scans > 1 or "progressive" in image.info:
            more_bytes = pixels * _COEFFICIENT_BYTES * len(image.layer)
            seconds += pixels * _S_PER_PIXEL_OF_A_SCAN * scans
        more_bytes += len(data) + decoded * _UNPACKED_BYTES
    a_pixel = _bytes_of(image) + _DECODER_BYTES.get(name, 0)
    return _cost(data, edge, pixels, decoded * a_pixel + more_bytes, seconds)


def of_checked_jpeg(
    image: JpegImagePlugin.JpegImageFile, data: bytes, scans: int, edge: int
) -> Cost:
    """Estimate the cost of a JPEG whose codes ``jpeg_entropy`` checks after it is decoded."""
    estimated = of_opened(image, "JPEG", data, scans, edge)
    blocks = estimated.pixels * len(image.layer) / _BLOCK_PIXELS
    seconds = len(data) * _S_PER_CHECKED_BYTE + blocks * max(1, scans) * _S_PER_CHECKED_BLOCK
    return Cost(
        memory_bytes=estimated.memory_bytes + math.ceil(blocks * _CHECKED_BLOCK_BYTES),
        seconds=estimated.seconds + seconds,
        pixels=estimated.pixels,
    )


def with_depth(cost: Cost, name: str) -> Cost:
    """Add what it costs to decode more than eight bits of each sample of this format."""
    return Cost(
        memory_bytes=cost.memory_bytes + cost.pixels * _DEPTH_BYTES[name],
        seconds=cost.seconds + cost.pixels * _DEPTH_S_PER_PIXEL,
        pixels=cost.pixels,
    )


def _cost(data: bytes, edge: int, pixels: int, decode_bytes: int, seconds: float) -> Cost:
    fixed_bytes = _FIXED_BYTES_PER_EDGE * edge * edge + len(data)
    return Cost(memory_bytes=fixed_bytes + decode_bytes, seconds=_FIXED_S + seconds, pixels=pixels)


def _bytes_of(image: ImageFile.ImageFile) -> int:
    if image.mode.startswith("I;16"):
        return _DEEP_BYTES
    keyed = _KEYED_BYTES if "transparency" in image.info or _is_partial(image) else 0
    return _MODE_BYTES.get(image.mode, _UNKNOWN_BYTES) + keyed


def _is_partial(image: ImageFile.ImageFile) -> bool:
    extents = image.tile[0].extents if image.format == "GIF" and image.tile else None
    return extents not in (None, (0, 0, *image.size))


def jpeg_eighths(size: tuple[int, int], edge: int) -> int:
    """Return the smallest scale of a JPEG, in eighths, at which ``edge`` pixels are left."""
    longest = max(size)
    return math.ceil(8 * min(edge, longest) / longest)


def _reduced(size: tuple[int, int], edge: int) -> int:
    """Return the pixels of a JPEG at the scale that it is decoded at."""
    eighths = jpeg_eighths(size, edge)
    return math.ceil(size[0] * eighths / 8) * math.ceil(size[1] * eighths / 8)
