"""The pixels of a photo: profiles, print, grey, deep samples and transparency become sRGB."""

import pytest
from PIL import Image, ImageCms

from handlers.imaging.picture import load
from tests.handlers.imaging.test_picture import colour_at, difference
from tests.handlers.pictures import (
    adobe_rgb_as_srgb,
    adobe_rgb_profile,
    encoded,
    gradient,
)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("colour", [(200, 80, 60), (60, 160, 70), (128, 128, 128), (250, 250, 20)])
def test_wide_gamut_colours_become_correct_srgb_colours(
    format_: str, colour: tuple[int, int, int]
) -> None:
    options = {"quality": 100, "icc_profile": adobe_rgb_profile()}

    picture = load(encoded(Image.new("RGB", (64, 64), colour), format_, **options))

    expected = adobe_rgb_as_srgb(colour)
    found = colour_at(picture, 20, 20)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 4
    assert picture.warning is None


def test_a_profile_that_says_srgb_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    image = gradient(64, 64)

    picture = load(encoded(image, "PNG", icc_profile=profile))

    assert difference(picture.image, image) == 0


@pytest.mark.parametrize("profile", [b"no profile", adobe_rgb_profile()[:200]])
def test_an_unusable_profile_is_a_warning(profile: bytes) -> None:
    picture = load(encoded(gradient(20, 20), "PNG", icc_profile=profile))

    assert picture.warning is not None
    assert "profile" in picture.warning
    assert not picture.damaged


def test_a_grey_photo_with_a_colour_profile_is_converted() -> None:
    data = encoded(Image.new("L", (20, 20), 100), "JPEG", icc_profile=adobe_rgb_profile())

    picture = load(data)

    expected = adobe_rgb_as_srgb((100, 100, 100))
    assert max(abs(a - b) for a, b in zip(colour_at(picture, 9, 9), expected, strict=True)) <= 2


def test_a_colour_photo_with_a_profile_for_print_keeps_its_colours() -> None:
    profile = bytearray(adobe_rgb_profile())
    profile[16:20] = b"CMYK"

    picture = load(encoded(Image.new("RGB", (9, 9), (9, 99, 200)), icc_profile=bytes(profile)))

    assert colour_at(picture, 4, 4) == (9, 99, 200)
    assert picture.warning is not None


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_print_colours_are_shown_in_rgb(format_: str) -> None:
    cmyk = Image.new("CMYK", (40, 40), (0, 255, 255, 0))

    red, green, blue = colour_at(load(encoded(cmyk, format_)), 20, 20)

    assert red > 200
    assert max(green, blue) < 60


def test_sixteen_bits_of_grey_keep_their_brightness() -> None:
    for format_ in ("PNG", "TIFF"):
        picture = load(encoded(Image.new("I;16", (10, 10), 40_000), format_))

        assert colour_at(picture, 5, 5) == (155, 155, 155)


@pytest.mark.parametrize(
    ("mode", "value", "expected"), [("F", 0.5, 127), ("I", 200, 200), ("I", 40_000, 155)]
)
def test_scientific_pixels_are_scaled_to_the_visible_range(
    mode: str, value: float, expected: int
) -> None:
    image = Image.new(mode, (10, 10), 0)
    image.paste(value, (5, 0, 10, 10))

    picture = load(encoded(image, "TIFF"))

    assert colour_at(picture, 9, 5) == (expected,) * 3


def test_lab_colours_are_converted() -> None:
    image = Image.new("LAB", (10, 10), (137, 128, 128))

    red, green, blue = colour_at(load(encoded(image, "TIFF")), 5, 5)

    assert max(red, green, blue) - min(red, green, blue) <= 3
    assert abs(red - 128) <= 3


def test_black_and_white_and_palettes_are_shown_as_they_are() -> None:
    one_bit = Image.new("1", (10, 10), 1)
    palette = Image.new("RGB", (10, 10), (10, 200, 30)).quantize(4)

    assert colour_at(load(encoded(one_bit)), 5, 5) == (255, 255, 255)
    assert colour_at(load(encoded(palette)), 5, 5) == (10, 200, 30)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_kept(mode: str) -> None:
    image = gradient(2400, 1200).convert(mode)
    image.putalpha(gradient(2400, 1200).getchannel("G"))

    picture = load(encoded(image))

    assert picture.image.mode == "RGBA"
    assert colour_at(picture, 900, 2)[3] <= 2
    assert colour_at(picture, 900, 957)[3] >= 253


def test_a_colour_that_stands_for_transparent_is_transparent() -> None:
    image = Image.new("RGB", (10, 10), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 5, 10))
    keyed = encoded(image, "PNG", transparency=(255, 0, 0))
    paletted = encoded(image.quantize(4), "PNG", transparency=image.quantize(4).getpixel((8, 8)))

    for picture in (load(keyed), load(paletted)):
        assert colour_at(picture, 2, 5) == (0, 0, 255, 255)
        assert colour_at(picture, 8, 5)[3] == 0


def test_alpha_that_hides_nothing_is_dropped() -> None:
    assert load(encoded(gradient(10, 10).convert("RGBA"))).image.mode == "RGB"
