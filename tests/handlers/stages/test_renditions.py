"""Thumbnails, the optimized picture and the placeholder."""

from pathlib import Path

import pytest
from PIL import Image

from domain.photo.results import OptimizationResult, PlaceholderResult, ThumbnailsResult
from handlers.imaging import scaling
from handlers.imaging.picture import load
from handlers.stage import Made, Recipe, StageContext
from handlers.stages import optimization, placeholder, thumbnails
from tests.handlers.pictures import (
    adobe_rgb_as_srgb,
    adobe_rgb_profile,
    decoded,
    encoded,
    gradient,
    unblurred,
    with_exif,
)


def thumbnails_of(data: bytes) -> tuple[Made, ...]:
    return thumbnails.run(load(data), StageContext()).renditions


def optimized(data: bytes, recipe: Recipe | None = None) -> Made:
    context = StageContext(recipe=recipe or Recipe())
    (made,) = optimization.run(load(data, context), context).renditions
    return made


def blurhash_of(data: bytes) -> str:
    result = placeholder.run(load(data), StageContext()).result
    assert isinstance(result, PlaceholderResult)
    return result.blurhash


@pytest.mark.parametrize("name", ["nikon-d90", "leica-t-typ-701", "oppo-r7-plus"])
def test_a_photo_has_three_thumbnails_and_an_optimized_picture(photos: Path, name: str) -> None:
    picture = load((photos / "camera" / f"{name}.jpg").read_bytes())

    small = thumbnails.run(picture, StageContext())
    large = optimization.run(picture, StageContext())

    made = (*small.renditions, *large.renditions)
    assert [each.name for each in made] == [
        *("thumbnail-150", "thumbnail-300", "thumbnail-600"),
        "optimized",
    ]
    assert [max(each.width, each.height) for each in made] == [150, 300, 600, 1920]
    for each in made:
        shape = each.width / each.height
        assert abs(shape / (picture.width / picture.height) - 1) < 0.01
        assert (decoded(each.data).format, each.mime_type) == ("WEBP", "image/webp")
        assert decoded(each.data).size == (each.width, each.height)
    assert small.result == ThumbnailsResult(sizes=(150, 300, 600))
    assert large.result == OptimizationResult(recipe="webp-1920-q80-m2")


@pytest.mark.parametrize("size", [(40, 30), (150, 150), (1, 1)])
def test_a_small_photo_is_never_enlarged(size: tuple[int, int]) -> None:
    data = encoded(gradient(*size))

    for made in (*thumbnails_of(data), optimized(data)):
        assert (made.width, made.height) == size


def test_a_line_stays_a_line() -> None:
    made = thumbnails_of(encoded(gradient(1, 4000)))

    assert [(each.width, each.height) for each in made] == [(1, 150), (1, 300), (1, 600)]


def test_renditions_contain_no_position(photos: Path) -> None:
    tagged = with_exif(gradient(700, 500), {271: "Secret"}, {}, {1: "N", 2: (1.0, 2.0, 3.0)})

    for data in (tagged, (photos / "gps" / "DSCN0010.jpg").read_bytes()):
        for made in (*thumbnails_of(data), optimized(data)):
            chunks = {made.data[12:16], *(made.data[30:34],)}
            assert not chunks & {b"VP8X", b"EXIF", b"XMP ", b"ICCP"}
            assert not decoded(made.data).getexif()
            assert b"Secret" not in made.data


def test_renditions_are_upright(photos: Path) -> None:
    for orientation in (1, 6, 8):
        data = (photos / "orientation" / f"portrait-{orientation}.jpg").read_bytes()

        assert [each.height for each in thumbnails_of(data)] == [150, 300, 600]


def test_thumbnails_of_a_wide_gamut_photo_have_correct_colours() -> None:
    colour = (60, 160, 70)
    flat = Image.new("RGB", (800, 600), colour)

    made = thumbnails_of(encoded(flat, "JPEG", quality=95, icc_profile=adobe_rgb_profile()))

    for each in made:
        found = decoded(each.data).convert("RGB").getpixel((50, 50))
        assert isinstance(found, tuple)
        expected = adobe_rgb_as_srgb(colour)
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 6


def test_renditions_keep_transparency() -> None:
    image = gradient(700, 700)
    image.putalpha(gradient(700, 700).getchannel("R"))

    for made in thumbnails_of(encoded(image)):
        assert decoded(made.data).mode == "RGBA"
        clearest, densest = decoded(made.data).getchannel("A").getextrema()
        assert (clearest, densest) == pytest.approx((0, 255), abs=2)


