"""The table of recipes: what each costs, and how similar its renditions are."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from ops.bench import recipe
from ops.bench.similarity import ssim_of
from tests.handlers.pictures import encoded, gradient

SIZE = (640, 480)


def photo() -> Image.Image:
    """Return a picture with edges and a smooth gradient."""
    image = gradient(*SIZE)
    image.paste("white", (80, 60, 200, 400))
    image.paste("black", (300, 200, 560, 260))
    return image


def webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def test_the_same_picture_has_a_similarity_of_one() -> None:
    lossless = io.BytesIO()
    photo().save(lossless, "WEBP", lossless=True)

    assert ssim_of(photo(), lossless.getvalue()) == pytest.approx(1)


def test_more_loss_means_less_similarity() -> None:
    blurred = photo().filter(ImageFilter.GaussianBlur(4))

    fine, coarse = (ssim_of(photo(), webp(photo(), quality)) for quality in (90, 5))

    assert 0 < ssim_of(photo(), webp(blurred, 90)) < coarse < fine < 1


def test_a_rendition_is_compared_at_its_own_size() -> None:
    small = photo().resize((160, 120), Image.Resampling.LANCZOS)  # pyright: ignore[reportUnknownMemberType]

    assert ssim_of(photo(), webp(small, 95)) > 0.97


def test_each_recipe_has_a_row_and_the_default_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(), "JPEG", quality=90))

    recipe.run(1, tmp_path)

    rows = [line for line in capsys.readouterr().out.splitlines() if "photos/s" in line]
    assert [row.split()[0] for row in rows] == [each.name for each in recipe.RECIPES]
    assert [" * " in row for row in rows] == [each == recipe.DEFAULT for each in recipe.RECIPES]


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no photos"):
        recipe.run(1, tmp_path)
