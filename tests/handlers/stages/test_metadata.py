"""Metadata from real cameras, and from files of every format."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from domain.photo.results import Camera, Description, Exposure, Gps, MetadataResult
from handlers.imaging.metadata.exif import Tag
from tests.handlers.imaging.metadata.files import (
    exif_segment,
    facts,
    facts_of,
    jpeg,
    tiff,
    xmp,
    xmp_segment,
)
from tests.handlers.pictures import encoded, gradient, with_exif


def test_what_a_camera_recorded_is_found(photos: Path) -> None:
    assert facts((photos / "camera" / "nikon-d90.jpg").read_bytes()) == MetadataResult(
        width=4288,
        height=2848,
        taken_at="2011-04-25T01:55:30",
        taken_at_source="exif:DateTimeOriginal",
        taken_at_subsecond_ms=0.0,
        digitized_at="2011-04-25T01:55:30",
        camera=Camera(make="NIKON CORPORATION", model="NIKON D90", lens="24 mm f/2.8"),
        exposure=Exposure(
            time="1/10",
            f_number=3.2,
            iso=250,
            focal_length=24.0,
            focal_length_35mm=36.0,
            compensation_ev=0.0,
            program="aperture priority",
            metering_mode="pattern",
            flash_fired=False,
            white_balance="auto",
        ),
        software="Ver.1.00",
        colour_space="sRGB",
        hdr_gain_map=False,
        bit_depth=8,
        motion_photo=False,
    )


def test_a_position_is_found_in_decimal_degrees(photos: Path) -> None:
    # 43° 28′ 2.814″ N, 11° 53′ 6.45599999″ E and 43° 27′ 52.038″ N, 11° 52′ 53.322″ E.
    first = facts((photos / "gps" / "DSCN0010.jpg").read_bytes())
    second = facts((photos / "gps" / "DSCN0042.jpg").read_bytes())

    assert first.gps == Gps(latitude=43.4674483, longitude=11.8851267, time="2008-10-23T14:27:07Z")
    assert second.gps == Gps(latitude=43.464455, longitude=11.8814783, time="2008-10-23T14:57:41Z")
    assert (first.exposure.time, first.exposure.f_number) == ("1/75", 5.9)
    assert first.taken_at == "2008-10-22T16:28:39"
    assert first.taken_at_gps_offset is None  # the clocks are a day apart


def test_a_phone_records_its_lens_and_the_offset_of_its_clock(photos: Path) -> None:
    found = facts((photos / "formats" / "iphone.heic").read_bytes())

    assert found.taken_at == "2020-05-04T18:39:11-04:00"
    assert found.taken_at_subsecond_ms == 644
    assert found.camera == Camera(
        make="Apple",
        model="iPhone 11 Pro",
        lens="iPhone 11 Pro back triple camera 4.25mm f/1.8",
    )
    assert (found.width, found.height, found.orientation) == (3024, 4032, 1)
    assert found.content_identifier == "1745E022-9712-43C7-B024-F308EC6413CB"
    assert (found.colour_profile, found.bit_depth) == ("Display P3", 8)


@pytest.mark.parametrize(
    ("path", "model", "iso"),
    [
        ("formats/photo.avif", "Canon EOS 70D", 400),
        ("formats/photo.webp", "COOLPIX P7000", 100),
        ("formats/picture.tif", "PerfectionV800", None),
        ("camera/leica-t-typ-701.jpg", "LEICA T (Typ 701)", 100),
        ("hostile/corrupted.jpg", "u1020,S1020", 80),
    ],
)
def test_every_format_has_its_tags_read(
    photos: Path, path: str, model: str, iso: int | None
) -> None:
    found = facts((photos / path).read_bytes())

    assert found.camera.model == model
    assert found.exposure.iso == iso


def test_a_rotated_photo_has_the_size_of_the_upright_picture(photos: Path) -> None:
    found = facts((photos / "camera" / "leica-t-typ-701.jpg").read_bytes())

    assert (found.width, found.height, found.orientation) == (3264, 4928, 8)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_tags_are_read_from_every_format(format_: str) -> None:
    exif: dict[int, Any] = {
        Tag.EXPOSURE_TIME: IFDRational(1, 250),
        Tag.DATE_ORIGINAL: "2010:05:01 12:00:00",
        Tag.OFFSET_ORIGINAL: "+02:00",
    }

    found = facts(with_exif(gradient(9, 9), {Tag.MAKE: "Maker"}, exif, format_=format_))

    assert found.camera.make == "Maker"
    assert found.exposure.time == "1/250"
    assert found.taken_at == "2010-05-01T12:00:00+02:00"
    assert found.bit_depth == 8


def test_a_picture_without_tags_has_only_a_size_and_colours() -> None:
    assert facts(encoded(gradient(9, 5))) == MetadataResult(
        width=9,
        height=5,
        colour_space="sRGB",
        hdr_gain_map=False,
        bit_depth=8,
        motion_photo=False,
    )


def test_the_colour_space_is_what_exif_declares_or_else_srgb() -> None:
    def declared(value: int) -> str | None:
        return facts_of(exif_={Tag.COLOUR_SPACE: value}).colour_space

    adobe = tiff(exif_={Tag.COLOUR_SPACE: 65_535}, interoperability={1: "R03"})
    assert [declared(value) for value in (1, 2, 65_535, 7)] == [
        *("sRGB", "Adobe RGB", "sRGB", "sRGB")
    ]
    assert facts(jpeg(exif_segment(adobe))).colour_space == "Adobe RGB"


def test_the_camera_comes_from_xmp_if_exif_does_not_know_it() -> None:
    packet = xmp(tiff_Make="Maker", tiff_Model="Model", xmp_CreatorTool="Editor 1.0")

    found = facts(jpeg(xmp_segment(packet)))

    assert found.camera == Camera(make="Maker", model="Model")
    assert found.software == "Editor 1.0"
    assert facts_of({Tag.MAKE: "Other"}, xmp_=packet).camera.make == "Other"


@settings(max_examples=150, derandomize=True)
@given(st.binary(max_size=300), st.booleans())
def test_broken_tags_never_fail_the_photo(garbage: bytes, big_endian: bool) -> None:
    head = b"Exif\0\0" + (b"MM\0*\0\0\0\x08" if big_endian else b"II*\0\x08\0\0\0")

    found = facts(encoded(gradient(8, 8), "JPEG", exif=head + garbage))

    assert {found.width, found.height} == {8}
    assert found.description == Description() or garbage
