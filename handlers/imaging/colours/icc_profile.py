"""Write and read ICC profiles (ICC.1:2022) as far as Little CMS leaves it to its callers."""

import struct
from collections.abc import Callable

from handlers.imaging.colours import matrices
from handlers.imaging.colours.coding import Coding, of_code_points

_HEADER_BYTES = 128
_ENTRY_BYTES = 12
_MAX_TAGS = 200
_CURVE_POINTS = 4096
_VERSION = 0x04400000


def of_coding(coding: Coding) -> bytes:
    """Return a display profile for the space: matrix and curve (8.3.3), as Little CMS reads it.

    Raises ValueError if the primaries span no space.
    """
    columns = matrices.transposed(matrices.to_d50(coding.primaries))
    tags = {
        b"desc": _text(coding.name),
        b"cprt": _text("none"),
        b"wtpt": _xyz(matrices.D50),
        **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, columns), strict=True)),
    }
    curve = _curve(coding.transfer.light)
    start = _HEADER_BYTES + 4 + _ENTRY_BYTES * (len(tags) + 3)
    body, entries = b"", list[bytes]()
    for name, content in tags.items():
        entries.append(struct.pack(">4sII", name, start + len(body), len(content)))
        body += content + bytes(-len(content) % 4)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        entries.append(struct.pack(">4sII", name, start + len(body), len(curve)))
    body += curve
    table = struct.pack(">I", len(entries)) + b"".join(entries)
    return _header(start + len(body)) + table + body


def code_points(profile: bytes) -> Coding | None:
    """Return the space that the tag ``cicp`` names (9.2.17); None without one.

    It says more than the curves of a profile can: that the picture is HDR.
    """
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        return None
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    there = min(count, _MAX_TAGS, (len(profile) - _HEADER_BYTES - 4) // _ENTRY_BYTES)
    for number in range(there):
        at = _HEADER_BYTES + 4 + _ENTRY_BYTES * number
        name, begin, length = struct.unpack_from(">4sII", profile, at)
        if name == b"cicp" and length >= 12 and begin + 12 <= len(profile):
            primaries, transfer, matrix, full_range = profile[begin + 8 : begin + 12]
            return None if matrix else of_code_points(primaries, transfer, narrow=not full_range)
    return None


def _header(size: int) -> bytes:
    """Return the header of a display profile for RGB, connected through XYZ (7.2)."""
    parts = struct.pack(">I4sI4s4s4s", size, bytes(4), _VERSION, b"mntr", b"RGB ", b"XYZ ")
    parts += bytes(12) + b"acsp" + bytes(28)
    parts += b"".join(struct.pack(">i", round(value * 65536)) for value in matrices.D50)
    return parts.ljust(_HEADER_BYTES, b"\0")


def _curve(light: Callable[[float], float]) -> bytes:
    """Return a curve by its points (10.6)."""
    last = _CURVE_POINTS - 1
    points = (light(at / last) for at in range(_CURVE_POINTS))
    values = (round(65535 * min(1.0, max(0.0, point))) for point in points)
    return struct.pack(f">4s4xI{_CURVE_POINTS}H", b"curv", _CURVE_POINTS, *values)


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _text(text: str) -> bytes:
    """Return a text in English (multiLocalizedUnicodeType, 10.15)."""
    encoded = text.encode("utf-16-be")
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(encoded), 28) + encoded
