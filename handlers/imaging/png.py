"""Read PNG: metadata never decides about pixels, and a colour key is exact at every depth.

Pillow gives up a whole file for a broken text, reads a key of 16-bit samples as eight bits and one
of two-bit samples unscaled, and accepts too few rows. Sections are those of PNG, 3rd edition.
"""

import functools
import io
import struct
import zlib
from collections.abc import Iterator

import msgspec
from PIL import Image, ImageChops, ImageFile, PngImagePlugin

from handlers.imaging import damage, reader
from handlers.imaging.attempt import Attempt, Decoded
from handlers.imaging.bands import mapped
from handlers.imaging.colours import conversion, png_marks, tone
from handlers.imaging.colours.coding import Coding
from handlers.imaging.colours.tone import Shaped

_SIGNATURE_BYTES = 8
_AROUND = 12
"""Length, type and checksum of a chunk, four bytes each (5.3)."""

_GREY, _RGB, _RGBA = 0, 2, 6
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type (11.2.1)."""

_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row, and the steps to the next, of each pass of an interlaced picture (8.1)."""

_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_LEAST_BYTES = {b"cHRM": 32, b"sRGB": 1, b"gAMA": 4, b"pHYs": 9}
_KEY_BYTES = {_GREY: 2, _RGB: 6}
_COLOUR_TYPE_AT = 25
_EXPANDED_BYTES = 1 << 20
"""Pillow rejects a file with a longer text or a larger profile."""

_ALL_TEXT_BYTES = 16 << 20
"""Texts beyond it are left out: Pillow rejects a file with 64 MiB of them."""

_MAX_PROFILE_BYTES = 16 << 20
_NO_PROFILE = b"\0"
"""Stands for a profile that cannot be decompressed, so that the user is warned."""

_PIECE_BYTES = 1 << 16


