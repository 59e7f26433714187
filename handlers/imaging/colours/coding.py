"""Describe colour spaces by code points: primaries and transfer functions (ITU-T H.273).

Each ``Transfer`` turns a signal between 0 and 1 into light. In the formulas of H.273, tables 2 and
3, that is the inverse of the function given there. PNG's own chunks and EXIF name further spaces.
"""

import math
from collections.abc import Callable
from functools import partial

import msgspec

Point = tuple[float, float]


class Primaries(msgspec.Struct, frozen=True):
    """The chromaticities (CIE 1931 x and y) of white, red, green and blue."""

    name: str
    white: Point
    red: Point
    green: Point
    blue: Point


class Transfer(msgspec.Struct, frozen=True):
    """The light of a signal. White is 1, but 203 cd/m² where ``hdr`` is set.

    With ``hdr``, ``light`` is absolute, in cd/m². For HLG it is that of a grey on a display of
    1000 cd/m², and ``scene`` the light in front of the camera, 0 to 1.
    """

    name: str
    light: Callable[[float], float]
    scene: Callable[[float], float] | None = None
    hdr: bool = False


class Coding(msgspec.Struct, frozen=True):
    """A colour space. ``narrow`` samples leave room below black and above white (H.273, 8.3)."""

    name: str
    primaries: Primaries
    transfer: Transfer
    narrow: bool = False

    @property
    def needs_depth(self) -> bool:
        """Whether eight bits are too few: the second level is visibly lighter than black."""
        return self.transfer.hdr or srgb_signal(self.transfer.light(1 / 255)) > 3 / 255


_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_EQUAL = (1 / 3, 1 / 3)

