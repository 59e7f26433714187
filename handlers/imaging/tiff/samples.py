"""Decode the samples of a TIFF with libtiff, through Pillow's decoder, into eight bits.

libtiff undoes every compression, predictor, byte order, bit order and division into strips and
tiles. Its decoder in Pillow takes any way to unpack a pixel whose bits add up. So planes are
decoded one by one, from a directory that describes one plane alone; and where no way to unpack all
samples of a pixel exists, a row is decoded as a longer row of single samples.
"""

import functools
import struct
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from PIL import Image

from handlers.imaging.bands import mapped
from handlers.imaging.tiff import complaints
from handlers.imaging.tiff import layout as fields
from handlers.imaging.tiff.directory import Directory, appended
from handlers.imaging.tiff.layout import FLOAT, INT, UINT, Layout

_LITTLE = sys.byteorder == "little"

# Mode and raw mode for one sample a pixel. Of integers of more than 16 bits, the highest byte is
# kept: libtiff returns them in this machine's byte order, and the bands are their bytes.
_SINGLE = {
    (UINT, 1): ("1", "1"),
    (UINT, 2): ("L", "L;2"),
    (UINT, 4): ("L", "L;4"),
    (UINT, 8): ("L", "L"),
    (UINT, 12): ("I;16", "I;12"),
    (UINT, 16): ("I;16", "I;16N"),
    (UINT, 24): ("RGB", "RGB"),
    (UINT, 32): ("RGBA", "RGBA"),
    (UINT, 64): ("RGBA", "RGBA;16L" if _LITTLE else "RGBA;16B"),
    (INT, 32): ("I", "I;32NS"),
    (FLOAT, 16): ("I;16", "I;16N"),
    (FLOAT, 32): ("F", "F;32NF"),
    (FLOAT, 64): ("F", "F;64NF"),
}
# Of colours, the higher byte of 16 bits is enough, and it is right for signed a* and b* too.
_BAND = {**_SINGLE, (UINT, 16): ("L", "L;16" if _LITTLE else "L;16B")}
_INDEX = {1: ("P", "P;1"), 2: ("P", "P;2"), 4: ("P", "P;4"), 8: ("P", "P")}

# For all samples of a pixel at once: colours, whether the next sample is alpha, bits, samples.
_WHOLE = {
    (1, False, 8, 2): ("LA", "LA"),
    (1, True, 8, 2): ("LA", "LA"),
    (3, False, 8, 3): ("RGB", "RGB"),
    (3, False, 8, 4): ("RGB", "RGBX"),
    (3, False, 8, 5): ("RGB", "RGBXX"),
    (3, False, 8, 6): ("RGB", "RGBXXX"),
    (3, True, 8, 4): ("RGBA", "RGBA"),
    (3, True, 8, 5): ("RGBA", "RGBAX"),
    (3, True, 8, 6): ("RGBA", "RGBAXX"),
    (3, False, 16, 3): ("RGB", "RGB;16N"),
    (3, False, 16, 4): ("RGB", "RGBX;16N"),
    (3, True, 16, 4): ("RGBA", "RGBA;16N"),
    (4, False, 8, 4): ("CMYK", "CMYK"),
    (4, False, 8, 5): ("CMYK", "CMYKX"),
    (4, False, 8, 6): ("CMYK", "CMYKXX"),
    (4, False, 16, 4): ("CMYK", "CMYK;16N"),
}
# Modes of associated alpha, which Pillow divides out at the precision of the file.
_ASSOCIATED = {"RGBA": "RGBa", "RGBAX": "RGBaX", "RGBAXX": "RGBaXX", "RGBA;16N": "RGBa;16N"}

# Fields that say how a plane is stored; all others describe the picture.
_STORAGE = (
    *(fields.WIDTH, fields.LENGTH, fields.COMPRESSION, fields.FILL_ORDER, fields.ROWS_PER_STRIP),
    *(fields.T4_OPTIONS, fields.T6_OPTIONS, fields.PREDICTOR, fields.TILE_WIDTH),
    *(fields.TILE_LENGTH, fields.JPEG_TABLES),
)
_PLACES = (fields.STRIP_OFFSETS, fields.STRIP_BYTES, fields.TILE_OFFSETS, fields.TILE_BYTES)

