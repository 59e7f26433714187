"""Show HDR on an SDR display, and bring samples of more than eight bits to eight.

Samples go through a table: light of the coding, tone map, signal of sRGB. Steps of the result look
equal, so eight bits are enough for it, and what is left is to convert its primaries.

White of a graphic is 203 cd/m² (ITU-R BT.2408-7, 2.2), which becomes the white of sRGB. A picture
that is brighter somewhere is compressed from its own peak to that, red, green and blue each by
itself (ITU-R BT.2390-11, 5.4.1); one that is not keeps every colour.
"""

import bisect
import functools
import itertools
from collections.abc import Callable, Sequence

import msgspec
from PIL import Image, ImageFilter

from handlers.imaging.bands import mapped
from handlers.imaging.colours import matrices
from handlers.imaging.colours.coding import (
    HLG_GAMMA,
    HLG_PEAK,
    SRGB_TRANSFER,
    Coding,
    pq_light,
    pq_signal,
    srgb_signal,
)

WHITE = 203.0
"""cd/m² of a white surface in HDR."""

_BRIGHTER = 0.001
"""The part of the pixels that may be brighter than the peak: sparks and noise."""

_HALVINGS = 40
_NODES = 17
"""Colours along an edge of the table for HLG, between which Pillow interpolates."""

_SAMPLED_EDGE = 512
_STRIP_BYTES = 1 << 22


class Shaped(msgspec.Struct, frozen=True):
    """The space of a picture whose samples have been brought to sRGB's curve.

    ``peak`` is the brightest light that was kept, in cd/m²; None without HDR.
    """

    coding: Coding
    peak: float | None = None

    @property
    def name(self) -> str:
        return self.coding.name

    @property
    def needs_system_gamma(self) -> bool:
        """Whether ``with_system_gamma`` has to follow."""
        return self.coding.transfer.scene is not None

    @property
    def plain(self) -> Coding:
        """The coding that describes the samples now."""
        return msgspec.structs.replace(self.coding, transfer=SRGB_TRANSFER, narrow=False)


def of_eight_bits(image: Image.Image, coding: Coding) -> tuple[Image.Image, Shaped]:
    """Bring an RGB or RGBA picture to sRGB's curve, and HDR to the range of SDR."""
    colours = image.convert("RGB").split()
    shaped, table = _shape(colours, coding, 256)
    bands = [mapped(band, table) for band in colours]
    if image.mode == "RGBA":
        bands.append(image.getchannel("A"))
    return Image.merge(image.mode, bands), shaped


def of_deep(bands: Sequence[Image.Image], coding: Coding) -> tuple[Image.Image, Shaped]:
    """Do the same for bands of mode I;16 whose white is 65535: one for grey, or three."""
    shaped, table = _shape(bands, coding, 65_536)
    done = [_in_strips(band, table) for band in bands]
    return (Image.merge("RGB", done) if len(done) == 3 else done[0].convert("RGB")), shaped


