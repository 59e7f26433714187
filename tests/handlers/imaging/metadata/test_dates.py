"""When a photo was taken, in every form and from every source."""

from fractions import Fraction
from typing import Any

import pytest

from domain.photo.results import MetadataResult
from handlers.imaging.metadata.exif import Tag
from handlers.imaging.metadata.filenames import moment
from handlers.stage import Origin
from tests.handlers.imaging.metadata.files import (
    ASCII,
    SSHORT,
    Entry,
    dataset,
    facts_of,
    xmp,
)

WELL = "2022:09:02 14:28:05"


@pytest.mark.parametrize("padding", ["", "\0", "\0\0\0\0", " ", "  \0", "\0left over"])
def test_padding_is_no_part_of_a_time(padding: str) -> None:
    found = facts_of(exif_={Tag.DATE_ORIGINAL: WELL + padding})

    assert found.taken_at == "2022-09-02T14:28:05"


@pytest.mark.parametrize("kind", [1, 2, 7, 129])
def test_a_time_counts_under_any_type_of_text(kind: int) -> None:
    value = Entry(kind, 20, WELL.encode() + b"\0")

    assert facts_of(exif_={Tag.DATE_ORIGINAL: value}).taken_at == "2022-09-02T14:28:05"


def test_the_offset_stands_in_its_tag_or_in_the_text() -> None:
    def taken(text: str, offset: str) -> str | None:
        return facts_of(exif_={Tag.DATE_ORIGINAL: text, Tag.OFFSET_ORIGINAL: offset}).taken_at

    assert taken(WELL, "+02:00") == "2022-09-02T14:28:05+02:00"
    assert taken(WELL, "Z") == "2022-09-02T14:28:05+00:00"
    assert taken(WELL, "+0200") == "2022-09-02T14:28:05+02:00"
    assert taken(WELL, "summer") == "2022-09-02T14:28:05"
    assert taken(WELL + "+01:00", "+02:00") == "2022-09-02T14:28:05+01:00"


def test_the_offset_of_tiff_ep_is_in_hours() -> None:
    zone = (SSHORT, [-3, 1])

    found = facts_of(exif_={Tag.DATE_ORIGINAL: WELL}, main={Tag.TIME_ZONE_OFFSET: zone})

    assert found.taken_at == "2022-09-02T14:28:05-03:00"


@pytest.mark.parametrize(
    ("text", "digits", "expected"),
    [
        (WELL, "5", 500.0),
        (WELL, "0887", 88.7),
        (WELL, "123  \0", 123.0),
        (WELL, "00", 0.0),
        (WELL + ".25", "5", 250.0),
        (WELL, "x", None),
        (WELL, "", None),
        (WELL[:10], "5", None),
    ],
)
def test_subseconds_are_milliseconds(text: str, digits: str, expected: float | None) -> None:
    found = facts_of(exif_={Tag.DATE_ORIGINAL: text, Tag.SUBSECONDS_ORIGINAL: digits})

    assert found.taken_at_subsecond_ms == expected


CUT = "2022:09:02 14:28:"
BLANK = "    :  :     :  :  "
NEVER_SET = "0000:00:00 00:00:00"
SCAN, PRINT_SCAN, CAMERA = (Entry(7, 1, bytes([source])) for source in (1, 2, 3))


@pytest.mark.parametrize(
    ("exif", "expected"),
    [
        # The time is there, but broken: that of digitizing is the same of a camera.
        ({Tag.DATE_ORIGINAL: CUT}, "2022-09-02T14:28:06"),
        ({Tag.DATE_ORIGINAL: NEVER_SET}, "2022-09-02T14:28:06"),
        ({Tag.DATE_ORIGINAL: Entry(ASCII, 20, b"", offset=0x7FFFFFFF)}, "2022-09-02T14:28:06"),
        ({Tag.DATE_ORIGINAL: Entry(99, 20, b"")}, "2022-09-02T14:28:06"),
        ({Tag.DATE_ORIGINAL: 17}, "2022-09-02T14:28:06"),
        # The file says that it is from a camera.
        ({Tag.FILE_SOURCE: CAMERA}, "2022-09-02T14:28:06"),
        ({Tag.FILE_SOURCE: b"\3\0\0\0"}, "2022-09-02T14:28:06"),
        ({Tag.DATE_ORIGINAL: BLANK, Tag.FILE_SOURCE: CAMERA}, "2022-09-02T14:28:06"),
        # A scan was taken long before it was digitized, and anything may be a scan.
        ({}, None),
        ({Tag.DATE_ORIGINAL: BLANK}, None),
        ({Tag.DATE_ORIGINAL: NEVER_SET, Tag.FILE_SOURCE: SCAN}, None),
        ({Tag.DATE_ORIGINAL: NEVER_SET, Tag.FILE_SOURCE: PRINT_SCAN}, None),
    ],
)
def test_the_time_of_digitizing_counts_only_if_the_file_is_no_scan(
    exif: dict[int, Any], expected: str | None
) -> None:
    found = facts_of(exif_={**exif, Tag.DATE_DIGITIZED: "2022:09:02 14:28:06"})

    assert found.taken_at == expected
    assert found.taken_at_source == (expected and "exif:DateTimeDigitized")
    assert found.digitized_at == "2022-09-02T14:28:06"


