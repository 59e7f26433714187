"""Missing or broken parts of a picture are damage; broken metadata is none."""

import io
import random
import struct
import zlib

import pytest
from PIL import Image

from handlers.imaging.damage import BROKEN, CUT
from handlers.imaging.picture import load
from tests.handlers.imaging.tiffs import Storage, tiff
from tests.handlers.pictures import adobe_rgb_profile, encoded, gradient

SIZE = WIDTH, HEIGHT = 64, 48
NOISE = Image.effect_noise(SIZE, 90).convert("RGB")


def chunk(kind: bytes, body: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(kind + body) if check is None else check
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def png(rows: bytes, *before: bytes, interlaced: bool = False, colour_type: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, colour_type, 0, 0, interlaced)
    parts = (chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def unfiltered(image: Image.Image, filters: dict[int, int] | None = None) -> bytes:
    data, length = image.tobytes(), 3 * image.width
    return b"".join(
        bytes([(filters or {}).get(y, 0)]) + data[y * length : (y + 1) * length]
        for y in range(image.height)
    )


@pytest.mark.parametrize("kind", [5, 9, 255])
def test_a_png_row_with_an_impossible_filter_is_damage(kind: int) -> None:
    picture = load(png(unfiltered(NOISE, {30: kind})))

    assert (picture.damaged, picture.warning) == (True, BROKEN)
    assert (
        picture.image.crop((0, 0, WIDTH, 30)).tobytes() == NOISE.crop((0, 0, WIDTH, 30)).tobytes()
    )


@pytest.mark.parametrize("rows", [1, 30, 47])
def test_a_png_with_too_few_rows_is_damaged(rows: int) -> None:
    data = unfiltered(NOISE)[: rows * (3 * WIDTH + 1)]

    picture = load(png(data))

    assert picture.damaged
    assert picture.image.crop((0, 0, WIDTH, rows)).tobytes() == (
        NOISE.crop((0, 0, WIDTH, rows)).tobytes()
    )


def test_an_interlaced_png_with_too_few_rows_is_damaged() -> None:
    passes = b""
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)),
        (0, 1, 1, 2),
    ):
        for y in range(top, HEIGHT, down):
            pixels = [NOISE.getpixel((x, y)) for x in range(left, WIDTH, across)]
            passes += b"\0" + bytes(value for pixel in pixels for value in pixel)  # pyright: ignore

    assert not load(png(passes, interlaced=True)).damaged
    assert load(png(passes[: -3 * WIDTH - 1], interlaced=True)).damaged


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", ["black", "white"])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_png_of_one_colour_is_whole(colour: str, height: int, interlaced: bool) -> None:
    image = Image.new("RGB", (WIDTH, height), colour)

    assert not load(encoded(image, "PNG", interlace=interlaced)).damaged


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_a_black_png_of_every_kind_is_whole(mode: str) -> None:
    assert not load(encoded(Image.new(mode, SIZE), "PNG")).damaged


LARGE = zlib.compress(bytes(3 << 20))
METADATA = {
    "a text with a wrong checksum": chunk(b"tEXt", b"Title\0x", check=1),
    "a compressed text with a wrong checksum": chunk(b"zTXt", b"Title\0\0x", check=1),
    "a text that expands to 3 MB": chunk(b"zTXt", b"Title\0\0" + LARGE),
    "an international text that expands to 3 MB": chunk(b"iTXt", b"T\0\1\0\0\0" + LARGE),
    "a text that is not compressed as it says": chunk(b"zTXt", b"Title\0\0no"),
    "an unknown method of compression": chunk(b"zTXt", b"Title\0\7no"),
    "a text of 2 MB": chunk(b"tEXt", b"Title\0" + b"x" * (2 << 20)),
    "an international text without its parts": chunk(b"iTXt", b"T"),
    "a profile that is not compressed as it says": chunk(b"iCCP", b"name\0\0no"),
    "a profile without a name": chunk(b"iCCP", b""),
    "a short resolution": chunk(b"pHYs", b"\0"),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "a short intent": chunk(b"sRGB", b""),
    "short chromaticities": chunk(b"cHRM", b"\0" * 9),
    "a short animation header": chunk(b"acTL", b"\0"),
    "an animation that goes backwards": chunk(b"acTL", struct.pack(">II", 2, 0))
    + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 64, 48, 0, 0, 1, 1, 0, 0)),
    "a chunk of another program": chunk(b"prVt", b"whatever", check=2),
}


@pytest.mark.parametrize("name", METADATA)
def test_broken_metadata_of_a_png_is_no_damage(name: str) -> None:
    picture = load(png(unfiltered(NOISE), METADATA[name]))

    assert not picture.damaged
    assert picture.image.tobytes() == NOISE.tobytes()


def test_a_profile_larger_than_a_megabyte_is_used() -> None:
    profile = adobe_rgb_profile()
    padded = profile + bytes(1_500_000)
    padded = struct.pack(">I", len(padded)) + padded[4:]
    plain = load(encoded(NOISE, "PNG", icc_profile=profile))

    picture = load(encoded(NOISE, "PNG", icc_profile=padded))

    assert not picture.damaged
    assert picture.warning is None
    assert picture.image.tobytes() == plain.image.tobytes()


