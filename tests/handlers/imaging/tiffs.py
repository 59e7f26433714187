"""Write TIFF of every layout, from samples given as numbers (TIFF 6.0)."""

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image, ImageChops

UINT, INT, FLOAT = 1, 2, 3
NONE, JPEG = 1, 7

Plane = list[list[float]]
"""Rows of samples."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """How samples are laid out in the file; none of it changes the picture."""

    order: str = "<"
    big: bool = False
    planar: bool = False
    compression: int = NONE
    predictor: int = 1
    tile: int = 0
    rows_per_strip: int = 7
    fill_order: int = 1


def tiff(
    planes: Sequence[Plane],
    *,
    bits: int = 8,
    kind: int = UINT,
    photometric: int = 1,
    storage: Storage | None = None,
    **fields: Any,
) -> bytes:
    """Return a file whose samples are ``planes``; ``fields`` are further fields, as ``t338=(2,)``.

    Values of further fields are tuples of integers, written as LONG.
    """
    storage = storage or Storage()
    height, width = len(planes[0]), len(planes[0][0])
    groups = [[plane] for plane in planes] if storage.planar else [list(planes)]
    parts = [part for group in groups for part in _parts(group, bits, kind, storage)]
    tags: dict[int, tuple[int, ...] | bytes] = {
        256: (width,),
        257: (height,),
        258: (bits,) * len(planes),
        259: (storage.compression,),
        262: (photometric,),
        277: (len(planes),),
        284: (2 if storage.planar else 1,),
        339: (kind,) * len(planes),
    }
    if storage.predictor > 1:
        tags[317] = (storage.predictor,)
    if storage.fill_order > 1:
        tags[266] = (storage.fill_order,)
    tags |= {int(name[1:]): value for name, value in fields.items()}
    return assembled(parts, tags, storage)


def assembled(
    parts: Sequence[bytes], tags: Mapping[int, tuple[int, ...] | bytes], storage: Storage
) -> bytes:
    """Return a file with these strips or tiles and these fields."""
    code, inline = ("Q", 8) if storage.big else ("I", 4)
    order = storage.order
    body = b"II" if order == "<" else b"MM"
    if storage.big:
        body += struct.pack(order + "HHHQ", 43, 8, 0, 0)
    else:
        body += struct.pack(order + "HI", 42, 0)
    places: list[int] = []
    for part in parts:
        places.append(len(body))
        body += part + bytes(len(part) % 2)
    sizes = tuple(len(part) for part in parts)
    if storage.tile:
        tags = {**tags, 322: (storage.tile,), 323: (storage.tile,), 324: tuple(places), 325: sizes}
    else:
        tags = {**tags, 273: tuple(places), 278: (storage.rows_per_strip,), 279: sizes}
    table, values = b"", b""
    start = len(body)
    counted = struct.pack(order + ("Q" if storage.big else "H"), len(tags))
    after = start + len(counted) + len(tags) * (4 + 2 * inline) + inline
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, packed = 7, value
        else:
            kind, packed = (
                (16 if storage.big else 4),
                struct.pack(f"{order}{len(value)}{code}", *value),
            )
            if tag in (258, 259, 262, 277, 284, 317, 338, 339, 320, 530, 274) and not storage.big:
                kind, packed = 3, struct.pack(f"{order}{len(value)}H", *value)
        table += struct.pack(f"{order}HH{code}", tag, kind, len(value))
        if len(packed) <= inline:
            table += packed.ljust(inline, b"\0")
        else:
            table += struct.pack(order + code, after + len(values))
            values += packed + bytes(len(packed) % 2)
    body += counted + table + bytes(inline) + values
    at = 8 if storage.big else 4
    return body[:at] + struct.pack(order + code, start) + body[at + inline :]


def _parts(planes: list[Plane], bits: int, kind: int, storage: Storage) -> list[bytes]:
    """Return the strips or tiles of planes that are stored together."""
    height, width = len(planes[0]), len(planes[0][0])
    parts: list[bytes] = []
    if not storage.tile:
        for top in range(0, height, storage.rows_per_strip):
            rows = range(top, min(top + storage.rows_per_strip, height))
            pixels = [[plane[y][x] for x in range(width) for plane in planes] for y in rows]
            parts.append(_packed(pixels, len(planes), bits, kind, storage))
        return parts
    for top in range(0, height, storage.tile):
        for left in range(0, width, storage.tile):
            pixels = [
                [
                    plane[min(y, height - 1)][min(x, width - 1)]
                    for x in range(left, left + storage.tile)
                    for plane in planes
                ]
                for y in range(top, top + storage.tile)
            ]
            parts.append(_packed(pixels, len(planes), bits, kind, storage))
    return parts


def _packed(rows: list[list[float]], samples: int, bits: int, kind: int, storage: Storage) -> bytes:
    data = b"".join(_row(row, samples, bits, kind, storage) for row in rows)
    packed = COMPRESSORS[storage.compression](data)
    if storage.fill_order == 2:  # of the bytes as they are stored
        packed = bytes(int(f"{byte:08b}"[::-1], 2) for byte in packed)
    return packed


def _row(row: list[float], samples: int, bits: int, kind: int, storage: Storage) -> bytes:
    if kind == FLOAT:
        code = {16: "e", 32: "f", 64: "d"}[bits]
        data = struct.pack(f"{storage.order}{len(row)}{code}", *row)
        if storage.predictor == 3:
            return _float_predicted(struct.pack(f">{len(row)}{code}", *row), samples, bits // 8)
        return data
    values = [int(value) for value in row]
    if storage.predictor == 2:
        mask = (1 << bits) - 1
        values = [
            (value - (values[at - samples] if at >= samples else 0)) & mask
            for at, value in enumerate(values)
        ]
    if bits in (8, 16, 24, 32, 64):
        little = "little" if storage.order == "<" else "big"
        size = bits // 8
        return b"".join((v & ((1 << bits) - 1)).to_bytes(size, little) for v in values)
    text = "".join(f"{value:0{bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _float_predicted(data: bytes, samples: int, size: int) -> bytes:
    """Apply the predictor of Adobe's Photoshop TIFF technical note 3 to a big-endian row."""
    planes = b"".join(data[at::size] for at in range(size))
    return bytes(
        (byte - (planes[at - samples] if at >= samples else 0)) & 0xFF
        for at, byte in enumerate(planes)
    )