BT_709 = Primaries("BT.709", _D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_BT_601 = Primaries("BT.601", _D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_P3 = (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)

PRIMARIES = {
    1: BT_709,
    4: Primaries("BT.470 M", _C, (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
    5: Primaries("BT.470 B/G", _D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: _BT_601,
    7: msgspec.structs.replace(_BT_601, name="SMPTE 240M"),
    8: Primaries("film", _C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: Primaries("BT.2020", _D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: Primaries("CIE XYZ", _EQUAL, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: Primaries("DCI-P3", (0.314, 0.351), *_P3),
    12: Primaries("Display P3", _D65, *_P3),
    22: Primaries("EBU 3213", _D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}


def srgb_light(signal: float) -> float:
    """Return the light of a signal (IEC 61966-2-1)."""
    return signal / 12.92 if signal <= 0.04045 else ((signal + 0.055) / 1.055) ** 2.4


def srgb_signal(light: float) -> float:
    """Return the signal of a light (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


PQ_PEAK = 10_000.0
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_light(signal: float) -> float:
    """Return the light in cd/m² of a PQ signal (SMPTE ST 2084; ITU-R BT.2100, table 4)."""
    power = signal ** (1 / _M2)
    return PQ_PEAK * (max(0.0, power - _C1) / (_C2 - _C3 * power)) ** (1 / _M1)


def pq_signal(light: float) -> float:
    """Return the PQ signal of a light in cd/m²."""
    power = (light / PQ_PEAK) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
"""The nominal display of ITU-R BT.2100, table 5, and the gamma of its OOTF."""


def _hlg_scene(signal: float) -> float:
    if signal <= 0.5:
        return signal * signal / 3
    return (math.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _hlg_light(signal: float) -> float:
    return HLG_PEAK * _hlg_scene(signal) ** HLG_GAMMA


def _power(exponent: float, signal: float) -> float:
    return signal**exponent


def _bt_709(signal: float) -> float:
    if signal < 4.5 * 0.018053968510807:
        return signal / 4.5
    return ((signal + 0.099296826809442) / 1.099296826809442) ** (1 / 0.45)


def _smpte_240m(signal: float) -> float:
    return signal / 4 if signal < 4 * 0.0228 else ((signal + 0.1115) / 1.1115) ** (1 / 0.45)


def _logarithm(decades: float, signal: float) -> float:
    return 10 ** (decades * (signal - 1)) if signal > 0 else 0.0


def _smpte_428(signal: float) -> float:
    return min(1.0, 52.37 / 48 * signal**2.6)


def _same(signal: float) -> float:
    return signal


SRGB_TRANSFER = Transfer("sRGB", srgb_light)

_BT_709_TRANSFER = Transfer("BT.709", _bt_709)

TRANSFERS = {
    1: _BT_709_TRANSFER,
    4: Transfer("gamma 2.2", partial(_power, 2.2)),
    5: Transfer("gamma 2.8", partial(_power, 2.8)),
    6: _BT_709_TRANSFER,
    7: Transfer("SMPTE 240M", _smpte_240m),
    8: Transfer("linear", _same),
    9: Transfer("logarithmic 100:1", partial(_logarithm, 2.0)),
    10: Transfer("logarithmic 316:1", partial(_logarithm, 2.5)),
    11: Transfer("xvYCC", _bt_709),
    12: Transfer("BT.1361", _bt_709),
    13: SRGB_TRANSFER,
    14: _BT_709_TRANSFER,
    15: _BT_709_TRANSFER,
    16: Transfer("PQ", pq_light, hdr=True),
    17: Transfer("SMPTE 428", _smpte_428),
    18: Transfer("HLG", _hlg_light, scene=_hlg_scene, hdr=True),
}

SRGB = Coding("sRGB", BT_709, SRGB_TRANSFER)
ADOBE_RGB = Coding(
    "Adobe RGB",
    Primaries("Adobe RGB", _D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    Transfer("Adobe RGB", partial(_power, 563 / 256)),
)
"""Adobe RGB (1998), 4.3.1; CIPA DCF 2.0 calls it the optional colour space."""


def of_code_points(primaries: int, transfer: int, *, narrow: bool = False) -> Coding:
    """Return the space of H.273's ColourPrimaries and TransferCharacteristics.

    A number without a meaning, or 2 for unspecified, counts as that of sRGB.
    """
    space = PRIMARIES.get(primaries, BT_709)
    curve = TRANSFERS.get(transfer, SRGB_TRANSFER)
    return Coding(_name(space, curve), space, curve, narrow)


def _name(primaries: Primaries, transfer: Transfer) -> str:
    if transfer is SRGB_TRANSFER:
        return "sRGB" if primaries is BT_709 else primaries.name
    is_television = transfer is _BT_709_TRANSFER and not primaries.name.endswith("P3")
    if is_television or transfer.name == primaries.name:
        return primaries.name
    return f"{primaries.name} {transfer.name}"


def of_exif(colour_space: object, interoperability: bytes) -> Coding | None:
    """Return the space that EXIF declares; None if it declares none.

    ``colour_space`` is the value of ColorSpace (EXIF 3.0, 4.6.6), ``interoperability`` that of
    InteroperabilityIndex, where DCF 2.0 declares Adobe RGB. Some cameras write 2 for it.
    """
    is_uncalibrated = colour_space == 65_535 and interoperability.startswith(b"R03")
    if is_uncalibrated or colour_space == 2:
        return ADOBE_RGB
    return SRGB if colour_space == 1 else None


def with_gamma(file_gamma: float | None, primaries: Primaries | None) -> Coding:
    """Return the space of PNG's gAMA and cHRM (third edition, 11.3.2); None stands for sRGB's."""
    transfer = SRGB_TRANSFER
    if file_gamma is not None:
        exponent = 1 / file_gamma
        transfer = Transfer(f"gamma {exponent:.3g}", partial(_power, exponent))
        if file_gamma == 1:
            transfer = TRANSFERS[8]
    space = primaries or BT_709
    name = "sRGB" if transfer is SRGB_TRANSFER and primaries is None else _name(space, transfer)
    return Coding(name, space, transfer)