@pytest.mark.parametrize("kind", [b"PLTE", b"IHDR", b"tRNS"])
def test_a_wrong_checksum_of_what_the_picture_needs_is_damage(kind: bytes) -> None:
    data = bytearray(encoded(NOISE.quantize(16), "PNG", transparency=3))
    at = data.index(kind)
    length = int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 + length] ^= 1

    assert load(bytes(data)).damaged


def test_a_wrong_checksum_of_the_end_of_a_png_is_no_damage() -> None:
    data = png(unfiltered(NOISE))

    picture = load(data[:-1] + bytes([data[-1] ^ 1]))

    assert not picture.damaged
    assert picture.image.tobytes() == NOISE.tobytes()


def test_the_end_of_a_png_may_be_missing() -> None:
    assert not load(png(unfiltered(NOISE))[:-12]).damaged


def bilevel() -> Image.Image:
    return Image.frombytes("1", (200, 300), random.Random(7).randbytes(25 * 300))  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    ("compression", "two_dimensional"),
    [("group3", 0), ("group3", 1), ("group4", 0), ("tiff_ccitt", 0)],
)
def test_a_broken_fax_code_is_damage(compression: str, two_dimensional: int) -> None:
    image = bilevel()
    options = {"tiffinfo": {292: 1}} if two_dimensional else {}
    data = bytearray(encoded(image, "TIFF", compression=compression, **options))
    assert not load(bytes(data)).damaged

    for at in range(2_000, 2_040):
        data[at] = 0x11

    picture = load(bytes(data))
    assert (picture.damaged, picture.warning) == (True, BROKEN)
    assert picture.image.crop((0, 0, 200, 20)).convert("1").tobytes() == (
        image.crop((0, 0, 200, 20)).tobytes()
    )


def test_every_length_of_a_fax_run_is_known() -> None:
    image = Image.new("1", (2_700, 2_620), 1)
    for length in range(2_620):
        image.paste(0, (40, length, 40 + length, length + 1))
    for picture in (image, image.convert("L").point(lambda v: 255 - v).convert("1")):  # pyright: ignore
        for compression in ("group3", "tiff_ccitt"):
            assert not load(encoded(picture, "TIFF", compression=compression)).damaged


@pytest.mark.parametrize("compression", ["group3", "tiff_ccitt"])
def test_a_few_changed_bytes_of_a_fax_in_one_dimension_are_damage(compression: str) -> None:
    whole = encoded(bilevel(), "TIFF", compression=compression)
    seeded = random.Random(11)
    for _ in range(40):
        data = bytearray(whole)
        at = seeded.randrange(500, len(data) - 700)
        data[at : at + 8] = seeded.randbytes(8)

        assert load(bytes(data)).damaged


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("planar", [False, True])
def test_a_tiff_that_ends_early_keeps_what_is_there(compression: int, planar: bool) -> None:
    planes = [
        [[float((x * 5 + y * 3 + n) % 256) for x in range(40)] for y in range(60)] for n in range(3)
    ]
    storage = Storage(compression=compression, planar=planar, rows_per_strip=5)
    whole = tiff(planes, photometric=2, storage=storage)
    # The directory is at the end: it moves before the strips that are cut.
    cut = _with_directory_first(whole, keep=0.6)

    complete, picture = load(whole), load(cut)

    assert not complete.damaged
    assert (picture.damaged, picture.warning) == (True, CUT)
    if not planar:
        assert picture.image.crop((0, 0, 40, 20)).tobytes() == (
            complete.image.crop((0, 0, 40, 20)).tobytes()
        )


def _with_directory_first(data: bytes, keep: float) -> bytes:
    """Return the file with its directory first, and only a part of its strips."""
    start = int.from_bytes(data[4:8], "little")
    tail = bytearray(data[start:])
    count = int.from_bytes(tail[:2], "little")
    shift = len(tail)
    for at in range(2, 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from("<HHI", tail, at)
        size = {3: 2, 4: 4, 7: 1}[kind] * values
        place = at + 8
        if size > 4:
            place = int.from_bytes(tail[place : place + 4], "little") - start
            struct.pack_into("<I", tail, at + 8, 8 + place)
        if tag == 273:
            for each in range(place, place + 4 * values, 4):
                (offset,) = struct.unpack_from("<I", tail, each)
                struct.pack_into("<I", tail, each, offset + shift)
    body = data[8:start]
    return data[:4] + struct.pack("<I", 8) + bytes(tail) + body[: int(len(body) * keep)]


def test_a_gif_whose_data_ends_early_is_damaged() -> None:
    image = NOISE.quantize(64)
    data = encoded(image, "GIF", interlace=0)

    assert not load(data).damaged
    for end in (len(data) // 2, len(data) - 200):
        assert load(data[:end]).damaged


def test_a_one_coloured_photo_is_whole() -> None:
    for format_ in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF"):
        assert not load(encoded(Image.new("RGB", SIZE, "black"), format_)).damaged


def test_what_is_not_broken_stays_silent() -> None:
    buffer = io.BytesIO()
    gradient(*SIZE).save(buffer, "TIFF", compression="tiff_lzw")

    picture = load(buffer.getvalue())

    assert (picture.damaged, picture.warning) == (False, None)
