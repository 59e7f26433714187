"""Loading a photo: orientation, size, frames, limits and damage."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from domain.pipeline.failures import Category
from handlers.imaging.picture import Picture, load
from handlers.stage import BadImage, ImageLimits, Recipe, StageContext
from tests.handlers.pictures import (
    decoded,
    encoded,
    gradient,
    scaled,
    with_exif,
)

SMALL = StageContext(limits=ImageLimits(max_pixels=1_000_000, max_frames=20))

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"]

BEGINNINGS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\0\0\0WEBP",
    b"GIF89a",
    b"II*\0\x08\0\0\0",
    b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of a pixel's channel, 0 to 255."""
    assert one.size == other.size
    means = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(means) / len(means)


def colour_at(picture: Picture, x: int, y: int) -> tuple[int, ...]:
    pixel = picture.image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


@pytest.mark.parametrize("scene", ["landscape", "portrait"])
def test_each_orientation_gives_the_same_upright_picture(photos: Path, scene: str) -> None:
    files = sorted((photos / "orientation").glob(f"{scene}-*.jpg"))

    first, *others = [load(path.read_bytes()) for path in files]

    assert others
    for other in others:
        assert (other.width, other.height) == (first.width, first.height)
        assert difference(other.image, first.image) < 4
    assert [picture.orientation for picture in (first, *others)] == [
        int(path.stem.split("-")[1]) for path in files
    ]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(format_: str, orientation: int) -> None:
    upright = gradient(120, 80)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright

    picture = load(with_exif(stored, {274: orientation}, format_=format_))

    assert (picture.width, picture.height) == (120, 80)
    assert picture.orientation == orientation
    assert difference(picture.image, upright) < 3


def test_a_heic_is_turned_once(photos: Path) -> None:
    picture = load((photos / "formats" / "iphone.heic").read_bytes())

    assert (picture.width, picture.height) == (3024, 4032)
    assert picture.image.size == (1440, 1920)


def test_a_large_photo_is_reduced_to_the_longest_edge_of_the_recipe(photos: Path) -> None:
    data = (photos / "camera" / "nikon-d90.jpg").read_bytes()

    picture = load(data, StageContext(recipe=Recipe(longest_edge=1000)))

    assert (picture.width, picture.height) == (4288, 2848)
    assert picture.image.size == (1000, 664)


def test_reducing_while_decoding_makes_no_visible_difference(photos: Path) -> None:
    data = (photos / "camera" / "nikon-d90.jpg").read_bytes()
    slow = scaled(decoded(data), 1920, 1275)

    assert difference(load(data).image, slow) < 1.5


def test_a_small_photo_is_not_enlarged() -> None:
    assert load(encoded(gradient(30, 20))).image.size == (30, 20)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 4000), (4000, 1), (5000, 3)])
def test_an_edge_is_never_less_than_one_pixel(width: int, height: int) -> None:
    for format_ in ("PNG", "JPEG"):
        picture = load(encoded(gradient(width, height), format_))

        assert (picture.width, picture.height) == (width, height)
        assert max(picture.image.size) == min(1920, max(width, height))
        assert min(picture.image.size) >= 1


def test_the_first_frame_of_an_animation_stands_for_it(photos: Path) -> None:
    webp = load((photos / "formats" / "animated.webp").read_bytes())
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    gif = load(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert webp.frames == 101
    assert gif.frames == 3
    assert colour_at(gif, 10, 10) == (255, 0, 0)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_frames_are_counted_in_every_format(format_: str) -> None:
    frames = [gradient(16, 16).rotate(30 * turn) for turn in range(4)]
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])

    assert load(data).frames == 4
    with pytest.raises(BadImage) as refused:
        load(data, StageContext(limits=ImageLimits(max_frames=3)))
    assert (refused.value.code, refused.value.category) == ("too-many-frames", Category.SECURITY)