def test_the_time_of_editing_never_counts() -> None:
    modified = {0x0132: WELL}
    packet = xmp(xmp_ModifyDate="2022-09-02T14:28:05", xmp_MetadataDate="2022-09-02T14:28:05")

    assert facts_of(modified, {Tag.DATE_ORIGINAL: CUT}, xmp_=packet).taken_at == "2022-09-02"
    assert facts_of(modified, {Tag.DATE_ORIGINAL: NEVER_SET}, xmp_=packet).taken_at is None


@pytest.mark.parametrize("clock", ["07:08:61", "::", "24:00:00", "99:99:99", "  :  :  ", "07:"])
def test_an_impossible_clock_leaves_the_day(clock: str) -> None:
    original: dict[int, Any] = {Tag.DATE_ORIGINAL: f"2022:09:02 {clock}", Tag.OFFSET_ORIGINAL: "Z"}
    same, other = "2022:09:02 14:28:06", "2022:09:03 14:28:06"

    assert source(exif_=original) == ("2022-09-02", "exif:DateTimeOriginal")
    assert source(exif_={**original, Tag.DATE_DIGITIZED: other})[0] == "2022-09-02"
    assert source(exif_={**original, Tag.DATE_DIGITIZED: same}) == (
        "2022-09-02T14:28:06",
        "exif:DateTimeDigitized",
    )
    scan = {**original, Tag.DATE_DIGITIZED: same, Tag.FILE_SOURCE: SCAN}
    assert source(exif_=scan) == ("2022-09-02", "exif:DateTimeOriginal")


def test_an_impossible_clock_of_xmp_and_iptc_leaves_the_day() -> None:
    packet = xmp(exif_DateTimeOriginal="2020-01-01T24:00:00")
    datasets = dataset(2, 55, b"20200101") + dataset(2, 60, b"256199+0100")

    assert source(xmp_=packet) == ("2020-01-01", "xmp:exif:DateTimeOriginal")
    assert source(datasets=datasets) == ("2020-01-01", "iptc:DateCreated")
    assert source(origin=Origin(filename="IMG_20200101_256199.jpg")) == (None, None)


def source(**given: Any) -> tuple[str | None, str | None]:
    found = facts_of(**given)
    return found.taken_at, found.taken_at_source


ORIGIN = Origin(filename="IMG_20200101_000006.jpg", last_modified_ms=1_577_836_807_000)
IPTC = dataset(2, 55, b"20200101") + dataset(2, 60, b"000005+0100")


def test_sources_count_in_their_order() -> None:
    packet = xmp(
        exif_DateTimeOriginal="2020-01-01T00:00:03",
        photoshop_DateCreated="2020-01-01T00:00:04",
    )
    created = xmp(photoshop_DateCreated="2020-01-01T00:00:04")
    first = {Tag.DATE_ORIGINAL: "2020:01:01 00:00:01"}
    second = {Tag.DATE_ORIGINAL: "2020:01:01 00:00:02"}
    rest: dict[str, Any] = {"datasets": IPTC, "origin": ORIGIN}

    assert [
        source(main=second, exif_=first, xmp_=packet, **rest),
        source(main=second, xmp_=packet, **rest),
        source(xmp_=packet, **rest),
        source(xmp_=created, **rest),
        source(**rest),
        source(origin=ORIGIN),
        source(origin=Origin(filename="a.jpg", last_modified_ms=1_577_836_807_250)),
        source(),
    ] == [
        ("2020-01-01T00:00:01", "exif:DateTimeOriginal"),
        ("2020-01-01T00:00:02", "ifd0:DateTimeOriginal"),
        ("2020-01-01T00:00:03", "xmp:exif:DateTimeOriginal"),
        ("2020-01-01T00:00:04", "xmp:photoshop:DateCreated"),
        ("2020-01-01T00:00:05+01:00", "iptc:DateCreated"),
        ("2020-01-01T00:00:06", "filename"),
        ("2020-01-01T00:00:07+00:00", "lastModified"),
        (None, None),
    ]


