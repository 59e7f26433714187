"""ICC profiles of all classes, and profiles that are broken in ways of their own."""

from collections.abc import Sequence

import pytest
from PIL import Image

from handlers.imaging.picture import load
from tests.handlers import colorimetry, profiles
from tests.handlers.colorimetry import Triple, chart
from tests.handlers.pictures import adobe_rgb_profile, encoded, gradient
from tests.handlers.profiles import V2, V4

GAMMA = 1.8


def swapped(channels: Sequence[float]) -> Triple:
    """Return the colour that a profile of an odd scanner gives to a pixel: blue, red, green."""
    return channels[2], channels[0], channels[1]


def printed(channels: Sequence[float]) -> Triple:
    """Return the colour of ideal inks on paper."""
    cyan, magenta, yellow, black = channels
    red, green, blue = ((1 - ink) * (1 - black) for ink in (cyan, magenta, yellow))
    return red, green, blue


@pytest.mark.parametrize("version", [V2, V4])
@pytest.mark.parametrize("kind", [b"scnr", b"mntr", b"prtr", b"spac"])
def test_a_profile_of_tables_is_used_whatever_its_class(kind: bytes, version: int) -> None:
    table = profiles.table_to_lab(3, swapped, 9, version)
    profile = profiles.profile(kind, b"RGB ", b"Lab ", {b"A2B0": table}, version)
    image = colorimetry.patches([(green, blue, red) for red, green, blue in chart()])

    picture = load(encoded(image, "PNG", icc_profile=profile))

    worst, mean = colorimetry.worst_and_mean(picture.image, chart())
    assert (worst < 4, mean < 1.0) == (True, True)
    assert picture.warning is None
    assert picture.colour_space == "A profile"


@pytest.mark.parametrize("version", [V2, V4])
@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_print_colours_are_shown_by_their_profile(format_: str, version: int) -> None:
    table = profiles.table_to_lab(4, printed, 5, version)
    profile = profiles.profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table}, version)
    inks = (0, 64, 128, 32)
    options = {"quality": 100} if format_ == "JPEG" else {}

    data = encoded(Image.new("CMYK", (16, 16), inks), format_, icc_profile=profile, **options)
    picture = load(data)

    pixel = picture.image.getpixel((8, 8))
    assert isinstance(pixel, tuple)
    expected = printed([ink / 255 for ink in inks])
    assert colorimetry.delta_e([value / 255 for value in pixel], expected) < 2
    assert picture.warning is None


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("connection", [b"XYZ ", b"Lab "])
def test_grey_is_shown_by_the_curve_of_its_profile(mode: str, connection: bytes) -> None:
    tags = {b"kTRC": profiles.gamma(GAMMA)}
    profile = profiles.profile(b"mntr", b"GRAY", connection, tags)
    image = Image.new(mode, (8, 8), 128 if mode == "L" else (128, 255))

    picture = load(encoded(image, "PNG", icc_profile=profile))

    light = (128 / 255) ** GAMMA
    if connection == b"Lab ":  # there the curve leads to lightness
        light = ((100 * light + 16) / 116) ** 3
    expected = 255 * colorimetry.srgb_signal(light)
    pixel = picture.image.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert max(abs(value - expected) for value in pixel) <= 1
    assert picture.warning is None


@pytest.mark.parametrize("kind", [b"link", b"abst", b"nmcl"])
def test_a_profile_of_a_class_without_device_colours_is_a_warning(kind: bytes) -> None:
    profile = bytearray(adobe_rgb_profile())
    profile[12:16] = kind

    picture = load(encoded(gradient(16, 16), "PNG", icc_profile=bytes(profile)))

    assert picture.warning is not None
    assert picture.image.getpixel((5, 9)) == gradient(16, 16).getpixel((5, 9))


def test_a_profile_that_makes_everything_black_is_a_warning() -> None:
    nothing = b"XYZ \0\0\0\0" + bytes(12)
    tags = {channel + b"XYZ": nothing for channel in (b"r", b"g", b"b")}
    tags |= {channel + b"TRC": profiles.gamma(GAMMA) for channel in (b"r", b"g", b"b")}
    profile = profiles.profile(b"mntr", b"RGB ", b"XYZ ", tags)

    picture = load(encoded(gradient(16, 16), "PNG", icc_profile=profile))

    assert picture.warning is not None
    assert picture.image.getpixel((5, 9)) == gradient(16, 16).getpixel((5, 9))


@pytest.mark.parametrize("length", [4, 100, 128, 140, 300])
def test_a_profile_that_is_cut_is_a_warning(length: int) -> None:
    data = encoded(gradient(16, 16), "PNG", icc_profile=adobe_rgb_profile()[:length])

    picture = load(data)

    assert picture.warning is not None
    assert not picture.damaged
    assert picture.image.getpixel((5, 9)) == gradient(16, 16).getpixel((5, 9))


def test_the_colours_of_a_lab_picture_have_a_name() -> None:
    image = Image.new("LAB", (8, 8), (128, 128, 128))

    picture = load(encoded(image, "TIFF"))

    assert picture.colour_space == "CIE L*a*b*"
    assert picture.image.getpixel((4, 4)) == (119, 119, 119)
    assert picture.warning is None


def test_a_profile_for_print_is_used_whatever_code_points_it_names() -> None:
    table = profiles.table_to_lab(4, printed, 5, V4)
    tags = {b"A2B0": table, b"cicp": b"cicp" + bytes(4) + bytes((9, 16, 0, 1))}
    profile = profiles.profile(b"prtr", b"CMYK", b"Lab ", tags, V4)
    inks = (0, 64, 128, 32)

    picture = load(encoded(Image.new("CMYK", (16, 16), inks), "TIFF", icc_profile=profile))

    pixel = picture.image.getpixel((8, 8))
    assert isinstance(pixel, tuple)
    expected = printed([ink / 255 for ink in inks])
    assert colorimetry.delta_e([value / 255 for value in pixel], expected) < 2
