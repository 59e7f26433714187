"""Metadata from real cameras, and from tags that are missing, odd or broken."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from domain.photo.results import Camera, Exposure, Gps, MetadataResult
from handlers.imaging.exif import Tags
from handlers.imaging.picture import load
from handlers.stage import StageContext
from handlers.stages import metadata
from tests.handlers.pictures import encoded, gradient, with_exif

MAKE, MODEL, ORIENTATION = 0x010F, 0x0110, 0x0112
TIME, F_NUMBER, ISO, TAKEN, OFFSET, FOCAL, LENS, RECOMMENDED = (
    *(0x829A, 0x829D, 0x8827, 0x9003, 0x9011, 0x920A, 0xA434),
    0x8832,
)


def of(data: bytes) -> MetadataResult:
    result = metadata.run(load(data), StageContext()).result
    assert isinstance(result, MetadataResult)
    return result


def test_what_a_camera_recorded_is_found(photos: Path) -> None:
    assert of((photos / "camera" / "nikon-d90.jpg").read_bytes()) == MetadataResult(
        width=4288,
        height=2848,
        taken_at="2011-04-25T01:55:30",
        camera=Camera(make="NIKON CORPORATION", model="NIKON D90"),
        exposure=Exposure(time="1/10", f_number=3.2, iso=250, focal_length=24.0),
        colour_space="sRGB",
        hdr_gain_map=False,
    )


def test_a_position_is_found_in_decimal_degrees(photos: Path) -> None:
    # 43° 28′ 2.814″ N, 11° 53′ 6.45599999″ E and 43° 27′ 52.038″ N, 11° 52′ 53.322″ E.
    first = of((photos / "gps" / "DSCN0010.jpg").read_bytes())
    second = of((photos / "gps" / "DSCN0042.jpg").read_bytes())

    assert first.gps == Gps(latitude=43.4674483, longitude=11.8851267)
    assert second.gps == Gps(latitude=43.464455, longitude=11.8814783)
    assert first.exposure == Exposure(time="1/75", f_number=5.9, iso=64, focal_length=24.0)
    assert first.taken_at == "2008-10-22T16:28:39"


def test_a_phone_records_its_lens_and_the_offset_of_its_clock(photos: Path) -> None:
    found = of((photos / "formats" / "iphone.heic").read_bytes())

    assert found.taken_at == "2020-05-04T18:39:11-04:00"
    assert found.camera == Camera(
        make="Apple",
        model="iPhone 11 Pro",
        lens="iPhone 11 Pro back triple camera 4.25mm f/1.8",
    )
    assert (found.width, found.height, found.orientation) == (3024, 4032, 1)


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
    found = of((photos / path).read_bytes())

    assert found.camera.model == model
    assert found.exposure.iso == iso


def test_a_rotated_photo_has_the_size_of_the_upright_picture(photos: Path) -> None:
    found = of((photos / "camera" / "leica-t-typ-701.jpg").read_bytes())

    assert (found.width, found.height, found.orientation) == (3264, 4928, 8)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_tags_are_read_from_every_format(format_: str) -> None:
    exif = {TIME: IFDRational(1, 250), TAKEN: "2010:05:01 12:00:00", OFFSET: "+02:00"}

    found = of(with_exif(gradient(9, 9), {MAKE: "Maker"}, exif, format_=format_))

    assert found.camera.make == "Maker"
    assert found.exposure.time == "1/250"
    assert found.taken_at == "2010-05-01T12:00:00+02:00"


def test_a_picture_without_tags_has_only_a_size_and_colours() -> None:
    assert of(encoded(gradient(9, 5))) == MetadataResult(
        width=9, height=5, colour_space="sRGB", hdr_gain_map=False
    )


@pytest.mark.parametrize(
    ("taken", "offset", "expected"),
    [
        ("2010:05:01 12:00:00", None, "2010-05-01T12:00:00"),
        ("2010:05:01 12:00:00\0", "-03:30", "2010-05-01T12:00:00-03:30"),
        ("2010-05-01T12:00:00", "+02:00", "2010-05-01T12:00:00+02:00"),
        ("2010:05:01 12:00:00", "summer", "2010-05-01T12:00:00"),
        ("2010:05:01 12:00:00", "+99:00", "2010-05-01T12:00:00"),
        ("0000:00:00 00:00:00", None, None),
        ("2010:02:30 12:00:00", None, None),
        ("2010:05:01 25:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        (b"2010:05:01 12:00:00", None, "2010-05-01T12:00:00"),
        (17, None, None),
        (None, "+02:00", None),
    ],
)
def test_a_time_is_local_and_real_or_missing(taken: Any, offset: Any, expected: str | None) -> None:
    assert metadata.taken_at(Tags(exif={TAKEN: taken, OFFSET: offset})) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IFDRational(10, 2500), "1/250"),
        (IFDRational(16667, 1000000), "1/60"),
        (IFDRational(1, 1), "1"),
        (IFDRational(30, 1), "30"),
        (IFDRational(5, 2), "5/2"),
        (IFDRational(3, 10), "3/10"),
        (0.004, "1/250"),
        (IFDRational(0, 0), None),
        (IFDRational(0, 1), None),
        (IFDRational(-1, 250), None),
        (float("nan"), None),
        (float("inf"), None),
        ("1/250", None),
        (None, None),
    ],
)
def test_an_exposure_time_is_a_fraction_of_a_second(value: Any, expected: str | None) -> None:
    assert metadata.exposure(Tags(exif={TIME: value})).time == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IFDRational(28, 10), 2.8),
        (IFDRational(1244236, 699009), 1.78),
        (IFDRational(0, 0), None),
        (IFDRational(0, 10), None),
        ((IFDRational(1, 2), IFDRational(1, 3)), None),
        (b"\0", None),
    ],
)
def test_numbers_make_sense_or_are_missing(value: Any, expected: float | None) -> None:
    found = metadata.exposure(Tags(exif={F_NUMBER: value, FOCAL: value}))

    assert found.f_number == expected
    assert found.focal_length == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({ISO: 200}, 200),
        ({ISO: (200, 0)}, 200),
        ({ISO: 65535, RECOMMENDED: 102_400}, 102_400),
        ({ISO: 65535}, None),
        ({ISO: 0}, None),
        ({ISO: ()}, None),
        ({ISO: "200"}, None),
    ],
)
def test_iso_is_a_positive_number_or_missing(tags: dict[int, Any], expected: int | None) -> None:
    assert metadata.exposure(Tags(exif=tags)).iso == expected


def test_names_lose_their_padding() -> None:
    tags = Tags(
        main={MAKE: "NIKON CORPORATION\0\0\0", MODEL: "  E\x0753 \0left over"},
        exif={LENS: "\0\0\0\0"},
    )

    assert metadata.camera(tags) == Camera(make="NIKON CORPORATION", model="E53", lens=None)


def position(**changes: Any) -> Gps | None:
    tags: dict[str, Any] = {
        "north": "N",
        "latitude": (IFDRational(10), IFDRational(30), IFDRational(0)),
        "east": "E",
        "longitude": (IFDRational(20), IFDRational(15), IFDRational(0)),
        "below": b"\0",
        "altitude": IFDRational(1234, 10),
    } | changes
    return metadata.gps(Tags(gps=dict(enumerate(tags.values(), start=1))))


def test_a_position_has_signs() -> None:
    assert position() == Gps(latitude=10.5, longitude=20.25, altitude=123.4)
    assert position(north="S", east="W\0", below=b"\x01") == Gps(
        latitude=-10.5, longitude=-20.25, altitude=-123.4
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"north": None},
        {"east": "X"},
        {"latitude": None},
        {"latitude": (IFDRational(0, 0),) * 3},
        {"latitude": (IFDRational(91), IFDRational(0), IFDRational(0))},
        {"longitude": (IFDRational(180), IFDRational(1), IFDRational(0))},
        {"longitude": "east"},
        {"longitude": ()},
        {"longitude": (IFDRational(-1),)},
    ],
)
def test_an_incomplete_position_is_none(changes: dict[str, Any]) -> None:
    assert position(**changes) is None


def test_a_position_can_lack_its_altitude() -> None:
    assert position(altitude=IFDRational(0, 0)) == Gps(latitude=10.5, longitude=20.25)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_broken_tags_never_fail_the_photo(garbage: bytes, big_endian: bool) -> None:
    head = b"Exif\0\0" + (b"MM\0*\0\0\0\x08" if big_endian else b"II*\0\x08\0\0\0")

    found = of(encoded(gradient(8, 8), "JPEG", exif=head + garbage))

    assert {found.width, found.height} == {8}


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.tuples(st.floats())
) | st.builds(IFDRational, st.integers(), st.integers())


@settings(derandomize=True, deadline=None)
@given(VALUES, VALUES)
def test_any_tag_value_is_handled(one: Any, other: Any) -> None:
    tags = Tags(
        main=dict.fromkeys((MAKE, MODEL, ORIENTATION), one),
        exif=dict.fromkeys((TIME, F_NUMBER, ISO, TAKEN, OFFSET, FOCAL, LENS), other),
        gps={1: "N", 2: (one, other), 3: "E", 4: (other, one), 5: one, 6: other},
    )

    assert 1 <= tags.orientation <= 8
    metadata.taken_at(tags)
    metadata.camera(tags)
    metadata.exposure(tags)
    metadata.gps(tags)