_HALF_A_THOUSANDTH = 0.0005
"""Added before fractions are cut off, since 40092 / 257 must not come out as 155.99."""

_HALF_INFINITY = 0x7C00


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """The decoded samples: in one picture, or band by band; ``damaged`` says if some are missing.

    ``white`` is the value that is shown as white where the file does not define one.
    """

    bands: tuple[Image.Image, ...]
    damaged: bool
    white: float | None = None


def decode(directory: Directory, layout: Layout) -> Samples:
    """Decode the samples of the colours, and then of alpha if there is one, each to mode L.

    If one picture of mode RGB, RGBA, CMYK, LA or P holds all of them, return that alone.

    Raises:
        BadImage: ``layout-not-supported``.
    """
    decoder = _Decoder(layout)
    if layout.photometric == fields.YCBCR:
        direct = layout.compression == fields.JPEG and not layout.planar
        return decoder.done(decoder.run(directory, "RGB", "RGB" if direct else "RGBX"))
    if not layout.planar:
        modes = _whole(layout)
        if modes is not None:
            return decoder.done(decoder.run(directory, *modes))
    wanted = [*range(layout.colours), *([] if layout.alpha is None else [layout.alpha])]
    found = _planes if layout.planar else _columns
    bands = found(decoder, directory, layout, wanted)
    if layout.sample_format == UINT:
        return decoder.done(*(_level(band, layout) for band in bands))
    raw = list(bands)
    white = _white(raw[: layout.colours], layout)
    colours = [_level(band, layout, white) for band in raw[: layout.colours]]
    alpha = [_level(band, layout) for band in raw[layout.colours :]]
    return decoder.done(*colours, *alpha, white=None if white == 1 else white)


