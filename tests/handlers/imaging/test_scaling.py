"""Reducing pictures, vectorized and with Pillow."""

from importlib.util import find_spec

import pytest
from PIL import Image, ImageChops, ImageStat

from handlers.imaging import scaling

SIZE = (1000, 750)

needs_vectors = pytest.mark.skipif(
    find_spec("cykooz_resizer") is None, reason="there is no wheel of it for this processor"
)


def picture(mode: str) -> Image.Image:
    """Return a picture with smooth and with fine structures, different in each band."""
    smooth = Image.linear_gradient("L").resize(SIZE, Image.Resampling.BICUBIC)  # pyright: ignore[reportUnknownMemberType]
    noise = Image.effect_noise(SIZE, 60)
    band = ImageChops.blend(smooth, noise, 0.3)
    turned = band.transpose(Image.Transpose.ROTATE_180)
    mirrored = band.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    bands = {"L": [band], "RGB": [band, turned, mirrored], "RGBA": [band, turned, mirrored, turned]}
    return Image.merge(mode, bands[mode])


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@needs_vectors
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(950, 713), (600, 450), (310, 232), (150, 113), (32, 24), (1, 1)])
def test_a_vectorized_picture_differs_from_pillows_by_rounding(
    monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int]
) -> None:
    original = picture(mode)
    vectorized = scaling.reduce(original, size)
    monkeypatch.setattr(scaling, "vectorized", None)

    with_pillow = scaling.reduce(original, size)

    assert (vectorized.size, vectorized.mode) == (size, mode)
    assert mean_difference(vectorized, with_pillow) < 0.5


@needs_vectors
def test_a_vectorized_picture_shows_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    original, box = picture("RGB"), (0, 0, 999.25, 749.5)
    vectorized = scaling.reduce_quickly(original, (800, 600), box)
    monkeypatch.setattr(scaling, "vectorized", None)

    with_pillow = scaling.reduce_quickly(original, (800, 600), box)

    assert mean_difference(vectorized, with_pillow) < 0.5
    shifted = scaling.reduce_quickly(original, (800, 600), (0.5, 0, 999.75, 749.5))
    assert mean_difference(shifted, with_pillow) > 2


def test_transparency_is_reduced_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    original = picture("RGBA")
    reduced = scaling.reduce(original, (500, 375))
    monkeypatch.setattr(scaling, "vectorized", None)

    assert scaling.reduce(original, (500, 375)).tobytes() == reduced.tobytes()


def test_thumbnails_are_reduced_to_a_placeholder_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnail = scaling.reduce(picture("RGB"), (150, 113))
    reduced = scaling.reduce(thumbnail, (32, 24))
    monkeypatch.setattr(scaling, "vectorized", None)

    assert scaling.reduce(thumbnail, (32, 24)).tobytes() == reduced.tobytes()


def test_a_reduced_picture_keeps_what_its_file_said(monkeypatch: pytest.MonkeyPatch) -> None:
    original = picture("L")
    original.info["transparency"] = 7
    reduced = scaling.reduce(original, (500, 375))
    monkeypatch.setattr(scaling, "vectorized", None)

    assert reduced.info == scaling.reduce(original, (500, 375)).info == {"transparency": 7}
