"""Read the chunks that say which colours a PNG has (third edition, 4.3 and 11.3.2)."""

import struct

from handlers.imaging.colours import coding, matrices
from handlers.imaging.colours.coding import SRGB, Coding, Point, Primaries

CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
"""Beside iCCP, which counts after cICP and before the others."""

_LEAST_GAMMA, _MOST_GAMMA = 0.05, 20.0


def code_points(bodies: dict[bytes, bytes]) -> Coding | None:
    """Return the space of cICP, which counts before all others; None if it does not name one.

    ``bodies`` has the first chunk of each kind. PNG has RGB alone, so the matrix has to be 0. A
    number that is unknown or stands for unspecified leaves the colours to the other chunks.
    """
    body = bodies.get(b"cICP", b"")
    if len(body) < 4 or body[2] or body[3] > 1:
        return None
    if body[0] not in coding.PRIMARIES or body[1] not in coding.TRANSFERS:
        return None
    return coding.of_code_points(body[0], body[1], narrow=not body[3])


def without_profile(bodies: dict[bytes, bytes]) -> Coding | None:
    """Return the space of a picture without cICP and iCCP; None if no valid chunk tells it."""
    if b"sRGB" in bodies:
        return SRGB
    gamma, primaries = _gamma(bodies.get(b"gAMA", b"")), _primaries(bodies.get(b"cHRM", b""))
    return coding.with_gamma(gamma, primaries) if gamma or primaries else None


def _gamma(body: bytes) -> float | None:
    gamma = int.from_bytes(body[:4], "big") / 100_000
    return gamma if _LEAST_GAMMA <= gamma <= _MOST_GAMMA else None


def _primaries(body: bytes) -> Primaries | None:
    """Read cHRM; None if its colours span no space."""
    if len(body) < 32:
        return None
    x = [value / 100_000 for value in struct.unpack_from(">8I", body)]
    points: list[Point] = [(x[at], x[at + 1]) for at in (0, 2, 4, 6)]
    found = Primaries("other primaries", *points)
    known = next((each for each in coding.PRIMARIES.values() if _are_equal(each, found)), found)
    try:
        matrices.to_d50(known)
    except ValueError:
        return None
    return known


def _are_equal(one: Primaries, other: Primaries) -> bool:
    pairs = (
        (one.white, other.white),
        (one.red, other.red),
        (one.green, other.green),
        (one.blue, other.blue),
    )
    return all(abs(a[0] - b[0]) + abs(a[1] - b[1]) < 0.0005 for a, b in pairs)
