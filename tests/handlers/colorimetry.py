"""Colour science for tests, written from the standards and apart from the code that is tested."""

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

from PIL import Image

Triple = tuple[float, float, float]

D65 = (0.3127, 0.3290)
C = (0.310, 0.316)

# ITU-T H.273, table 2: white, red, green, blue.
PRIMARIES = {
    1: (D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    4: (C, (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
    5: (D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: (C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: (D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: ((1 / 3, 1 / 3), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: (D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
ADOBE_RGB = (D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))

_CHART_LEVELS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_PATCH = 8
WHITE_NITS = 203.0


def chart() -> list[Triple]:
    """Return greys, and colours that are in sRGB and in all primaries above."""
    greys = [(level, level, level) for level in (0.0, *_CHART_LEVELS, 1.0)]
    mixed = [
        (red, green, blue)
        for red in (0.35, 0.55, 0.75)
        for green in (0.35, 0.55, 0.75)
        for blue in (0.35, 0.55, 0.75)
    ]
    return greys + mixed


def converted(srgb: Triple, primaries: tuple[tuple[float, float], ...]) -> Triple:
    """Return the linear light, in ``primaries``, of a colour of sRGB; white stays white."""
    light = tuple(map(srgb_light, srgb))
    xyz = _adapted(_times(_to_xyz(PRIMARIES[1]), light), primaries[0])
    red, green, blue = (min(1.0, max(0.0, v)) for v in _solved(_to_xyz(primaries), xyz))
    return red, green, blue


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> list[list[float]]:
    white, *colours = [(x, y, 1 - x - y) for x, y in primaries]
    basis = [[colour[row] for colour in colours] for row in range(3)]
    scales = _solved(basis, tuple(value / white[1] for value in white))
    return [[value * scale for value, scale in zip(row, scales, strict=True)] for row in basis]


def _adapted(xyz: Sequence[float], white: tuple[float, float]) -> Triple:
    """Adapt from D65 to ``white``, by Bradford."""
    cones = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    of_white = [_times(cones, (x / y, 1.0, (1 - x - y) / y)) for x, y in (D65, white)]
    here = _times(cones, xyz)
    return _solved(cones, tuple(v * b / a for v, a, b in zip(here, *of_white, strict=True)))


def _times(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> Triple:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _solved(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> Triple:
    """Solve a system of three equations by Cramer's rule."""

    def determinant(m: Sequence[Sequence[float]]) -> float:
        (a, b, c), (d, e, f), (g, h, i) = m
        return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)

    whole = determinant(matrix)
    first, second, third = (
        determinant(
            [
                [vector[row] if at == column else matrix[row][at] for at in range(3)]
                for row in range(3)
            ]
        )
        / whole
        for column in range(3)
    )
    return first, second, third


def srgb_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def srgb_signal(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _bt_709(light: float) -> float:
    return 4.5 * light if light < 0.018054 else 1.099297 * light**0.45 - 0.099297


def _smpte_240m(light: float) -> float:
    return 4 * light if light < 0.0228 else 1.1115 * light**0.45 - 0.1115


def _log(light: float, least: float, decades: float) -> float:
    return 1 + math.log10(light) / decades if light >= least else 0.0


def pq(nits: float) -> float:
    """SMPTE ST 2084, equation 5.2."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg_oetf(scene: float) -> float:
    """ITU-R BT.2100, table 5."""
    if scene <= 1 / 12:
        return math.sqrt(3 * scene)
    return 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


# ITU-T H.273, table 3: the signal of a light between 0 and 1.
TRANSFERS: dict[int, Callable[[float], float]] = {
    1: _bt_709,
    4: lambda light: light ** (1 / 2.2),
    5: lambda light: light ** (1 / 2.8),
    6: _bt_709,
    7: _smpte_240m,
    8: lambda light: light,
    9: lambda light: _log(light, 0.01, 2),
    10: lambda light: _log(light, math.sqrt(10) / 1000, 2.5),
    11: _bt_709,
    12: _bt_709,
    13: srgb_signal,
    14: _bt_709,
    15: _bt_709,
    17: lambda light: (48 * light / 52.37) ** (1 / 2.6),
}


def pq_signals(light: Triple, white_nits: float = WHITE_NITS) -> Triple:
    first, second, third = (pq(value * white_nits) for value in light)
    return first, second, third


def hlg_signals(light: Triple, white_nits: float = WHITE_NITS) -> Triple:
    """Return the signal of light on a display of 1000 cd/m² whose primaries are BT.2020's."""
    display = [value * white_nits / 1000 for value in light]
    luminance = 0.2627 * display[0] + 0.6780 * display[1] + 0.0593 * display[2]
    gain = luminance ** ((1 - 1.2) / 1.2) if luminance > 0 else 0.0
    first, second, third = (hlg_oetf(value * gain) for value in display)
    return first, second, third


def delta_e(one: Iterable[float], other: Iterable[float]) -> float:
    """Return the difference CIEDE2000 (CIE 142-2001) of two colours of sRGB, 0 to 1."""
    (l1, a1, b1), (l2, a2, b2) = _lab(tuple(one)), _lab(tuple(other))
    mean_c = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean_c**7 / (mean_c**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    dh = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    mean_h = (h1 + dh / 2) % 360 if c1 * c2 else h1 + h2
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(math.radians(mean_h - 30))
        + 0.24 * math.cos(math.radians(2 * mean_h))
        + 0.32 * math.cos(math.radians(3 * mean_h + 6))
        - 0.20 * math.cos(math.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    turn = math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2)))
    r_t = -2 * math.sqrt(mean_c**7 / (mean_c**7 + 25**7)) * math.sin(turn)
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / s_c
    d_h = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(dh / 2)) / s_h
    return math.sqrt(d_l**2 + d_c**2 + d_h**2 + r_t * d_c * d_h)


def lab_of_srgb(srgb: Triple) -> Triple:
    """Return CIE L*a*b* as profiles have it: adapted to D50, and relative to it."""
    xyz = _times(_to_xyz(PRIMARIES[1]), [srgb_light(value) for value in srgb])
    return _lab_of(_adapted(xyz, (0.3457, 0.3585)), (0.9642, 1.0, 0.8249))


def _lab(srgb: tuple[float, ...]) -> Triple:
    xyz = _times(_to_xyz(PRIMARIES[1]), [srgb_light(value) for value in srgb])
    return _lab_of(xyz, (D65[0] / D65[1], 1.0, (1 - sum(D65)) / D65[1]))


def _lab_of(xyz: Triple, white: Triple) -> Triple:
    x, y, z = (
        t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29
        for t in (value / there for value, there in zip(xyz, white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def patches(signals: Sequence[Triple]) -> Image.Image:
    """Return a row of patches with these signals, in eight bits."""
    image = Image.new("RGB", (_PATCH * len(signals), _PATCH))
    for number, signal in enumerate(signals):
        red, green, blue = (round(255 * value) for value in signal)
        image.paste((red, green, blue), (_PATCH * number, 0, _PATCH * (number + 1), _PATCH))
    return image


def worst_and_mean(image: Image.Image, expected: Sequence[Triple]) -> tuple[float, float]:
    """Compare the centre of each patch with its colour; return the differences in CIEDE2000."""
    found: list[float] = []
    for number, colour in enumerate(expected):
        at = (_PATCH * number + _PATCH // 2, _PATCH // 2)
        pixel = image.convert("RGB").getpixel(at)
        assert isinstance(pixel, tuple)
        found.append(delta_e([value / 255 for value in pixel], colour))
    return max(found), sum(found) / len(found)


def mean_difference(image: Image.Image, reference: Image.Image) -> float:
    """Return the mean CIEDE2000 of two pictures of the same size, sampled on a grid."""
    assert image.size == reference.size
    found: list[float] = []
    for y in range(0, image.height, 5):
        for x in range(0, image.width, 5):
            pair = [picture.convert("RGB").getpixel((x, y)) for picture in (image, reference)]
            one, other = ([v / 255 for v in pixel] for pixel in pair if isinstance(pixel, tuple))
            found.append(delta_e(one, other))
    return sum(found) / len(found)


def png(signals: Sequence[Triple], depth: int, *marks: tuple[bytes, bytes]) -> bytes:
    """Encode patches as a PNG of 8 or 16 bits whose ``marks`` are chunks before the data."""
    top = (1 << depth) - 1
    size = depth // 8
    row = b"".join(
        round(top * value).to_bytes(size, "big") for signal in signals for value in signal * _PATCH
    )
    width = _PATCH * len(signals)
    head = struct.pack(">IIBBBBB", width, _PATCH, depth, 2, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        *marks,
        (b"IDAT", zlib.compress((b"\0" + row) * _PATCH)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def cicp(primaries: int, transfer: int, *, full_range: bool = True) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, 0, full_range])


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", round(100_000 * gamma).to_bytes(4, "big")


def chrm(primaries: tuple[tuple[float, float], ...]) -> tuple[bytes, bytes]:
    values = [round(100_000 * value) for point in primaries for value in point]
    return b"cHRM", struct.pack(">8I", *values)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)