def test_a_broken_source_leaves_the_turn_to_the_next() -> None:
    packet = xmp(exif_DateTimeOriginal="yesterday", photoshop_DateCreated="2020-01-01T00:00:04")

    assert source(exif_={Tag.DATE_ORIGINAL: BLANK}, xmp_=packet) == (
        "2020-01-01T00:00:04",
        "xmp:photoshop:DateCreated",
    )


def test_the_creation_in_xmp_is_that_of_the_file_unless_a_camera_made_it() -> None:
    packet = xmp(xmp_CreateDate="2020-01-01T00:00:04")

    assert source(xmp_=packet) == (None, None)
    assert source(xmp_=packet, exif_={Tag.FILE_SOURCE: CAMERA})[1] == "xmp:xmp:CreateDate"


def test_name_and_last_change_of_a_scan_are_not_when_it_was_taken() -> None:
    assert source(exif_={Tag.FILE_SOURCE: SCAN}, origin=ORIGIN) == (None, None)


def test_a_day_is_completed_by_the_time_of_the_same_day() -> None:
    day = {Tag.DATE_ORIGINAL: "2020:01:01"}
    same, other = (xmp(photoshop_DateCreated=f"2020-01-0{n}T00:00:04") for n in (1, 2))

    assert source(exif_=day) == ("2020-01-01", "exif:DateTimeOriginal")
    assert source(exif_=day, xmp_=same) == ("2020-01-01T00:00:04", "xmp:photoshop:DateCreated")
    assert source(exif_=day, xmp_=other) == ("2020-01-01", "exif:DateTimeOriginal")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1938", "1938"),
        ("1938-07", "1938-07"),
        ("1938-07-04", "1938-07-04"),
        ("2018-01-30T20:30-05:00", "2018-01-30T20:30-05:00"),
        ("2018-01-30T20:30:48.5", "2018-01-30T20:30:48"),
        ("0000", None),
        ("1938-13", None),
    ],
)
def test_xmp_knows_as_little_as_a_year(text: str, expected: str | None) -> None:
    assert source(xmp_=xmp(photoshop_DateCreated=text))[0] == expected


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        (b"20200101", b"120000+0200", "2020-01-01T12:00:00+02:00"),
        (b"20200101", b"120000", "2020-01-01T12:00:00"),
        (b"20200101", b"", "2020-01-01"),
        (b"20200101", b"noon", "2020-01-01"),
        (b"20200000", b"120000", "2020"),
        (b"20200700", b"", "2020-07"),
        (b"2020-01-01", b"", "2020-01-01"),
        (b"00000000", b"", None),
    ],
)
def test_iptc_has_a_date_and_a_time(day: bytes, clock: bytes, expected: str | None) -> None:
    datasets = dataset(2, 55, day) + dataset(2, 60, clock)

    assert source(datasets=datasets)[0] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20240131_120000.jpg", "2024-01-31T12:00:00"),
        ("IMG_20240131_120000_1.jpg", "2024-01-31T12:00:00"),
        ("IMG_20240131_120000123.jpg", "2024-01-31T12:00:00"),
        ("20240131_120000.jpg", "2024-01-31T12:00:00"),
        ("20240131_120000(0).heic", "2024-01-31T12:00:00"),
        ("VID_20240131_120000.jpg", "2024-01-31T12:00:00"),
        ("MVIMG_20240131_120000.jpg", "2024-01-31T12:00:00"),
        ("DJI_20240131120000_0001_D.JPG", "2024-01-31T12:00:00"),
        ("PXL_20240131_120000123.jpg", "2024-01-31T12:00:00+00:00"),
        ("PXL_20240131_120000123.MP.jpg", "2024-01-31T12:00:00+00:00"),
        ("Screenshot_20240131-120000.png", "2024-01-31T12:00:00"),
        ("Screenshot_20240131_120000_Chrome.jpg", "2024-01-31T12:00:00"),
        ("Screenshot_2024-01-31-12-00-00.png", "2024-01-31T12:00:00"),
        ("Screenshot_2024-01-31-12-00-00-123_com.app.png", "2024-01-31T12:00:00"),
        ("Screenshot from 2024-01-31 12-00-00.png", "2024-01-31T12:00:00"),
        ("Screenshot 2024-01-31 120000.png", "2024-01-31T12:00:00"),
        ("Screenshot 2024-01-31 at 12.00.00.png", "2024-01-31T12:00:00"),
        ("Screen Shot 2024-01-31 at 1.00.00 PM.png", "2024-01-31T13:00:00"),
        ("Screenshot 2024-01-31 at 1.00.00\u202fPM.png", "2024-01-31T13:00:00"),
        ("Bildschirmfoto 2024-01-31 um 12.00.00.png", "2024-01-31T12:00:00"),
        ("WhatsApp Image 2024-01-31 at 12.00.00.jpeg", "2024-01-31T12:00:00"),
        ("WhatsApp Image 2024-01-31 at 12.00.00 (1).jpeg", "2024-01-31T12:00:00"),
        ("signal-2024-01-31-120000.jpg", "2024-01-31T12:00:00"),
        ("signal-2024-01-31-12-00-00-123.jpg", "2024-01-31T12:00:00"),
        ("photo_2024-01-31_12-00-00.jpg", "2024-01-31T12:00:00"),
        ("2024-01-31 12.00.00.jpg", "2024-01-31T12:00:00"),
        ("WP_20140131_12_00_00_Pro.jpg", "2014-01-31T12:00:00"),
        ("IMG-20240131-WA0001.jpg", "2024-01-31"),
        ("IMG_20240131.jpg", "2024-01-31"),
        ("IMG_20241331_120000.jpg", None),
        ("IMG_20240131_250000.jpg", None),
        ("IMG_1234.JPG", None),
        ("DSC00001.JPG", None),
        ("2024-01-31 birthday.jpg", None),
        ("12345678901234567890.jpg", None),
        ("20240131120000999999.jpg", None),
        ("photo 1.jpg", None),
        ("", None),
    ],
)
def test_the_name_of_a_file_has_a_time_if_software_wrote_it(
    name: str, expected: str | None
) -> None:
    found = moment(name)

    assert (found and found.text) == expected


