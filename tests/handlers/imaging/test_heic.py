"""HEIC with and without its decoder. ``test_picture.py`` checks the decoded pictures."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from domain.pipeline.failures import Category
from handlers.imaging import heic, heif_boxes
from handlers.imaging.metadata import isobmff
from handlers.imaging.picture import load
from handlers.stage import ImageLimits, StageContext, StageFailure
from tests.handlers.imaging.test_picture import difference
from tests.handlers.pictures import encoded, gradient

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"

WITHOUT_PILLOW_HEIF = """\
import sys
sys.modules["pillow_heif"] = None
from handlers.imaging import heic, picture
from handlers.stage import StageFailure
heic.confine()
try:
    picture.load(sys.stdin.buffer.read())
except StageFailure as failure:
    print(failure.category, failure.code, failure.message)
"""


def test_a_worker_without_pillow_heif_keeps_a_heic_and_says_how_to_enable_it() -> None:
    output = subprocess.run(
        [sys.executable, "-c", WITHOUT_PILLOW_HEIF], input=HEIC, capture_output=True, check=True
    ).stdout.decode()

    assert output.startswith(f"{Category.CONFIGURATION} heic-not-supported HEIC is not supported")
    assert "`photolog[heic]`" in output


def test_a_refused_format_is_not_decoded(photos: Path) -> None:
    context = StageContext(limits=ImageLimits(refused_formats="TIFF HEIC"))

    with pytest.raises(StageFailure) as failure:
        load((photos / "formats" / "iphone.heic").read_bytes(), context)

    assert (failure.value.category, failure.value.code) == ("configuration", "format-refused")
    assert load((photos / "formats" / "picture.png").read_bytes(), context).format == "PNG"


def test_the_tests_run_with_the_heic_extra() -> None:
    assert heic.pillow_heif is not None


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turned(orientation: int) -> bytes:
    """Return a HEIC of 48 by 32 pixels with that orientation in EXIF, and in `irot` and `imir`."""
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(gradient(48, 32), "HEIF", quality=90, exif=exif.tobytes())


@pytest.fixture(autouse=True)
def _encoder() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    Image.init()
    pillow_heif.register_heif_opener()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_that_the_file_turns_is_not_turned_again(orientation: int) -> None:
    data = turned(orientation)
    assert isobmff.read(data).orientation == orientation

    picture = load(data)
    without = load(data.replace(b"Exif", b"Exyf"))

    assert picture.orientation == without.orientation == orientation
    assert difference(picture.image, load(turned(1)).image.transpose(TURNS[orientation])) < 3
    assert (picture.width, picture.height) == ((48, 32) if orientation < 5 else (32, 48))


@pytest.mark.parametrize("mirror", [0, 1])
@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror_first", [False, True])
def test_rotation_and_mirror_apply_in_their_order(
    rotation: int, mirror: int, mirror_first: bool
) -> None:
    data = turned(5)  # which has both
    properties = [bytes((0, 0, 0, 9)) + b"irot" + bytes((rotation,)),
                  bytes((0, 0, 0, 9)) + b"imir" + bytes((mirror,))]  # fmt: skip
    at = data.index(b"irot") - 4
    assert data[at + 13 : at + 17] == b"imir"
    data = data[:at] + b"".join(properties[:: -1 if mirror_first else 1]) + data[at + 18 :]

    picture = load(data)

    expected = load(turned(1)).image.transpose(TURNS[picture.orientation])
    assert difference(picture.image, expected) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_rotation_and_mirror_the_orientation_in_exif_counts(orientation: int) -> None:
    data = turned(orientation)
    for kind in (b"irot", b"imir"):
        data = data.replace(kind, b"free")
    assert isobmff.read(data).orientation is None

    picture = load(data)

    assert picture.orientation == orientation
    assert (picture.width, picture.height) == ((48, 32) if orientation < 5 else (32, 48))


@pytest.mark.parametrize("count", [1, 2, 24])
def test_the_pictures_of_a_sequence_are_counted(count: int) -> None:
    # Sequences of HEIC and AVIF have the same boxes.
    frames = [gradient(16, 16).rotate(turn) for turn in range(count)]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])

    assert heif_boxes.sequence_length(data) == (count if count > 1 else 0)


@pytest.mark.parametrize("length", range(0, 120, 7))
def test_boxes_that_are_cut_or_broken_say_nothing(length: int) -> None:
    data = turned(6)

    assert isobmff.read(data[:length]).orientation is None
    assert heif_boxes.sequence_length(data[:length] + b"\xff" * 40) == 0