class _Decoder:
    """Runs libtiff, and remembers whether it found damage."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._damaged = False

    def run(self, directory: Directory, mode: str, rawmode: str) -> Image.Image:
        """Decode the picture of a directory; rows that cannot be decoded stay black."""
        size = directory.number(fields.WIDTH), directory.number(fields.LENGTH)
        image = Image.new(mode, size)
        with complaints.heard() as said:
            try:
                image.frombytes(directory.data, "libtiff", (rawmode, False, directory.offset))
            except ValueError:
                self._damaged = True
            text = said()
        if complaints.lack_a_codec(text):
            name = f"{self._layout.name} with {self._layout.compression_name} compression"
            raise fields.refused(name)
        self._damaged = self._damaged or complaints.are_about_pixels(text)
        return image

    def done(self, *bands: Image.Image, white: float | None = None) -> Samples:
        return Samples(bands=bands, damaged=self._damaged, white=white)


def _kind(layout: Layout) -> tuple[int, int]:
    return layout.sample_format, layout.bits


def _modes(layout: Layout) -> tuple[str, str]:
    return (_SINGLE if layout.colours == 1 else _BAND)[_kind(layout)]


def _whole(layout: Layout) -> tuple[str, str] | None:
    """Return how to unpack all samples of a pixel at once; None if there is no way."""
    if layout.photometric == fields.PALETTE:
        return _INDEX[layout.bits] if layout.samples == 1 else None
    if layout.sample_format != UINT or layout.samples == 1:
        return None
    with_alpha = layout.alpha is not None
    if with_alpha and layout.alpha != layout.colours:
        return None
    modes = _WHOLE.get((layout.colours, with_alpha, layout.bits, layout.samples))
    if modes is not None and layout.associated and modes[1] in _ASSOCIATED:
        return modes[0], _ASSOCIATED[modes[1]]
    return modes


def _planes(
    decoder: "_Decoder", directory: Directory, layout: Layout, wanted: list[int]
) -> Iterator[Image.Image]:
    """Decode the wanted planes, each as a grey picture of the same file."""
    for sample in wanted:
        made = _storage(directory, layout)
        for tag in _PLACES:
            places = directory.numbers(tag)
            share = len(places) // layout.samples
            if share:
                made[tag] = places[sample * share : (sample + 1) * share]
        yield decoder.run(appended(directory, made), *_modes(layout))


def _columns(
    decoder: "_Decoder", directory: Directory, layout: Layout, wanted: list[int]
) -> Iterator[Image.Image]:
    """Decode the wanted samples of each pixel, from a row of single samples."""
    mode, rawmode = _modes(layout)
    if layout.samples == 1:
        yield decoder.run(directory, mode, rawmode)
        return
    # Only a pixel's samples together say what a predictor adds and a JPEG subsamples.
    if layout.predictor > 1 or layout.compression == fields.JPEG:
        details = "JPEG compression" if layout.predictor <= 1 else "a predictor"
        raise fields.refused(f"{layout.name} with {layout.samples} samples a pixel and {details}")
    made = _storage(directory, layout)
    for tag in (fields.WIDTH, fields.TILE_WIDTH):
        if tag in made:
            made[tag] = (directory.number(tag) * layout.samples,)
    for tag in _PLACES:
        if places := directory.numbers(tag):
            made[tag] = places
    row = decoder.run(appended(directory, made), mode, rawmode)
    for sample in wanted:
        yield _every(row, layout.samples, sample, layout.width)


def _storage(directory: Directory, layout: Layout) -> dict[int, tuple[int, ...] | bytes]:
    made: dict[int, tuple[int, ...] | bytes] = {
        fields.BITS: (layout.bits,),
        fields.SAMPLES: (1,),
        fields.PHOTOMETRIC: (fields.BLACK_IS_ZERO,),
        fields.PLANAR: (1,),
        fields.SAMPLE_FORMAT: (layout.sample_format,),
    }
    for tag in _STORAGE:
        value = directory.raw(tag) or directory.numbers(tag)[:1]
        if value:
            made[tag] = value
    return made


def _every(row: Image.Image, step: int, first: int, width: int) -> Image.Image:
    """Return every ``step``-th column, beginning with the column ``first``."""
    # The centre of a column of the result is mapped to the centre of one of `row`.
    matrix = (step, 0, first + 0.5 - step / 2, 0, 1, 0)
    size = (width, row.height)
    return row.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def _white(bands: list[Image.Image], layout: Layout) -> float:
    """Return the value to show as white, which the file does not define.

    Floating point usually ends at 1, and signed integers of instruments at one of the usual
    maxima; a higher value is white itself.
    """
    high = max(_highest(band, layout) for band in bands)
    usual = (1.0,) if layout.sample_format == FLOAT else (255.0, 65535.0, float((1 << 31) - 1))
    return next((each for each in usual if high <= each), high)


def _highest(band: Image.Image, layout: Layout) -> float:
    high: Any = band.getextrema()[1]
    if layout.sample_format == FLOAT and layout.bits == 16:
        return _half(high) if high < _HALF_INFINITY else 1.0
    return high if abs(high) < float("inf") else 1.0  # false for NaN too


def _half(bits: int) -> float:
    return struct.unpack("<e", struct.pack("<H", bits))[0]


def _level(band: Image.Image, layout: Layout, white: float = 1.0) -> Image.Image:
    """Return the samples of one band as mode L. Unsigned integers end at white (section 3)."""
    if band.mode == "L":
        return band
    match _kind(layout):
        case 1, 1:
            return band.convert("L")
        case 1, (24 | 32 | 64):
            return band.getchannel(len(band.getbands()) - 1 if _LITTLE else 0)
        case 1, bits:
            return _scaled(band, 255 / ((1 << bits) - 1))
        case 3, 16:
            return mapped(band.convert("I"), _halves_as_levels(white))
        case _:
            return _scaled(band, 255 / white)


@functools.lru_cache(maxsize=4)
def _halves_as_levels(white: float) -> bytes:
    """Return the level of each number of 16 bits (IEEE 754 binary16); that of NaN is 0."""
    halves = struct.unpack("<65536e", struct.pack("<65536H", *range(1 << 16)))
    return bytes(int(255 * min(value, white) / white) if value > 0 else 0 for value in halves)


def _scaled(band: Image.Image, factor: float) -> Image.Image:
    # Only I and F are scaled without loss before they are reduced to 8 bits.
    wide = band.convert("I") if band.mode.startswith("I;16") else band

    def scale(value: Any) -> Any:
        return value * factor + _HALF_A_THOUSANDTH

    return wide.point(scale).convert("L")  # pyright: ignore[reportUnknownMemberType]
