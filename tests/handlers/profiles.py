"""Write ICC profiles of the classes that cameras, scanners and printers use (ICC.1:2022)."""

import itertools
import struct
from collections.abc import Callable, Sequence

from tests.handlers.colorimetry import Triple, lab_of_srgb

V2, V4 = 0x02400000, 0x04400000


def profile(
    kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes], version: int = V4
) -> bytes:
    """Return a profile of class ``kind`` for ``space``."""
    text = _text if version == V4 else _old_text
    d50 = _xyz((0.9642, 1.0, 0.8249))
    tags = {b"desc": text("A profile"), b"cprt": text("none"), b"wtpt": d50, **tags}
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, version, kind, space, connection, b"acsp")
    head += bytes(28) + d50[8:]
    return head.ljust(128, b"\0") + table + body


def gamma(exponent: float) -> bytes:
    """Return a parametric curve of the type 0."""
    return b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, round(exponent * 65536))


def table_to_lab(
    inputs: int, srgb: Callable[[Sequence[float]], Triple], points: int, version: int
) -> bytes:
    """Return a 16-bit table (10.10) from ``inputs`` channels to CIE L*a*b*.

    ``srgb`` says which colour of sRGB a combination of channels, 0 to 1, stands for.
    """
    white = 0xFF00  # the type has the old encoding of L*a*b*, in every version
    assert version in (V2, V4)
    identity = struct.pack(">2H", 0, 65_535)
    values: list[int] = []
    for node in itertools.product(range(points), repeat=inputs):
        light, a, b = lab_of_srgb(srgb([at / (points - 1) for at in node]))
        parts = (light / 100 * white, (a + 128) * 256, (b + 128) * 256)
        values += (min(65_535, max(0, round(part))) for part in parts)
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    head = b"mft2\0\0\0\0" + bytes([inputs, 3, points, 0]) + matrix + struct.pack(">HH", 2, 2)
    return head + identity * inputs + struct.pack(f">{len(values)}H", *values) + identity * 3


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(encoded), 28) + encoded


def _old_text(text: str) -> bytes:
    encoded = text.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(encoded)) + encoded + bytes(78)