def test_a_recipe_for_small_pictures_leaves_thumbnails_alone() -> None:
    recipe = Recipe(longest_edge=400)
    context = StageContext(recipe=recipe)
    data = encoded(gradient(900, 900))

    sizes = [each.width for each in thumbnails.run(load(data, context), context).renditions]

    assert sizes == [150, 300, 600]
    assert optimized(data, recipe).width == 400
    assert recipe.name == "webp-400-q80-m2"


def test_a_placeholder_looks_like_the_picture(photos: Path) -> None:
    thumbnail = thumbnails_of((photos / "camera" / "nikon-d90.jpg").read_bytes())[0]

    text = blurhash_of(thumbnail.data)

    blurred = unblurred(text, 8, 8)
    tiny = decoded(thumbnail.data).convert("RGB").reduce(50)
    means = [sum(image.getchannel("G").tobytes()) for image in (blurred.reduce(4), tiny)]
    assert abs(means[0] / 4 - means[1] / (tiny.width * tiny.height)) < 25


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *[((150, 100), (4, 3)), ((150, 112), (4, 3)), ((100, 150), (3, 4)), ((150, 150), (3, 3))],
        *[((150, 84), (5, 3)), ((1, 1), (3, 3)), ((150, 1), (9, 1)), ((1, 150), (1, 9))],
    ],
)
def test_a_placeholder_has_more_waves_along_the_longer_edge(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert placeholder.components(*size) == expected
    text = blurhash_of(encoded(gradient(*size)))
    assert len(text) == 4 + 2 * expected[0] * expected[1]


def test_a_placeholder_shows_transparent_parts_as_white() -> None:
    nothing = encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))
    white = encoded(Image.new("RGB", (20, 20), "white"))

    assert blurhash_of(nothing) == blurhash_of(white)


# The results of blurhash-python 1.2.2, which stored events contain.
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((150, 100), "LzHV8o2rwxX7qQWDjte;gJfjfQfj"),
        ((100, 150), "TzHV8o2=wxl|WDjtgJfjfQnlWpjt"),
        ((150, 150), "KzHV8o2rwxl|WDjtgJfjfQ"),
        ((1, 1), "K;Eyb7~l~l~l~l~l~l~l~l"),
        ((150, 1), "8zHUKt2rwxX7a|oeWpoeWp"),
        ((1, 150), "=zEzP2l|gJnlf7oee;oee;"),
        ((33, 32), "LzHV8o2rwxX7l|WDjte;gJfjfQfj"),
    ],
)
def test_the_placeholder_of_a_generated_picture_never_changes(
    size: tuple[int, int], expected: str
) -> None:
    assert blurhash_of(encoded(gradient(*size))) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("camera/canon-eos-5d.jpg", "TCD0i4_M%h-OD*Io02r?sjF2%1-o"),
        ("camera/kodak-pixpro-sp360.jpg", "KUB4j-yDI9yZx^aID*W=xu"),
        ("camera/nikon-d90.jpg", "LFFFB8j@0Ls.-;s:RQof4:WC%LWC"),
        ("formats/animated.webp", "LuNdm=Xl_3-DictRTJRP~CxbNrbV"),
        ("formats/iphone.heic", "TSB}a~adD#yZaKX9ODV?tTpfofaK"),
        ("formats/photo.avif", "LFC?Do4o00~WNFso%MM{Ios:t7NG"),
        ("formats/picture.gif", "LXSFz^-=?ws7?aj?V{WWofa~WAoI"),
        ("formats/picture.png", "LID93P~p?b-:^+-pxuofIoD*MxM{"),
        ("formats/picture.tif", "TKGbu6~Wox?aMxM|%#R*R.xtoIM{"),
        ("orientation/portrait-1.jpg", "TSHonANGWB_NM{ofxuM{t7-;t7ax"),
        ("orientation/portrait-6.jpg", "TSHonANGWB_NM{ofxuM{t7-;t7ax"),
    ],
)
def test_the_placeholder_of_a_photo_never_changes(
    photos: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setattr(scaling, "vectorized", None)  # Pillow is the same on all machines
    thumbnail = thumbnails_of((photos / name).read_bytes())[0]

    assert blurhash_of(thumbnail.data) == expected
