"""JPEG XL with and without its decoder."""

import subprocess
import sys
from typing import Any

import pytest
from PIL import Image, ImageChops

from domain.pipeline.failures import Category
from handlers.imaging import jxl
from handlers.imaging.cost import Cost, TooCostly
from handlers.imaging.metadata import embedded
from handlers.imaging.metadata.containers import Blocks
from handlers.imaging.picture import load
from handlers.stage import BadImage, ImageLimits, StageContext
from tests.handlers.imaging.metadata.files import tiff
from tests.handlers.pictures import encoded, gradient, srgb_curve, with_exif

WITHOUT_DECODER = """\
import sys
sys.modules["pillow_jxl"] = None
from handlers.imaging import picture
from handlers.stage import StageFailure
try:
    picture.load(sys.stdin.buffer.read())
except StageFailure as failure:
    print(failure.category, failure.code, failure.message)
"""


def written(image: Image.Image, **options: Any) -> bytes:
    pytest.importorskip("pillow_jxl")
    import pillow_jxl  # noqa: F401 # pyright: ignore

    return encoded(image, "JXL", **options)


def test_a_worker_without_the_decoder_keeps_a_jpeg_xl_and_says_how_to_enable_it() -> None:
    output = subprocess.run(
        [sys.executable, "-c", WITHOUT_DECODER],
        input=b"\xff\x0a\xfa\x1f",
        capture_output=True,
        check=True,
    ).stdout.decode()

    assert output.startswith(f"{Category.CONFIGURATION} jxl-not-supported JPEG XL is not supported")
    assert "`photolog[jxl]`" in output


def test_the_tests_run_with_the_jxl_extra() -> None:
    assert jxl.pillow_jxl is not None


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_every_kind_of_lossless_picture(mode: str, container: bool) -> None:
    image = gradient(50, 34)
    if mode == "I;16":
        image = image.convert("L").convert("I").point(lambda v: v * 257).convert("I;16")  # pyright: ignore
        # The encoder declares 16 bits of grey to be linear.
        levels = [round(255 * srgb_curve(value / 255)) for value in range(256)]
        expected = gradient(50, 34).convert("L").point(levels).convert("RGB")  # pyright: ignore
    else:
        image = image.convert(mode)
        if "A" in mode:
            image.putalpha(gradient(50, 34).getchannel("G"))
        expected = image.convert("RGBA" if "A" in mode else "RGB")

    picture = load(written(image, lossless=True, use_container=container))

    assert (picture.format, picture.mime_type) == ("JXL", "image/jxl")
    assert (picture.width, picture.height, picture.damaged) == (50, 34, False)
    difference = ImageChops.difference(picture.image.convert(expected.mode), expected)
    assert max(high for _, high in difference.getextrema()) <= 2  # pyright: ignore


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (64, 64), (256, 256), (300, 200), (256, 128), (513, 2), (2, 700)]
)
def test_the_size_is_known_from_the_header(size: tuple[int, int]) -> None:
    for container in (False, True):
        data = written(Image.new("RGB", size), use_container=container)

        assert jxl.header(data) == jxl.Header(*size, animated=False)


def test_the_limits_hold_before_anything_is_decoded() -> None:
    data = written(gradient(101, 100))

    with pytest.raises(BadImage) as refused:
        load(data, StageContext(limits=ImageLimits(max_pixels=10_099)))
    assert refused.value.code == "too-many-pixels"

    def admit(cost: Cost) -> None:
        assert cost.memory_bytes > 0
        raise TooCostly(cost)

    with pytest.raises(TooCostly):
        load(data, admit=admit)


def test_a_bomb_is_refused_by_its_header() -> None:
    # Size header of 1,073,741,824 by 1,073,741,824 pixels (ISO/IEC 18181-1, D.2).
    bits = "0" + "11" + "1" * 30 + "100"
    data = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little")

    with pytest.raises(BadImage) as refused:
        load(data)

    assert refused.value.code == "too-many-pixels"


def test_an_animation_is_refused_by_name() -> None:
    # A small size of 8 by 8, not all defaults, extra fields: orientation 1, an animation.
    bits = "1" + "00000" + "100" + "0" + "1" + "000" + "0" + "0" + "1"
    data = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little") + bytes(50)

    with pytest.raises(BadImage, match="Animated JPEG XL is not supported"):
        load(data)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_jpeg_xl_that_ends_early_is_unreadable_or_damaged(part: float) -> None:
    data = written(Image.effect_noise((200, 200), 90).convert("RGB"))

    try:
        picture = load(data[: int(len(data) * part)])
    except BadImage as refused:
        assert refused.code == "unreadable-image"  # noqa: PT017
    else:
        assert picture.damaged


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_that_of_the_codestream(orientation: int) -> None:
    # A small size of 8 by 8, not all defaults, extra fields: the orientation, less 1.
    bits = "1" + "00000" + "100" + "0" + "1" + f"{orientation - 1:03b}"[::-1] + "000"
    data = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little") + bytes(50)

    assert jxl.header(data).orientation == orientation
    blocks = Blocks(exif=tiff({274: 3}), orientation=orientation, is_upright=True)
    found = embedded.read(data, "JXL", blocks)
    assert (found.orientation, found.turn) == (orientation, 1)


def test_the_orientation_of_exif_is_not_applied_again() -> None:
    tags = Image.Exif()
    tags[274] = 6
    tags[271] = "Maker"

    picture = load(written(gradient(48, 32), exif=tags.tobytes(), use_container=True))

    assert (picture.width, picture.height, picture.orientation) == (48, 32, 1)
    assert picture.embedded.tags.main[271] == b"Maker\0"


def test_a_recompressed_jpeg_is_turned_as_its_exif_says(tmp_path: Any) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_exif(gradient(48, 32), {274: 6}))
    with Image.open(path) as image:
        data = written(image, lossless_jpeg=True, use_container=True)

    picture = load(data)

    assert (picture.width, picture.height, picture.orientation) == (32, 48, 6)
