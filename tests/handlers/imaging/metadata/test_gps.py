"""Where a photo was taken."""

from fractions import Fraction
from typing import Any

import pytest

from domain.photo.results import Gps
from tests.handlers.imaging.metadata.files import (
    BYTE,
    RATIONAL,
    SLONG,
    SRATIONAL,
    facts_of,
)

NO_VALUE = (0, 0)
NORTH, LATITUDE, EAST, LONGITUDE, BELOW, ALTITUDE = range(1, 7)
STATUS, DIRECTION_FROM, DIRECTION = 9, 16, 17


def position(**changes: Any) -> Gps | None:
    tags: dict[str, Any] = {
        "north": "N",
        "latitude": [(10, 1), (30, 1), (0, 1)],
        "east": "E",
        "longitude": [(20, 1), (15, 1), (0, 1)],
        "below": (BYTE, [0]),
        "altitude": Fraction(1234, 10),
    } | changes
    more = {
        STATUS: tags.pop("status", None),
        DIRECTION_FROM: tags.pop("direction_from", None),
        DIRECTION: tags.pop("direction", None),
    }
    gps = dict(enumerate(tags.values(), start=1)) | more
    return facts_of(gps={tag: value for tag, value in gps.items() if value is not None}).gps


def test_a_position_has_signs() -> None:
    assert position() == Gps(latitude=10.5, longitude=20.25, altitude=123.4)
    assert position(north="S", east="w\0", below=(BYTE, [1])) == Gps(
        latitude=-10.5, longitude=-20.25, altitude=-123.4
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"north": None},
        {"north": ""},
        {"east": "X"},
        {"latitude": None},
        {"latitude": [NO_VALUE] * 3},
        {"latitude": [(91, 1), (0, 1), (0, 1)]},
        {"latitude": [(10, 1), NO_VALUE, (5, 1)]},
        {"latitude": [(10, 1), (75, 1), (0, 1)]},
        {"longitude": [(180, 1), (1, 1), (0, 1)]},
        {"longitude": "east"},
        {"longitude": (SRATIONAL, [(-1, 1), (0, 1), (0, 1)])},
        {"longitude": [(1, 1)] * 4},
        # Degrees alone, without a fraction, are exact to 100 km.
        {"latitude": [(10, 1), NO_VALUE, NO_VALUE]},
    ],
)
def test_an_incomplete_position_is_none(changes: dict[str, Any]) -> None:
    assert position(**changes) is None


@pytest.mark.parametrize(
    ("latitude", "expected"),
    [
        ([(48, 1), (533235, 10000), NO_VALUE], 48.888725),
        ([(48888725, 1000000), NO_VALUE, NO_VALUE], 48.888725),
        ([(48, 1), (53, 1)], 48.8833333),
        ([(48888725, 1000000)], 48.888725),
        ([(48, 1), (53, 1), (1941, 100)], 48.888725),
        ((SRATIONAL, [(48, 1), (53, 1), (1941, 100)]), 48.888725),
        ((SLONG, [48, 53, 19]), 48.8886111),
    ],
)
def test_undefined_seconds_are_none(latitude: Any, expected: float) -> None:
    found = position(latitude=latitude)

    assert found is not None
    assert found.latitude == expected


ZERO = [(0, 1), (0, 1), (0, 1)]


@pytest.mark.parametrize("status", [None, "V", "", "X"])
def test_zeros_are_a_receiver_without_a_fix(status: str | None) -> None:
    assert position(latitude=ZERO, longitude=ZERO, status=status) is None


def test_zeros_are_a_place_if_the_receiver_says_so() -> None:
    found = position(latitude=ZERO, longitude=ZERO, status="A", north="S")

    assert found is not None
    assert (found.latitude, str(found.latitude), found.longitude) == (0, "0.0", 0)


def test_one_zero_is_a_place() -> None:
    assert position(latitude=ZERO) is not None
    assert position(longitude=ZERO, status="V") is not None


@pytest.mark.parametrize(
    ("below", "altitude", "expected"),
    [
        ((BYTE, [0]), Fraction(430), 430),
        ((BYTE, [1]), Fraction(430), -430),
        ((BYTE, [2]), Fraction(430), 430),
        ((BYTE, [3]), Fraction(430), -430),
        (None, Fraction(430), 430),
        (b"\x01", Fraction(430), -430),
        ("1", Fraction(430), 430),
        ((BYTE, [0]), Fraction(-43, 10), -4.3),
        ((BYTE, [1]), Fraction(-43, 10), -4.3),
        ((BYTE, [1]), Fraction(0), 0),
        ((BYTE, [0]), Fraction(324145, 1000), 324.15),
        ((BYTE, [0]), Fraction(4_294_967_295), None),
        ((BYTE, [0]), (RATIONAL, [NO_VALUE]), None),
        ((BYTE, [0]), "high", None),
    ],
)
def test_the_altitude_has_the_sign_of_its_reference(
    below: Any, altitude: Any, expected: float | None
) -> None:
    found = position(below=below, altitude=altitude)

    assert found == Gps(latitude=10.5, longitude=20.25, altitude=expected)


@pytest.mark.parametrize(
    ("direction", "reference", "expected"),
    [
        (Fraction(2705, 10), "T", (270.5, "true")),
        (Fraction(2705, 10), "M", (270.5, "magnetic")),
        (Fraction(2705, 10), None, (270.5, None)),
        (Fraction(360), "T", (0, "true")),
        (Fraction(361), "T", (None, None)),
        ((RATIONAL, [NO_VALUE]), "T", (None, None)),
    ],
)
def test_the_direction_is_clockwise_from_its_north(
    direction: Any, reference: str | None, expected: tuple[float | None, str | None]
) -> None:
    found = position(direction=direction, direction_from=reference)

    assert found is not None
    assert (found.direction_degrees, found.direction_reference) == expected