def test_ten_thousand_frames_are_refused_without_decoding_them() -> None:
    frame = b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"

    with pytest.raises(BadImage) as refused:
        load(head + frame * 10_000 + b";")

    assert refused.value.code == "too-many-frames"


def test_a_bomb_is_refused_by_its_header(photos: Path) -> None:
    data = (photos / "hostile" / "bomb-60000x60000.png").read_bytes()

    with pytest.raises(BadImage) as refused:
        load(data)

    assert (refused.value.code, refused.value.category) == ("too-many-pixels", Category.SECURITY)
    assert refused.value.message == "The picture has more than 150 megapixels."


@pytest.mark.parametrize("format_", FORMATS)
def test_the_pixel_limit_holds_in_every_format(format_: str) -> None:
    data = encoded(gradient(101, 100), format_)

    assert load(data, StageContext(limits=ImageLimits(max_pixels=10_100))).width == 101
    with pytest.raises(BadImage) as refused:
        load(data, StageContext(limits=ImageLimits(max_pixels=10_099)))
    assert refused.value.code == "too-many-pixels"


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_the_pixel_limit_holds_in_every_kind_of_webp(options: dict[str, object]) -> None:
    data = encoded(gradient(101, 100), "WEBP", **options)

    with pytest.raises(BadImage) as refused:
        load(data, StageContext(limits=ImageLimits(max_pixels=10_099)))
    assert refused.value.code == "too-many-pixels"


def test_a_photo_that_lacks_its_last_bytes_is_kept_with_a_warning(photos: Path) -> None:
    picture = load((photos / "hostile" / "truncated.jpg").read_bytes())

    assert picture.damaged
    assert picture.warning == "The file ends before the picture does."
    assert (picture.width, picture.height) == (3840, 2160)


def test_a_photo_with_broken_data_is_kept_with_a_warning(photos: Path) -> None:
    picture = load((photos / "hostile" / "corrupted.jpg").read_bytes())

    assert picture.damaged
    assert picture.warning == "The picture data is broken in places."


def test_undamaged_photos_have_no_warning(photos: Path) -> None:
    for path in sorted((photos / "camera").glob("*.jpg")):
        picture = load(path.read_bytes())

        assert not picture.damaged
        assert picture.warning is None


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"progressive": True, "restart_marker_blocks": 3},
        {"restart_marker_rows": 1},
        {"subsampling": 0, "optimize": True, "comment": b"\xff\x9f"},
    ],
)
def test_no_valid_jpeg_counts_as_damaged(options: dict[str, Any]) -> None:
    noise = Image.effect_noise((300, 200), 90).convert("RGB")

    assert not load(encoded(noise, "JPEG", **options)).damaged


@pytest.mark.parametrize("marker", [b"\xff\xd3", b"\xff\x9f"])
def test_a_marker_that_does_not_belong_in_a_scan_is_damage(marker: bytes) -> None:
    data = encoded(gradient(300, 200), "JPEG", restart_marker_rows=1)
    at = data.index(b"\xff\xd5")

    assert load(data[:at] + marker + data[at + 2 :]).damaged


