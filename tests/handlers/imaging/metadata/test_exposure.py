"""How a photo was exposed."""

from fractions import Fraction
from typing import Any

import pytest

from domain.photo.results import Exposure
from handlers.imaging.metadata.exif import Tag
from tests.handlers.imaging.metadata.files import (
    BYTE,
    DOUBLE,
    FLOAT,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    facts_of,
)

NO_VALUE = (RATIONAL, [(0, 0)])


def exposure(**tags: Any) -> Exposure:
    return facts_of(exif_={Tag[name.upper()]: value for name, value in tags.items()}).exposure


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(10, 2500), "1/250"),
        (Fraction(16667, 1000000), "1/60"),
        (Fraction(1), "1"),
        (Fraction(30), "30"),
        (Fraction(5, 2), "5/2"),
        (Fraction(3, 10), "3/10"),
        ((FLOAT, [0.004]), "1/250"),
        ((DOUBLE, [0.5]), "1/2"),
        ((SHORT, [2]), "2"),
        (NO_VALUE, None),
        ((RATIONAL, [(1, 0)]), None),
        (Fraction(0), None),
        (Fraction(-1, 250), None),
        ((FLOAT, [float("nan")]), None),
        ((FLOAT, [float("inf")]), None),
        ("1/250", None),
    ],
)
def test_an_exposure_time_is_a_fraction_of_a_second(value: Any, expected: str | None) -> None:
    assert exposure(exposure_time=value).time == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(28, 10), 2.8),
        (Fraction(1244236, 699009), 1.78),
        ((SHORT, [24]), 24),
        (NO_VALUE, None),
        (Fraction(0), None),
        ((RATIONAL, [(0, 0), (1, 3)]), None),
        (b"\0\0\0", None),
    ],
)
def test_numbers_make_sense_or_are_missing(value: Any, expected: float | None) -> None:
    found = exposure(f_number=value, focal_length=value)

    assert found.f_number == expected
    assert found.focal_length == expected


STANDARD, RECOMMENDED, SPEED = 100_000, 200_000, 300_000
ALL = {
    "standard_output_sensitivity": (LONG, [STANDARD]),
    "recommended_exposure_index": (LONG, [RECOMMENDED]),
    "iso_speed": (LONG, [SPEED]),
}


@pytest.mark.parametrize("plain", [None, 0, 65_535])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((1, STANDARD), (2, RECOMMENDED), (3, SPEED), (4, STANDARD), (5, STANDARD)),
        *((6, RECOMMENDED), (7, STANDARD), (0, STANDARD), (None, STANDARD), (99, STANDARD)),
    ],
)
def test_iso_beyond_its_tag_is_where_its_type_says(
    plain: int | None, kind: int | None, expected: int
) -> None:
    tags = {"sensitivity": plain, "sensitivity_type": kind, **ALL}

    found = exposure(**{name: value for name, value in tags.items() if value is not None})

    assert found.iso == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"sensitivity": 200, **ALL}, 200),
        ({"sensitivity": (SHORT, [200, 0])}, 200),
        ({"sensitivity": (SHORT, [0, 200])}, 200),
        ({"sensitivity": (BYTE, [200])}, 200),
        ({"sensitivity": (LONG, [204_800])}, 204_800),
        ({"sensitivity": 65_535, "recommended_exposure_index": (LONG, [102_400])}, 102_400),
        # The tag that the type names has no number: look further.
        ({"sensitivity": 0, "sensitivity_type": 1, "iso_speed": (LONG, [SPEED])}, SPEED),
        ({"sensitivity": 65_535}, None),
        ({"sensitivity": 0}, None),
        ({"sensitivity": "200"}, None),
        ({}, None),
    ],
)
def test_iso_is_a_positive_number_or_missing(tags: dict[str, Any], expected: int | None) -> None:
    assert exposure(**tags).iso == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((SRATIONAL, [(-1, 3)]), -0.33),
        ((SRATIONAL, [(0, 10)]), 0),
        (Fraction(2), 2),
        ((SRATIONAL, [(0, 0)]), None),
        (Fraction(100), None),
    ],
)
def test_compensation_is_in_ev(value: Any, expected: float | None) -> None:
    assert exposure(exposure_bias=value).compensation_ev == expected


@pytest.mark.parametrize(
    ("value", "fired", "mode"),
    [
        *((0x00, False, None), (0x01, True, None), (0x10, False, "off"), (0x18, False, "auto")),
        *((0x19, True, "auto"), (0x09, True, "on"), (0x5F, True, "auto"), (0x20, False, None)),
    ],
)
def test_the_flash_fired_or_not_and_has_a_mode(value: int, fired: bool, mode: str | None) -> None:
    found = exposure(flash=value)

    assert (found.flash_fired, found.flash_mode) == (fired, mode)


def test_modes_have_names() -> None:
    found = exposure(exposure_program=3, metering_mode=5, white_balance=1, focal_length_35mm=36)

    assert found == Exposure(
        program="aperture priority",
        metering_mode="pattern",
        white_balance="manual",
        focal_length_35mm=36,
    )


def test_modes_that_say_nothing_are_missing() -> None:
    assert exposure(exposure_program=0, metering_mode=255, white_balance=9, flash=900) == Exposure()
    assert exposure(focal_length_35mm=0, flash="on", metering_mode=NO_VALUE) == Exposure()


def test_tags_of_the_exposure_count_in_the_main_directory_too() -> None:
    found = facts_of({Tag.F_NUMBER: Fraction(4), Tag.SENSITIVITY: 100}).exposure

    assert (found.f_number, found.iso) == (4, 100)