def _pack_bits(data: bytes) -> bytes:
    parts = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def _lzw(data: bytes) -> bytes:
    """Encode as LZW (section 13) with codes of single bytes alone, and often a clear code."""
    text = ""
    for at, byte in enumerate(data):
        text += f"{256:09b}" * (at % 200 == 0) + f"{byte:09b}"
    text += f"{257:09b}"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


COMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    5: _lzw,
    8: zlib.compress,
    32773: _pack_bits,
    32946: zlib.compress,
    34925: lzma.compress,
}


def jpeg_tiff(image: Image.Image, photometric: int, storage: Storage, **fields: Any) -> bytes:
    """Return a file of one strip, or of a strip a plane, that is compressed as JPEG."""
    # Pillow inverts CMYK, as Adobe does in JPEG, but not in TIFF.
    stored = ImageChops.invert(image) if image.mode == "CMYK" else image
    images = image.split() if storage.planar else [stored]
    parts: list[bytes] = []
    for each in images:
        buffer = io.BytesIO()
        each.save(buffer, "JPEG", quality=100, subsampling=0, keep_rgb=photometric == 2)
        parts.append(buffer.getvalue())
    samples = len(image.getbands())
    tags: dict[int, Any] = {
        256: (image.width,),
        257: (image.height,),
        258: (8,) * samples,
        259: (JPEG,),
        262: (photometric,),
        277: (samples,),
        284: (2 if storage.planar else 1,),
    }
    tags |= {int(name[1:]): value for name, value in fields.items()}
    storage = msgspec.structs.replace(storage, rows_per_strip=image.height)
    return assembled(parts, tags, storage)
