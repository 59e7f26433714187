"""Every layout of TIFF comes out right or is refused by its name, never wrong in silence."""

import itertools
import os

import pytest
from PIL import Image, ImageChops

from handlers.imaging.colours import conversion
from handlers.imaging.picture import Picture, load
from handlers.stage import BadImage
from tests.handlers.imaging.tiffs import (
    COMPRESSORS,
    FLOAT,
    INT,
    NONE,
    UINT,
    Plane,
    Storage,
    assembled,
    jpeg_tiff,
    tiff,
)
from tests.handlers.pictures import encoded, gradient

WIDTH, HEIGHT = 21, 19
"""Neither fits a tile, a strip or a byte."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
LEAST_ALPHA = 40
MULTIPLIED = 255 // LEAST_ALPHA + 1
"""How exact a colour is that was multiplied by the least alpha, in levels."""

Levels = list[list[int]]


def ramps(count: int) -> list[Levels]:
    """Return bands of levels from 0 to 255 that all differ and are not symmetric."""
    return [
        [
            [(x * 255 // (WIDTH - 1) + 40 * band + y * (band + 1)) % 256 for x in range(WIDTH)]
            for y in range(HEIGHT)
        ]
        for band in range(count)
    ]


def stored(levels: Levels, bits: int, kind: int) -> Plane:
    most = (1 << bits) - 1
    if kind == FLOAT:
        return [[level / 255 for level in row] for row in levels]
    return [[(level * most + 127) // 255 for level in row] for row in levels]


def shown(levels: Levels, bits: int, kind: int) -> Levels:
    """Return the levels that are left of ``levels`` in ``bits`` bits."""
    most = (1 << min(bits, 8)) - 1
    if kind == FLOAT or bits >= 8:
        return levels
    return [[(level * most + 127) // 255 * 255 // most for level in row] for row in levels]


def band(levels: Levels) -> Image.Image:
    return Image.frombytes("L", (WIDTH, HEIGHT), bytes(itertools.chain.from_iterable(levels)))  # pyright: ignore[reportUnknownMemberType]


def off(picture: Picture, expected: Image.Image) -> int:
    """Return the largest difference of a sample."""
    found = picture.image
    assert found.size == expected.size
    if expected.mode == "RGBA" and found.mode == "RGB":
        return 255
    difference = ImageChops.difference(found.convert(expected.mode), expected)
    extrema = difference.getextrema()
    return max(int(high) for _, high in extrema)  # pyright: ignore


def storages(*, planar: bool = True, predictor: int = 1) -> list[Storage]:
    """Return ways to store a picture: some of all, or with LONG_TESTS each of them."""
    every = [
        Storage(
            order=order,
            big=big,
            planar=flat,
            compression=compression,
            tile=tile,
            predictor=predicted,
        )
        for compression, flat, tile, order, big in itertools.product(
            COMPRESSORS, (False, True) if planar else (False,), (0, 16), "<>", (False, True)
        )
        for predicted in sorted({1, predictor if compression in (5, 8, 32946) else 1})
    ]
    return every if "LONG_TESTS" in os.environ else every[::7]


def outcome(data: bytes) -> Picture | BadImage:
    try:
        return load(data)
    except BadImage as refusal:
        return refusal


def check(data: bytes, expected: Image.Image, storage: Storage, tolerance: int = 1) -> None:
    picture = outcome(data)
    if isinstance(picture, BadImage):
        # Only where samples cannot be told apart without undoing a predictor over all of them.
        expected_refusal = storage.predictor > 1 and not storage.planar
        assert (picture.code, expected_refusal) == ("layout-not-supported", True), storage
        return
    assert not picture.damaged, storage
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    assert off(picture, expected) <= tolerance, storage


GREYS = [
    *((bits, UINT) for bits in (1, 2, 4, 8, 12, 16, 24, 32, 64)),
    *((bits, FLOAT) for bits in (16, 32, 64)),
]


def predictor(bits: int, kind: int) -> int:
    if kind == FLOAT:
        return 3
    return 2 if bits in (8, 16, 32, 64) else 1


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize(("bits", "kind"), GREYS)
def test_grey_of_every_depth(photometric: int, bits: int, kind: int) -> None:
    [levels] = ramps(1)
    expected = band(shown(levels, bits, kind))
    if photometric == WHITE_IS_ZERO:
        expected = ImageChops.invert(expected)

    for storage in storages(planar=False, predictor=predictor(bits, kind)):
        data = tiff(
            [stored(levels, bits, kind)],
            bits=bits,
            kind=kind,
            photometric=photometric,
            storage=storage,
        )
        check(data, expected.convert("RGB"), storage)


@pytest.mark.parametrize(("bits", "kind"), GREYS)
def test_rgb_of_every_depth(bits: int, kind: int) -> None:
    bands = ramps(3)
    expected = Image.merge("RGB", [band(shown(levels, bits, kind)) for levels in bands])

    for storage in storages(predictor=predictor(bits, kind)):
        planes = [stored(levels, bits, kind) for levels in bands]
        data = tiff(planes, bits=bits, kind=kind, photometric=RGB, storage=storage)
        check(data, expected, storage)


@pytest.mark.parametrize(
    ("photometric", "associated"),
    [(WHITE_IS_ZERO, False), *itertools.product((BLACK_IS_ZERO, RGB), (False, True))],
)
@pytest.mark.parametrize(
    ("bits", "kind", "extras"),
    [(8, UINT, 0), (8, UINT, 1), (16, UINT, 0), (16, UINT, 1), (32, UINT, 0), (32, FLOAT, 1)],
)
def test_transparency(
    photometric: int, bits: int, kind: int, associated: bool, extras: int
) -> None:
    *colours, alpha, extra = ramps(5 if photometric == RGB else 3)
    alpha = [[max(LEAST_ALPHA, level) for level in row] for row in alpha]
    most = (1 << bits) - 1
    planes = [stored(levels, bits, kind) for levels in colours]
    opacity = stored(alpha, bits, kind)
    if associated:
        planes = [
            [
                [v * a if kind == FLOAT else v * a // most for v, a in zip(*rows, strict=True)]
                for rows in zip(plane, opacity, strict=True)
            ]
            for plane in planes
        ]
    bands = [band(levels) for levels in colours]
    if photometric == WHITE_IS_ZERO:
        bands = [ImageChops.invert(each) for each in bands]
    expected = Image.merge("LA" if len(bands) == 1 else "RGBA", [*bands, band(alpha)])
    fields = (1 if associated else 2, *([0] * extras))

    for storage in storages(predictor=1):
        data = tiff(
            [*planes, opacity, *[stored(extra, bits, kind)] * extras],
            bits=bits,
            kind=kind,
            photometric=photometric,
            storage=storage,
            t338=fields,
        )
        check(data, expected.convert("RGBA"), storage, tolerance=MULTIPLIED if associated else 1)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB, CMYK])
@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("more", [1, 2, 3])
def test_samples_that_are_no_colour_are_ignored(photometric: int, bits: int, more: int) -> None:
    count = {BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}[photometric]
    bands = ramps(count + more)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[count]
    images = [band(shown(levels, bits, UINT)) for levels in bands[:count]]
    expected = images[0] if count == 1 else Image.merge(mode, images)

    for storage in storages(predictor=1):
        data = tiff(
            [stored(levels, bits, UINT) for levels in bands],
            bits=bits,
            photometric=photometric,
            storage=storage,
            t338=(0,) * more,
        )
        check(data, expected.convert("RGB"), storage)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [CMYK, CIELAB, ICCLAB])
def test_print_and_lab_colours(bits: int, photometric: int) -> None:
    bands = ramps(4 if photometric == CMYK else 3)
    planes = [stored(levels, bits, UINT) for levels in bands]
    expected = Image.merge("CMYK" if photometric == CMYK else "LAB", [band(each) for each in bands])
    half = 1 << (bits - 1)
    if photometric == CIELAB:
        planes[1:] = [[[int(v) ^ half for v in row] for row in plane] for plane in planes[1:]]
    wanted = conversion.to_srgb(expected, None).image

    for storage in storages(predictor=2):
        data = tiff(planes, bits=bits, photometric=photometric, storage=storage)
        check(data, wanted, storage, tolerance=3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("unit", [1, 257])
def test_palettes_with_values_of_16_bits_or_of_8(bits: int, unit: int) -> None:
    size = 1 << bits
    colours = [(each * 71 % 256, each * 37 % 256, 255 - each * 11 % 256) for each in range(size)]
    index = [[(x * 7 + y * 3) % size for x in range(WIDTH)] for y in range(HEIGHT)]
    pixels = bytes(value for row in index for each in row for value in colours[each])
    expected = Image.frombytes("RGB", (WIDTH, HEIGHT), pixels)  # pyright: ignore[reportUnknownMemberType]
    table = tuple(each[channel] * unit for channel in range(3) for each in colours)

    for storage in storages(planar=False):
        data = tiff([index], bits=bits, photometric=PALETTE, storage=storage, t320=table)  # pyright: ignore[reportArgumentType]
        check(data, expected, storage)


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_both_orders_of_bits(bits: int, photometric: int, fill_order: int) -> None:
    [levels] = ramps(1)
    expected = band(shown(levels, bits, UINT))
    if photometric == WHITE_IS_ZERO:
        expected = ImageChops.invert(expected)

    for compression in (NONE, 5, 8, 32773):
        storage = Storage(compression=compression, fill_order=fill_order)
        data = tiff(
            [stored(levels, bits, UINT)], bits=bits, photometric=photometric, storage=storage
        )
        check(data, expected.convert("RGB"), storage)


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(photometric: int, compression: str) -> None:
    [levels] = ramps(1)
    image = band(shown(levels, 1, UINT)).convert("1")

    data = encoded(image, "TIFF", compression=compression, tiffinfo={262: photometric})

    expected = image.convert("L")
    check(data, expected.convert("RGB"), Storage())


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB, CMYK])
def test_jpeg_in_tiff(photometric: int, planar: bool) -> None:
    mode = {BLACK_IS_ZERO: "L", RGB: "RGB", CMYK: "CMYK"}[photometric]
    image = gradient(64, 48).convert(mode)

    data = jpeg_tiff(image, photometric, Storage(planar=planar and mode != "L"))

    picture = load(data)
    assert off(picture, image.convert("RGB")) <= 6


@pytest.mark.parametrize("compression", [NONE, 5, 8])
@pytest.mark.parametrize("across", [1, 2, 4])
@pytest.mark.parametrize("down", [1, 2])
def test_ycbcr_whose_colours_are_subsampled(compression: int, across: int, down: int) -> None:
    size = (32, 16)
    image = gradient(*size).convert("YCbCr")
    light, blue, red = (each.tobytes() for each in image.split())
    units = bytearray()
    for y in range(0, size[1], down):
        for x in range(0, size[0], across):
            units += bytes(
                light[(y + dy) * size[0] + x + dx] for dy in range(down) for dx in range(across)
            )
            units += bytes([blue[y * size[0] + x], red[y * size[0] + x]])
    storage = Storage(compression=compression, rows_per_strip=size[1])
    tags = {
        256: (size[0],), 257: (size[1],), 258: (8, 8, 8), 259: (compression,), 262: (YCBCR,),
        277: (3,), 284: (1,), 530: (across, down),
    }  # fmt: skip

    picture = load(assembled([COMPRESSORS[compression](bytes(units))], tags, storage))

    assert off(picture, image.convert("RGB")) <= 12 * max(across, down)


@pytest.mark.parametrize(("high", "kind", "bits"), [(3.0, FLOAT, 32), (70_000, INT, 32)])
def test_a_white_that_the_file_does_not_define_is_told(high: float, kind: int, bits: int) -> None:
    plane = [[high * x / (WIDTH - 1) for x in range(WIDTH)] for _ in range(HEIGHT)]

    picture = load(tiff([plane], bits=bits, kind=kind))

    assert not picture.damaged
    assert picture.warning is not None
    assert "does not say which value is white" in picture.warning


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_profile_and_tags_of_every_header(order: str, big: bool) -> None:
    planes = [stored(levels, 8, UINT) for levels in ramps(3)]

    storage = Storage(order=order, big=big)
    picture = load(tiff(planes, photometric=RGB, storage=storage, t274=(6,), t271=b"Maker\0"))

    assert (picture.width, picture.height) == (HEIGHT, WIDTH)
    assert picture.orientation == 6
    assert picture.embedded.tags.main[271] == b"Maker\0"


def test_a_reduced_version_of_the_picture_is_no_frame() -> None:
    small = gradient(8, 8)
    data = encoded(gradient(32, 32), "TIFF", save_all=True, append_images=[small])
    reduced = small.copy()
    reduced.encoderinfo = {"tiffinfo": {254: 1}}

    assert load(data).frames == 2
    assert (
        load(encoded(gradient(32, 32), "TIFF", save_all=True, append_images=[reduced])).frames == 1
    )