def interleaved(data: bytes, size: tuple[int, int], stride: int, samples: int) -> list[Image.Image]:
    """Return the first one or three bands of little-endian 16-bit pixels of ``samples`` each."""
    wide = Image.frombuffer("I;16", (stride // 2, size[1]), data, "raw", "I;16", stride, 1)
    if samples == 1:
        return [wide.crop((0, 0, *size))]
    count = 3 if samples >= 3 else 1
    # The centre of column x is at samples * (x + 0.5), one and a half samples too far for red.
    return [
        wide.transform(
            size,
            Image.Transform.AFFINE,
            (samples, 0, number + 0.5 - samples / 2, 0, 1, 0),
            Image.Resampling.NEAREST,
        )
        for number in range(count)
    ]


def two_bytes(high: Image.Image, low: Image.Image) -> Image.Image:
    """Return the band of mode I;16 that has these two bytes."""
    return Image.frombytes("I;16", high.size, Image.merge("LA", (low, high)).tobytes())


def _shape(bands: Sequence[Image.Image], coding: Coding, levels: int) -> tuple[Shaped, bytes]:
    """Return the space of the result, and the table that leads from the samples to it."""
    black, white = (16 / 255, 235 / 255) if levels == 256 else (4096 / 65535, 60160 / 65535)

    def widened(sample: float) -> float:
        if not coding.narrow:
            return sample
        return min(1.0, max(0.0, (sample - black) / (white - black)))

    peak = None
    if coding.transfer.hdr:
        peak = max(WHITE, coding.transfer.light(widened(_brightest(bands))))
    shaped = Shaped(coding, peak)
    shape = _shape_of(shaped)
    return shaped, _table(lambda sample: shape(widened(sample)), levels)


def _shape_of(shaped: Shaped) -> Callable[[float], float]:
    """Return the function from a signal to the signal of sRGB that shows the same grey."""
    light = shaped.coding.transfer.light
    if shaped.peak is None:
        return lambda signal: srgb_signal(min(1.0, light(signal)))
    tone_map = tone_mapped(shaped.peak)
    return lambda signal: srgb_signal(tone_map(light(signal)))


def tone_mapped(peak: float) -> Callable[[float], float]:
    """Return the function from a light in cd/m², up to ``peak``, to light between 0 and 1."""
    if peak <= WHITE:
        return lambda light: min(1.0, light / WHITE)
    top = pq_signal(peak)
    most = pq_signal(WHITE) / top
    knee = 1.5 * most - 0.5

    def compressed(light: float) -> float:
        signal = min(1.0, pq_signal(light) / top)
        if signal <= knee:
            return min(1.0, light / WHITE)
        t = (signal - knee) / (1 - knee)
        spline = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (3 * t**2 - 2 * t**3) * most
        )
        return min(1.0, pq_light(spline * top) / WHITE)

    return compressed


def _brightest(bands: Sequence[Image.Image]) -> float:
    """Return the sample, 0 to 1, that only a few pixels of a band exceed."""
    found = 0.0
    for band in bands:
        size = min(band.width, _SAMPLED_EDGE), min(band.height, _SAMPLED_EDGE)
        few = band.resize(  # pyright: ignore[reportUnknownMemberType] (names NumPy)
            size, Image.Resampling.NEAREST
        )
        if few.mode != "L":
            few = mapped(few.convert("I"), bytes(level >> 8 for level in range(65_536)))
        counts = few.histogram()
        allowed = size[0] * size[1] * (1 - _BRIGHTER)
        level = bisect.bisect_left(list(itertools.accumulate(counts)), allowed)
        found = max(found, level / 255 if band.mode == "L" else (level * 256 + 255) / 65_535)
    return found


def _table(shape: Callable[[float], float], levels: int) -> bytes:
    """Return the eight-bit result for each of ``levels`` samples; ``shape`` never falls."""
    last = levels - 1
    starts = [
        bisect.bisect_left(range(levels), (result - 0.5) / 255, key=lambda at: shape(at / last))
        for result in range(1, 256)
    ]
    bounds = [0, *starts, levels]
    return b"".join(
        bytes([result]) * (bounds[result + 1] - bounds[result]) for result in range(256)
    )


def _in_strips(band: Image.Image, table: bytes) -> Image.Image:
    """Map a band of mode I;16; only mode I has tables, and takes twice the memory."""
    done = Image.new("L", band.size)
    rows = max(1, _STRIP_BYTES // (4 * band.width))
    for top in range(0, band.height, rows):
        strip = band.crop((0, top, band.width, min(band.height, top + rows)))
        done.paste(mapped(strip.convert("I"), table), (0, top))
    return done


def with_system_gamma(image: Image.Image, shaped: Shaped) -> Image.Image:
    """Correct the colours of a shaped HLG picture, RGB; greys are correct and stay.

    The system's gamma belongs to the luminance of a pixel (BT.2100, table 5), but was applied to
    each colour by itself.
    """
    return image.filter(_system_gamma(shaped))


@functools.lru_cache(maxsize=1)
def _system_gamma(shaped: Shaped) -> ImageFilter.Color3DLUT:
    transfer = shaped.coding.transfer
    luminance = matrices.to_xyz(shaped.coding.primaries)[1]
    tone_map = tone_mapped(shaped.peak or WHITE)
    nodes = [_signal_of(shaped, node / (_NODES - 1)) for node in range(_NODES)]
    lights = [(transfer.scene or transfer.light)(node) for node in nodes]
    values: list[float] = []
    for blue, green, red in itertools.product(lights, repeat=3):
        scene = luminance[0] * red + luminance[1] * green + luminance[2] * blue
        gain = HLG_PEAK * scene ** (HLG_GAMMA - 1)
        values += (srgb_signal(tone_map(gain * light)) for light in (red, green, blue))
    return ImageFilter.Color3DLUT(_NODES, values)


def _signal_of(shaped: Shaped, result: float) -> float:
    """Return the least signal that is shown as ``result``, or the one that comes next to it."""
    shape, low, high = _shape_of(shaped), 0.0, 1.0
    wanted = min(result, shape(high))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if shape(middle) < wanted else (low, middle)
    return high if result > 0 else 0.0
