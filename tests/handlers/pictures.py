"""Make pictures for tests."""

import io
import struct
from typing import Any

import blurhash  # pyright: ignore[reportMissingTypeStubs]
from PIL import ExifTags, Image

# Lindbloom, "RGB working space information": Adobe RGB (1998) adapted to D50, gamma 563/256.
ADOBE_GAMMA = 563 / 256
ADOBE_TO_XYZ = (
    (0.6097559, 0.2052401, 0.1492240),
    (0.3111242, 0.6256560, 0.0632197),
    (0.0194811, 0.0608902, 0.7448387),
)
XYZ_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    """Encode ``image`` with Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    """Decode a file with Pillow alone."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def gradient(width: int, height: int) -> Image.Image:
    """Return a picture whose corners all differ, so that any turn shows."""
    down = scaled(Image.linear_gradient("L"), width, height)
    across = scaled(Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90), width, height)
    return Image.merge("RGB", (across, down, Image.new("L", (width, height), 60)))


def unblurred(text: str, width: int, height: int) -> Image.Image:
    """Decode a BlurHash, with the library that encodes it."""
    rows: list[list[list[int]]] = blurhash.decode(text, width, height)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    pixels = bytes(value for row in rows for pixel in row for value in pixel)
    return Image.frombytes("RGB", (width, height), pixels)  # pyright: ignore[reportUnknownMemberType]


def scaled(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scale with Pillow's best filter."""
    return image.resize(  # pyright: ignore[reportUnknownMemberType] (names NumPy)
        (width, height), Image.Resampling.LANCZOS
    )


def with_exif(
    image: Image.Image,
    main: dict[int, Any] | None = None,
    exif: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
    format_: str = "JPEG",
) -> bytes:
    """Encode ``image`` with these tags."""
    tags = Image.Exif()
    tags.update(main or {})
    tags.get_ifd(ExifTags.IFD.Exif).update(exif or {})
    tags.get_ifd(ExifTags.IFD.GPSInfo).update(gps or {})
    return encoded(image, format_, exif=tags.tobytes())


def adobe_rgb_profile() -> bytes:
    """Return a matrix profile (ICC.1:2001-04, 6.3.1.2) with the colours of Adobe RGB (1998)."""
    columns = zip(*ADOBE_TO_XYZ, strict=True)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Wide\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, columns), strict=True)),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return head + bytes(128 - len(head)) + table + body


def adobe_rgb_as_srgb(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Convert a colour of that profile to sRGB (IEC 61966-2-1)."""
    linear = [(value / 255) ** ADOBE_GAMMA for value in colour]
    xyz = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in ADOBE_TO_XYZ]
    srgb = [sum(a * b for a, b in zip(row, xyz, strict=True)) for row in XYZ_TO_SRGB]
    red, green, blue = (round(255 * srgb_curve(min(1.0, max(0.0, value)))) for value in srgb)
    return red, green, blue


def srgb_curve(value: float) -> float:
    """Return the sRGB value of a linear one, both from 0 to 1 (IEC 61966-2-1)."""
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)