@pytest.mark.parametrize("ms", [None, 0, -1, 10**18])
def test_an_impossible_last_change_is_none(ms: int | None) -> None:
    assert source(origin=Origin(last_modified_ms=ms)) == (None, None)


def with_fix(taken: str, clock: list[tuple[int, int]], day: str = "2022:09:02") -> MetadataResult:
    gps = {7: clock, 29: day, 1: "N", 2: [(1, 1)] * 3, 3: "E", 4: [(1, 1)] * 3}
    return facts_of(exif_={Tag.DATE_ORIGINAL: taken}, gps=gps)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ("2022:09:02 14:28:05", "+02:00"),
        ("2022:09:02 14:27:40", "+02:00"),
        ("2022:09:02 18:13:05", "+05:45"),
        ("2022:09:02 08:58:05", "-03:30"),
        ("2022:09:02 12:28:05", "+00:00"),
        ("2022:09:03 02:28:05", "+14:00"),
        ("2022:09:02 14:35:05", None),  # the fix is old
        ("2022:09:03 14:28:05", None),  # or a day old
        ("2022:09:02 14:28:05+02:00", None),  # already known
        ("2022:09:02", None),
    ],
)
def test_a_fix_reveals_the_offset_of_a_local_time(taken: str, expected: str | None) -> None:
    found = with_fix(taken, [(12, 1), (28, 1), (5, 1)])

    assert found.taken_at_gps_offset == expected
    assert found.taken_at is not None
    if expected:
        assert "+" not in found.taken_at


@pytest.mark.parametrize(
    ("clock", "day"),
    [
        ([(12, 1), (28, 1), (5, 0)], "2022:09:02"),
        ([(25, 1), (28, 1), (5, 1)], "2022:09:02"),
        ([(12, 1), (28, 1)], "2022:09:02"),
        ([(12, 1), (28, 1), (5, 1)], ""),
    ],
)
def test_a_broken_time_of_a_fix_reveals_nothing(clock: list[tuple[int, int]], day: str) -> None:
    found = with_fix(WELL, clock, day)

    assert found.gps is not None
    assert found.gps.time is None
    assert found.taken_at_gps_offset is None


def test_a_text_without_an_end_is_read_to_the_end_of_its_value() -> None:
    value = Entry(ASCII, 19, WELL.encode())

    assert facts_of(exif_={Tag.DATE_ORIGINAL: value}).taken_at == "2022-09-02T14:28:05"


def test_a_time_that_is_a_number_is_missing() -> None:
    assert facts_of(exif_={Tag.DATE_ORIGINAL: Fraction(17)}).taken_at is None
