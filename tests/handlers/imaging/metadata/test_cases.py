"""Sample files that went wrong, by the rule that each stands for; other tests make more of each."""

import pytest

from domain.photo.results import Gps, MetadataResult
from tests.conftest import PHOTOS
from tests.handlers.imaging.metadata.files import facts

CASES = PHOTOS.parent / "cases" / "metadata"


def of(name: str) -> MetadataResult:
    path = CASES / f"{name}.jpg"
    if not path.is_file():
        pytest.skip(f"no sample files at {CASES}")
    return facts(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "taken_at", "source"),
    [
        ("offset-in-text", "2025-01-14T18:31:30+00:00", "exif:DateTimeOriginal"),
        ("offset-tag-z", "2022-09-02T14:28:05+00:00", "exif:DateTimeOriginal"),
        ("subseconds", "2022-09-02T14:28:05", "exif:DateTimeOriginal"),
        ("slashes", "2003-07-04T14:28:05", "exif:DateTimeOriginal"),
        ("dto-cut-digitized-good", "2022-09-02T14:28:05", "exif:DateTimeDigitized"),
        ("dto-in-ifd0", "2024-12-21T23:39:24", "ifd0:DateTimeOriginal"),
        ("xmp-only", "2018-01-30T20:30:48-05:00", "xmp:photoshop:DateCreated"),
    ],
)
def test_a_time_in_any_form_counts_from_the_first_source_that_has_one(
    name: str, taken_at: str, source: str
) -> None:
    found = of(name)

    assert (found.taken_at, found.taken_at_source) == (taken_at, source)


def test_subseconds_in_the_text_are_kept() -> None:
    assert of("subseconds").taken_at_subsecond_ms == 123


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gps-zero", None),
        ("gps-sec-undef", Gps(latitude=48.888725, longitude=21.0432433, altitude=324.15)),
        ("gps-altref-3", Gps(latitude=46.5, longitude=7.5, altitude=-430)),
    ],
)
def test_a_position_is_what_the_receiver_measured(name: str, expected: Gps | None) -> None:
    assert of(name).gps == expected


@pytest.mark.parametrize(("name", "iso"), [("iso-65535-sos", 102_400), ("iso0-rei", 200)])
def test_iso_beyond_its_tag_is_where_its_type_says(name: str, iso: int) -> None:
    assert of(name).exposure.iso == iso


@pytest.mark.parametrize(
    ("name", "lens"), [("lens-dashes", None), ("lens-spec-only", "24–70 mm f/2.8")]
)
def test_a_lens_has_a_name_or_a_specification_or_is_missing(name: str, lens: str | None) -> None:
    assert of(name).camera.lens == lens


def test_a_text_is_utf_8_where_that_is_valid() -> None:
    assert of("utf8-in-ascii").camera.make == "Größe"


def test_a_bad_entry_costs_itself_alone() -> None:
    found = of("one-bad-entry-orientation")

    assert (found.width, found.height, found.orientation) == (80, 120, 6)
    assert (found.camera.make, found.camera.model) == ("Canon", None)