class Header(msgspec.Struct, frozen=True):
    """The fields of IHDR (11.2.1)."""

    width: int
    height: int
    depth: int
    colour_type: int
    interlaced: bool

    @property
    def is_deep(self) -> bool:
        """Whether samples have 16 bits, in a layout whose lower bytes Pillow can decode too."""
        return self.depth == 16 and self.colour_type in (_GREY, _RGB, _RGBA)

    @property
    def data_bytes(self) -> int:
        """The size of the decompressed picture data: rows, each with its filter type (7.2)."""
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for left, top, across, down in passes:
            columns = max(0, -(-(self.width - left) // across))
            rows = max(0, -(-(self.height - top) // down))
            bits = columns * self.depth * _SAMPLES.get(self.colour_type, 1)
            total += rows * (1 + -(-bits // 8)) if columns else 0
        return total


class Chunk(msgspec.Struct, frozen=True):
    """A chunk of the file: its type, and where it and its body begin and end."""

    kind: bytes
    start: int
    end: int
    intact: bool

    def body(self, data: bytes) -> bytes:
        return data[self.start + 8 : self.end - 4]


def read(attempt: Attempt) -> Decoded:
    """Decode the picture; ``damage`` says if a row is missing or broken. Raises as a decoder."""
    found = list(chunks(attempt.data))
    data, flaw, profile = _mended(attempt.data, found)
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    header = _header(data)
    attempt.check_size(*image.size)
    marks = _marks(attempt.data, found)
    coding = png_marks.code_points(marks)
    profile = None if coding else profile or reader.profile(image.info)
    coding = coding or png_marks.without_profile(marks)
    deep = coding if header.is_deep and coding and coding.needs_depth and not profile else None
    attempt.admit_opened(image, deep=deep is not None)
    count = _frames(attempt.data, found)
    attempt.check_frames(count)
    image.load()
    if attempt.lenient or _lacks_rows(image, attempt.data, found, header):
        flaw = damage.BROKEN
    key = _key(attempt.data, found, header)
    picture = _with_key(image, data, header, key) if key else conversion.to_eight_bits(image)
    space = coding
    if deep:
        picture, space = _shaped(image, picture, data, deep)
    return Decoded(
        image=picture,
        size=image.size,
        box=(0, 0, *image.size),
        frames=count,
        profile=profile,
        coding=space,
        damage=flaw,
    )


def chunks(data: bytes) -> Iterator[Chunk]:
    """Iterate over the chunks up to the end of the picture or the file; the last may be cut."""
    view, at = memoryview(data), _SIGNATURE_BYTES
    while at + _AROUND <= len(data):
        kind = data[at + 4 : at + 8]
        end = at + _AROUND + int.from_bytes(data[at : at + 4], "big")
        check = zlib.crc32(view[at + 4 : end - 4]).to_bytes(4, "big")
        yield Chunk(kind, at, end, data[end - 4 : end] == check)
        if kind == b"IEND":
            return
        at = end


def _header(data: bytes) -> Header:
    """Read the header of a file that Pillow has opened."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return Header(width, height, data[24], data[_COLOUR_TYPE_AT], bool(data[28]))


def _mended(data: bytes, found: list[Chunk]) -> tuple[bytes, str | None, bytes | None]:
    """Return a file that Pillow does not give up, its damage, and a profile too large for Pillow.

    A decoder ignores ancillary chunks that are broken (13.1). A wrong checksum of a chunk that
    the picture needs is damage, but what can be shown is shown. Of an animation, the picture that
    any decoder shows is left.
    """
    flaw = profile = None
    parts: list[bytes] = []
    kept, text_left = 0, _ALL_TEXT_BYTES
    for chunk in found:
        if chunk.end > len(data) or chunk.kind == b"IDAT":
            if chunk.end <= len(data) and not chunk.intact:
                flaw = damage.BROKEN
            continue
        if chunk.kind[0] & 0x20:  # ancillary
            if chunk.kind in _TEXTS:
                size = _text_bytes(chunk, data) if chunk.intact and text_left > 0 else None
                text_left -= _EXPANDED_BYTES if size is None else size
                is_kept = size is not None
            else:
                is_kept = chunk.intact and chunk.kind not in _ANIMATION and _is_sound(chunk, data)
            if is_kept:
                continue
            parts.append(data[kept : chunk.start])
            kept = chunk.end
            if chunk.kind == b"tRNS" and not chunk.intact:
                flaw = damage.BROKEN
            elif chunk.kind == b"iCCP" and chunk.intact:
                profile = _expanded(chunk.body(data), _MAX_PROFILE_BYTES) or _NO_PROFILE
        elif not chunk.intact:
            if chunk.kind != b"IEND":  # which holds nothing
                flaw = damage.BROKEN
            check = zlib.crc32(data[chunk.start + 4 : chunk.end - 4]).to_bytes(4, "big")
            parts += data[kept : chunk.end - 4], check
            kept = chunk.end
    return (b"".join((*parts, data[kept:])) if parts else data), flaw, profile


def _is_sound(chunk: Chunk, data: bytes) -> bool:
    """Return whether Pillow can read the chunk, or ignores it."""
    length = chunk.end - chunk.start - _AROUND
    if chunk.kind == b"iCCP":
        return _expanded(chunk.body(data), _EXPANDED_BYTES) is not None
    if chunk.kind == b"tRNS":
        return length >= _KEY_BYTES.get(data[_COLOUR_TYPE_AT], 0)
    return length >= _LEAST_BYTES.get(chunk.kind, 0)


def _text_bytes(chunk: Chunk, data: bytes) -> int | None:
    """Return the size of a text when it is expanded; None if Pillow cannot read it."""
    packed, size = chunk.body(data), chunk.end - chunk.start - _AROUND
    if chunk.kind == b"iTXt":
        name, _, rest = packed.partition(b"\0")
        texts = rest[2:].split(b"\0", 2)
        is_packed = rest[:1] not in (b"\0", b"")
        packed = name + b"\0" + rest[1:2] + texts[-1] if len(texts) == 3 else b""
    else:
        is_packed = chunk.kind == b"zTXt"
    if is_packed:
        expanded = _expanded(packed, _EXPANDED_BYTES)
        return None if expanded is None else len(expanded)
    return size if size <= _EXPANDED_BYTES else None


def _expanded(body: bytes, most: int) -> bytes | None:
    """Decompress what follows a name, 0 and the method 0; None if it is broken or too large."""
    _, _, packed = body.partition(b"\0")
    if packed[:1] != b"\0":
        return None
    inflater = zlib.decompressobj()
    try:
        expanded = inflater.decompress(packed[1:], most)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else expanded


def _marks(data: bytes, found: list[Chunk]) -> dict[bytes, bytes]:
    """Return the bodies of the chunks that tell the colours, which stand before the data (5.6)."""
    marks: dict[bytes, bytes] = {}
    for chunk in found:
        if chunk.kind == b"IDAT":
            break
        if chunk.kind in png_marks.CHUNKS and chunk.intact:
            marks.setdefault(chunk.kind, chunk.body(data))
    return marks


def _shaped(
    image: ImageFile.ImageFile, picture: Image.Image, data: bytes, space: Coding
) -> tuple[Image.Image, Shaped]:
    """Bring 16-bit samples to eight bits in all their precision; ``picture`` has the alpha."""
    if image.mode.startswith("I"):
        bands = [image]
    else:
        bands = list(map(tone.two_bytes, image.split()[:3], _low_bytes(data).split()[:3]))
    shaped, space_now = tone.of_deep(bands, space)
    if picture.mode in ("LA", "RGBA"):
        shaped.putalpha(picture.getchannel("A"))
    return shaped, space_now


def _lacks_rows(image: Image.Image, data: bytes, found: list[Chunk], header: Header) -> bool:
    """Return whether the data ends before the last row, which Pillow leaves black in silence.

    The row that is decoded last is looked at first, since counting takes a fifth of a decode.
    """
    last = header.height - 1
    if header.interlaced:
        last -= 1 - last % 2  # the last pass fills the odd rows
    if last >= 0 and any(image.crop((0, last, image.width, last + 1)).tobytes()):
        return False
    left, inflater = header.data_bytes, zlib.decompressobj()
    for piece in _picture_data(data, found):
        rest = piece
        while rest and left > 0 and not inflater.eof:
            left -= len(inflater.decompress(rest, _PIECE_BYTES))
            rest = inflater.unconsumed_tail
    return left > len(inflater.flush())


def _picture_data(data: bytes, found: list[Chunk]) -> Iterator[bytes]:
    """Iterate over short pieces: zlib copies what is left of its input at each call."""
    for chunk in found:
        if chunk.kind == b"IDAT":
            for at in range(chunk.start + 8, chunk.end - 4, _PIECE_BYTES):
                yield data[at : min(at + _PIECE_BYTES, chunk.end - 4)]


def _frames(data: bytes, found: list[Chunk]) -> int:
    """Return how many frames an animation declares in acTL; 1 for a picture that is none."""
    for chunk in found:
        if chunk.kind == b"acTL" and chunk.intact:
            return max(1, int.from_bytes(chunk.body(data)[:4], "big"))
    return 1


def _key(data: bytes, found: list[Chunk], header: Header) -> tuple[int, ...] | None:
    """Return the samples that stand for transparent (11.3.1.1), without unused bits."""
    samples = _SAMPLES[header.colour_type] if header.colour_type in (_GREY, _RGB) else 0
    for chunk in found:
        body = chunk.body(data)
        if chunk.kind == b"tRNS" and chunk.intact and samples and len(body) >= 2 * samples:
            values = struct.unpack_from(f">{samples}H", body)
            return tuple(value & ((1 << header.depth) - 1) for value in values)
    return None


def _with_key(
    image: ImageFile.ImageFile, data: bytes, header: Header, key: tuple[int, ...]
) -> Image.Image:
    """Give the pixels that equal ``key`` in all their bits an alpha of 0, and all others 255."""
    image.info.pop("transparency", None)
    if header.colour_type == _RGB:
        shift = header.depth - 8
        match = _equal(image, [value >> shift for value in key])
        if shift:
            match = ImageChops.darker(match, _equal(_low_bytes(data), [v & 0xFF for v in key]))
        keyed = image.convert("RGB")
    elif header.depth == 16:
        table = bytes(255 if value == key[0] else 0 for value in range(1 << 16))
        match = mapped(image.convert("I"), table)
        keyed = conversion.to_eight_bits(image)
    else:
        keyed = image.convert("L")
        match = _equal(keyed, [key[0] * 255 // ((1 << header.depth) - 1)])
    keyed.putalpha(ImageChops.invert(match))
    return keyed


def _equal(image: Image.Image, values: list[int]) -> Image.Image:
    """Return a mask that is 255 where the samples have these values."""
    masks = [
        mapped(band, bytes(255 if level == value else 0 for level in range(256)))
        for band, value in zip(image.split(), values, strict=True)
    ]
    return functools.reduce(ImageChops.darker, masks)


def _low_bytes(data: bytes) -> Image.Image:
    """Decode 16-bit RGB or RGBA once more, for the second bytes of samples, which Pillow drops."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    image.tile = [tile._replace(args=f"{image.mode};16L") for tile in image.tile]
    image.load()
    return image
