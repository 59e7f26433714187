"""Files whose EXIF is in XMP alone."""

from fractions import Fraction

import pytest

from domain.photo.results import Exposure, Gps
from handlers.imaging.metadata.exif import Tag
from tests.handlers.imaging.metadata.files import array, facts_of, xmp

PACKET = xmp(
    array("exif:ISOSpeedRatings", "Seq", "400"),
    exif_ExposureTime="1/250",
    exif_FNumber="28/10",
    exif_FocalLength="50/1",
    exif_FocalLengthIn35mmFilm="75",
    exif_ExposureBiasValue="-1/3",
    exif_ExposureProgram="3",
    exif_MeteringMode="5",
    exif_WhiteBalance="1",
    exif_ColorSpace="1",
    exif_GPSLatitude="48,53.3235N",
    exif_GPSLongitude="7,30,36W",
    exif_GPSAltitude="4305/10",
    exif_GPSAltitudeRef="1",
)


def test_xmp_tells_what_exif_lacks() -> None:
    found = facts_of(xmp_=PACKET)

    assert found.exposure == Exposure(
        time="1/250",
        f_number=2.8,
        iso=400,
        focal_length=50,
        focal_length_35mm=75,
        compensation_ev=-0.33,
        program="aperture priority",
        metering_mode="pattern",
        white_balance="manual",
    )
    assert found.gps == Gps(latitude=48.888725, longitude=-7.51, altitude=-430.5)
    assert found.colour_space == "sRGB"


def test_a_tag_counts_before_xmp() -> None:
    found = facts_of(
        exif_={Tag.F_NUMBER: Fraction(4), Tag.SENSITIVITY: 100},
        gps={1: "N", 2: [(1, 1), (0, 1), (0, 1)], 3: "E", 4: [(2, 1), (0, 1), (0, 1)]},
        xmp_=PACKET,
    )

    assert (found.exposure.f_number, found.exposure.iso) == (4, 100)
    assert found.exposure.time == "1/250"
    assert found.gps == Gps(latitude=1, longitude=2)


@pytest.mark.parametrize("text", ["48.888725", "48,53.3235", "48,53.3235X", "N", "", "481,5.0N"])
def test_a_coordinate_in_another_form_is_missing(text: str) -> None:
    packet = xmp(exif_GPSLatitude=text, exif_GPSLongitude="7,30,36W")

    assert facts_of(xmp_=packet).gps is None


@pytest.mark.parametrize("text", ["1/0", "fast", "", "1/2/3", "1e9"])
def test_a_number_in_another_form_is_missing(text: str) -> None:
    assert facts_of(xmp_=xmp(exif_ExposureTime=text)).exposure.time is None
