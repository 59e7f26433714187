"""Colour keys of PNG at every depth, and what a small first frame of a GIF leaves uncovered."""

import itertools
import struct
import zlib

import pytest
from PIL import Image

from handlers.imaging.picture import load
from tests.handlers.pictures import encoded

SIZE = WIDTH, HEIGHT = 16, 8
GREY, RGB, PALETTE = 0, 2, 3
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(colour_type: int, depth: int, pixels: list[list[tuple[int, ...]]], *chunks: bytes) -> bytes:
    rows = b""
    for row in pixels:
        text = "".join(f"{sample:0{depth}b}" for pixel in row for sample in pixel)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    return [[left] * (WIDTH // 2) + [right] * (WIDTH // 2)] * HEIGHT


def alphas(data: bytes) -> tuple[int, int]:
    """Return the alpha of the left and of the right half."""
    picture = load(data)
    assert not picture.damaged
    if picture.image.mode == "RGB":
        return 255, 255
    alpha = picture.image.getchannel("A")
    halves = (alpha.crop((at, 0, at + WIDTH // 2, HEIGHT)).getextrema() for at in (0, WIDTH // 2))
    left, right = ((int(low), int(high)) for low, high in halves)  # pyright: ignore
    assert left[0] == left[1]
    assert right[0] == right[1]
    return left[0], right[0]


@pytest.mark.parametrize(
    ("colour_type", "depth"),
    [*itertools.product([GREY], [1, 2, 4, 8, 16]), *itertools.product([RGB], [8, 16])],
)
def test_the_pixels_that_equal_the_key_are_transparent(colour_type: int, depth: int) -> None:
    most = (1 << depth) - 1
    samples = SAMPLES[colour_type]
    for key in {0, 1, most // 3, most}:
        left = (key,) * samples
        key_chunk = chunk(b"tRNS", struct.pack(f">{samples}H", *left))
        for bit in range(depth):
            right = (*left[:-1], key ^ 1 << bit)  # one bit of one sample differs

            assert alphas(png(colour_type, depth, halves(left, right), key_chunk)) == (0, 255)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_bits_beyond_the_depth_of_a_key_do_not_count(depth: int) -> None:
    key = chunk(b"tRNS", struct.pack(">H", 0xFF00 | 1))

    assert alphas(png(GREY, depth, halves((1,), (0,)), key)) == (0, 255)


def test_a_key_keeps_the_colours_of_the_other_pixels() -> None:
    key = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))

    image = load(png(RGB, 16, halves((1, 2, 3), (0xABCD, 0x1234, 0xFFFF)), key)).image

    assert image.getpixel((12, 4)) == (0xAB, 0x12, 0xFF, 255)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_each_colour_of_a_palette_has_an_alpha(depth: int) -> None:
    palette = chunk(b"PLTE", bytes(range(6)))

    data = png(PALETTE, depth, halves((0,), (1,)), palette, chunk(b"tRNS", b"\x40"))

    assert alphas(data) == (0x40, 255)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\1\0"])
def test_a_key_that_is_too_short_does_not_count(body: bytes) -> None:
    assert alphas(png(RGB, 8, halves((0, 1, 0), (9, 9, 9)), chunk(b"tRNS", body))) == (255, 255)


def gif(frame: tuple[int, int, int, int], *, transparent: bool = False) -> bytes:
    """Return a GIF of 30 by 20 pixels with one frame, red where it is not transparent."""
    left, top, width, height = frame
    small = Image.new("P", (width, height), 1)
    small.putpalette([0, 0, 255, 255, 0, 0])
    options = {"transparency": 0} if transparent else {}
    if transparent:
        small.paste(0, (0, 0, 1, height))
    data = bytearray(encoded(small, "GIF", optimize=False, interlace=0, **options))
    struct.pack_into("<HH", data, 6, 30, 20)
    at = data.index(b"," + bytes(4) + struct.pack("<HH", width, height))
    struct.pack_into("<HH", data, at + 1, left, top)
    return bytes(data)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(
    "frame", [(0, 0, 10, 10), (5, 3, 10, 10), (20, 10, 10, 10), (1, 0, 29, 20)]
)
def test_around_a_small_first_frame_a_gif_is_transparent(
    frame: tuple[int, int, int, int], transparent: bool
) -> None:
    left, top, width, height = frame

    picture = load(gif(frame, transparent=transparent))

    assert (picture.width, picture.height, picture.damaged) == (30, 20, False)
    for y, x in itertools.product(range(20), range(30)):
        inside = left + transparent <= x < left + width and top <= y < top + height
        pixel = picture.image.getpixel((x, y))
        assert pixel[3] == (255 if inside else 0)  # pyright: ignore
        if inside:
            assert pixel == (255, 0, 0, 255)


def test_a_gif_whose_first_frame_covers_the_canvas_has_no_transparency() -> None:
    assert load(gif((0, 0, 30, 20))).image.mode == "RGB"


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_shows_its_first_frame_and_tells_how_many_there_are(format_: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}

    picture = load(encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options))

    red, green, blue = picture.image.convert("RGB").getpixel((9, 9))  # pyright: ignore
    assert picture.frames == 3
    assert (red > 240, green < 16, blue < 16) == (True, True, True)