@pytest.mark.parametrize("percent", [10, 50, 99])
def test_a_truncated_heic_is_damaged(photos: Path, percent: int) -> None:
    data = (photos / "formats" / "iphone.heic").read_bytes()

    picture = load(data[: len(data) * percent // 100])

    assert picture.damaged
    assert picture.warning == "The file ends before the picture does."


@pytest.mark.parametrize("name", ["iphone.heic", "photo.avif", "picture.png"])
def test_data_appended_to_a_complete_file_is_no_damage(photos: Path, name: str) -> None:
    data = (photos / "formats" / name).read_bytes()

    assert not load(data).damaged
    assert not load(data + b"\x7f\xff\xff\xffSEFH" + bytes(40)).damaged


@pytest.mark.parametrize("compress_level", [0, 9])
def test_a_changed_byte_of_a_png_is_damage(compress_level: int) -> None:
    noise = Image.effect_noise((400, 400), 90).convert("RGB")
    data = bytearray(encoded(noise, "PNG", compress_level=compress_level))
    assert not load(bytes(data)).damaged

    data[len(data) // 2] ^= 1

    assert load(bytes(data)).damaged


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF"])
def test_half_a_file_is_half_a_picture(format_: str) -> None:
    noise = Image.effect_noise((400, 400), 90).convert("RGB")
    data = encoded(noise, format_, **({"interlace": 0} if format_ == "GIF" else {}))

    picture = load(data[: len(data) // 2])

    assert picture.damaged
    assert difference(picture.image.crop((0, 0, 400, 100)), noise.crop((0, 0, 400, 100))) < 40


@pytest.mark.parametrize("format_", FORMATS)
def test_a_header_alone_is_unreadable(format_: str) -> None:
    data = encoded(Image.effect_noise((400, 400), 90).convert("RGB"), format_)
    end = {"JPEG": data.find(b"\xff\xda") + 20, "GIF": 800}.get(format_, 45)

    with pytest.raises(BadImage) as refused:
        load(data[:end])

    assert (refused.value.code, refused.value.category) == ("unreadable-image", Category.DATA)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("not-an-image.jpg", "unreadable-image"),
        ("fuzz-30c58edd.jpg", "not-an-image"),
        ("fuzz-50b777da.jpg", "not-an-image"),
        ("fuzz-60d281fc.jpg", "not-an-image"),
        ("fuzz-a15a7869.jpg", "not-an-image"),
        ("fuzz-d708eeb6.jpg", "not-an-image"),
        ("fuzz-eb1ce4e1.jpg", "not-an-image"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused(photos: Path, name: str, code: str) -> None:
    with pytest.raises(BadImage) as refused:
        load((photos / "hostile" / name).read_bytes())

    assert (refused.value.code, refused.value.category) == (code, Category.DATA)


def test_missing_parts_show_nothing_of_another_picture() -> None:
    noise = Image.effect_noise((900, 900), 90)
    cut = encoded(noise, "PNG")[:200_000]
    bright = [load(encoded(Image.new("RGB", (900, 900), "white"))) for _ in range(3)]
    del bright

    picture = load(cut)

    assert picture.image.crop((0, 600, 900, 900)).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_the_picture_keeps_no_metadata_of_the_file(photos: Path) -> None:
    picture = load((photos / "gps" / "DSCN0010.jpg").read_bytes())

    assert picture.image.info == {}


def test_loading_twice_gives_the_same_picture(photos: Path) -> None:
    data = (photos / "formats" / "photo.webp").read_bytes()

    assert load(data).image.tobytes() == load(data).image.tobytes()


def test_loading_leaves_pillow_as_it_was() -> None:
    limit = Image.MAX_IMAGE_PIXELS

    with pytest.raises(BadImage):
        load(b"\xff\xd8\xff\xe0 and no more")

    assert limit == Image.MAX_IMAGE_PIXELS


@settings(max_examples=300, derandomize=True)
@given(st.sampled_from([b"", *BEGINNINGS]), st.binary(max_size=400))
def test_any_bytes_are_a_picture_or_a_bad_image(beginning: bytes, rest: bytes) -> None:
    try:
        picture = load(beginning + rest, SMALL)
    except BadImage:
        return
    assert picture.image.mode in ("RGB", "RGBA")


@settings(max_examples=400, derandomize=True)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0, 1),
)
def test_a_picture_with_any_bytes_changed_is_a_picture_or_a_bad_image(
    format_: str, changes: list[tuple[float, int]], length: float
) -> None:
    data = bytearray(with_exif(gradient(40, 30), {274: 6, 271: "Maker"}, format_=format_))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    if length < 0.5:
        del data[int(len(data) * (0.2 + length)) :]

    try:
        picture = load(bytes(data), SMALL)
    except BadImage:
        return
    assert picture.image.mode in ("RGB", "RGBA")
    assert max(picture.image.size) <= 1920
