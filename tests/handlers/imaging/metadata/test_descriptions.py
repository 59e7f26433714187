"""Texts of people and their software: EXIF, XMP and IPTC, reconciled, in any encoding."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.photo.results import Description
from handlers.decoder.protocol import MAX_RESULT_BYTES
from handlers.imaging.metadata import iptc
from handlers.imaging.metadata import xmp as packets
from handlers.imaging.metadata.exif import Tag
from tests.handlers.imaging.metadata.files import (
    BYTE,
    UTF8,
    Entry,
    array,
    dataset,
    facts,
    facts_of,
    iptc_segment,
    jpeg,
    xmp,
    xmp_segment,
)


def described(**given_: Any) -> Description:
    return facts_of(**given_).description


BY_XMP = xmp(
    '<dc:title><rdf:Alt><rdf:li xml:lang="de">Titel</rdf:li>'
    '<rdf:li xml:lang="x-default">Title by XMP</rdf:li></rdf:Alt></dc:title>'
    + array("dc:description", "Alt", "Caption by XMP")
    + array("dc:subject", "Bag", "sea", "sun", "sea")
    + array("dc:creator", "Seq", "Ann", "Bob")
    + array("dc:rights", "Alt", "© XMP"),
    xmp_Rating="4",
)
BY_IPTC = b"".join(
    dataset(2, number, text)
    for number, text in (
        *((5, b"Title by IPTC"), (120, b"Caption by IPTC"), (25, b"sky"), (25, b"sand")),
        *((80, b"Cleo"), (116, b"(c) IPTC")),
    )
)
BY_EXIF = {
    Tag.DESCRIPTION: "Caption by EXIF",
    Tag.ARTIST: "Dora",
    Tag.COPYRIGHT: "(c) EXIF",
    Tag.RATING: 2,
}

OF_XMP = Description(
    title="Title by XMP",
    caption="Caption by XMP",
    keywords=("sea", "sun"),
    rating=4,
    creator="Ann; Bob",
    copyright="© XMP",
)
OF_IPTC = Description(
    title="Title by IPTC",
    caption="Caption by IPTC",
    keywords=("sky", "sand"),
    creator="Cleo",
    copyright="(c) IPTC",
)


def test_each_source_counts_alone() -> None:
    assert described(xmp_=BY_XMP) == OF_XMP
    assert described(datasets=BY_IPTC) == OF_IPTC
    assert described(main=BY_EXIF) == Description(
        caption="Caption by EXIF", creator="Dora", copyright="(c) EXIF", rating=2
    )
    assert described() == Description()


def test_exif_counts_before_xmp_and_xmp_before_iptc() -> None:
    assert described(main=BY_EXIF, xmp_=BY_XMP, datasets=BY_IPTC) == Description(
        title="Title by XMP",
        caption="Caption by EXIF",
        keywords=("sea", "sun"),
        rating=4,
        creator="Dora",
        copyright="(c) EXIF",
    )


def test_iptc_counts_before_xmp_if_it_was_changed_since_both_were_equal() -> None:
    equal = hashlib.md5(BY_IPTC).digest()
    earlier = hashlib.md5(b"before the change").digest()

    assert described(xmp_=BY_XMP, datasets=BY_IPTC, digest=equal) == OF_XMP
    newer = described(xmp_=BY_XMP, datasets=BY_IPTC, digest=earlier)
    assert (newer.caption, newer.keywords) == (OF_IPTC.caption, OF_IPTC.keywords)
    assert described(xmp_=BY_XMP, datasets=BY_IPTC, digest=bytes(16)) == OF_XMP


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        ("Größe".encode(), 2, "Größe"),
        ("Größe".encode(), UTF8, "Größe"),
        ("Größe".encode("latin-1"), 2, "Größe"),
        ("Größe".encode("latin-1"), UTF8, "Größe"),
        ("日本".encode(), 2, "日本"),
        (b"NIKON CORPORATION\0\0\0", 2, "NIKON CORPORATION"),
        (b"  E\x0753 \0left over", 2, "E53"),
        (b"two\r\nlines", 2, "two lines"),
        (b"\0\0\0\0", 2, None),
        (b"x" * 5_000, 2, "x" * 200),
    ],
)
def test_a_text_is_utf_8_where_that_is_valid_and_latin_1_otherwise(
    raw: bytes, kind: int, expected: str | None
) -> None:
    assert facts_of({Tag.MAKE: Entry(kind, len(raw), raw)}).camera.make == expected


@pytest.mark.parametrize(
    ("escape", "encoding"),
    [
        (b"\x1b%G", "utf-8"),
        (b"\x1b%/I", "utf-8"),
        (b"\x1b-A", "latin-1"),
        (b"\x1b.A", "latin-1"),
        (b"\x1b-B", "iso8859-2"),
        (b"\x1b-L", "iso8859-5"),
        (b"\x1b-F", "iso8859-7"),
    ],
)
def test_iptc_is_in_the_character_set_that_it_declares(escape: bytes, encoding: str) -> None:
    text = {"iso8859-5": "Москва", "iso8859-7": "Αθήνα", "iso8859-2": "Łódź"}.get(encoding, "Größe")
    datasets = dataset(1, 90, escape) + dataset(2, 120, text.encode(encoding))

    assert described(datasets=datasets).caption == text


def test_iptc_that_declares_none_is_utf_8_where_that_is_valid() -> None:
    for encoding in ("utf-8", "latin-1"):
        datasets = dataset(2, 120, "Größe".encode(encoding))
        assert described(datasets=datasets).caption == "Größe"


def test_iptc_counts_up_to_where_it_is_broken() -> None:
    datasets = dataset(2, 25, b"one") + b"\x1c\x02\x19\x00\xffcut"

    assert described(datasets=datasets).keywords == ("one",)


def test_iptc_can_take_several_segments() -> None:
    datasets = dataset(2, 120, b"long " * 20)
    marker, content = iptc_segment(datasets)
    head, half = b"Photoshop 3.0\0", len(content) // 2

    found = facts(jpeg((marker, content[:half]), (marker, head + content[half:])))

    assert found.description.caption == ("long " * 20).strip()


@pytest.mark.parametrize(
    "written_by_no_one",
    [
        *("OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "SAMSUNG CAMERA PICTURES", "    "),
        *("KONICA MINOLTA DIGITAL CAMERA", "Exif_JPEG_PICTURE", "<Digimax S500>", "DCF 1.0"),
        *("Default", "KODAK Digital Still Camera", "---"),
    ],
)
def test_what_cameras_write_by_themselves_is_no_caption(written_by_no_one: str) -> None:
    assert described(main={Tag.DESCRIPTION: written_by_no_one}).caption is None
    found = described(main={Tag.DESCRIPTION: written_by_no_one}, xmp_=BY_XMP)
    assert found.caption == "Caption by XMP"


@pytest.mark.parametrize(
    ("notices", "expected"),
    [("Ann\0Bob", "Ann; Bob"), (" \0Bob", "Bob"), ("Ann", "Ann"), (" \0 ", None), ("\0\0", None)],
)
def test_a_copyright_has_photographer_and_editor(notices: str, expected: str | None) -> None:
    assert described(main={Tag.COPYRIGHT: notices}).copyright == expected


def test_texts_of_windows_count_last() -> None:
    def wide(text: str) -> Entry:
        raw = (text + "\0").encode("utf-16-le")
        return Entry(BYTE, len(raw), raw)

    tags = {
        Tag.XP_TITLE: wide("Größe"),
        Tag.XP_AUTHOR: wide("Eve"),
        Tag.XP_KEYWORDS: wide("one; two;;"),
    }

    assert described(main=tags) == Description(
        title="Größe", creator="Eve", keywords=("one", "two")
    )
    assert described(main=tags, xmp_=BY_XMP) == OF_XMP


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), ("0", 0), ("-1", -1), ("5.0", 5), ("6", None), ("2.5", None), ("good", None)],
)
def test_a_rating_is_a_number_of_stars(text: str, expected: int | None) -> None:
    assert described(xmp_=xmp(xmp_Rating=text)).rating == expected


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<x:xmpmeta",
        b"\0" * 100,
        xmp()[:200],
        xmp(dc_title="x").replace(b"xmlns:dc", b"xmlns:dd"),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + xmp(dc_title="x").replace(b'"x"', b'"&b;"'),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a>" * 60_000,
        b"<x:xmpmeta" * 20_000,
        xmp() + b" " * packets.MAX_BYTES,
    ],
)
def test_a_packet_that_is_broken_or_hostile_says_nothing(packet: bytes) -> None:
    assert packets.read(packet).texts == {}


def test_a_deep_packet_is_read_without_recursion() -> None:
    deep = xmp("<dc:title>" + "<a>" * 30_000 + "</a>" * 30_000 + "</dc:title>", xmp_Rating="3")

    assert packets.read(deep).name("xmp:Rating") == "3"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_padding_and_encoding_of_a_packet_do_not_matter(encoding: str) -> None:
    text = xmp(dc_title="Größe").decode().replace("\ufeff", "")
    packet = text.encode(encoding) + (b"\0" * 9 if encoding == "utf-8" else b"")

    assert packets.read(packet).name("dc:title") == "Größe"


def test_texts_and_arrays_are_bounded() -> None:
    many = xmp(array("dc:subject", "Bag", *(f"word {n}" for n in range(500))), dc_title="x" * 9_999)

    found = facts(jpeg(xmp_segment(many))).description

    assert len(found.keywords) == 64
    assert len(found.title or "") == 2_000


def test_the_largest_result_is_an_answer_that_a_worker_accepts() -> None:
    long = "😀" * 9_999
    packet = xmp(array("dc:subject", "Bag", *(f"{n}{'😀' * 150}" for n in range(99))))
    datasets = b"".join(dataset(2, number, long.encode()[:9_000]) for number in (5, 80, 116, 120))
    tags = dict.fromkeys((Tag.MAKE, Tag.MODEL, Tag.SOFTWARE, Tag.LENS_MODEL), long[:300])

    found = facts_of(tags, xmp_=packet, datasets=datasets)

    assert len(found.description.keywords) == 64
    assert len(found.description.caption or "") == 2_000
    assert 40_000 < len(msgspec.msgpack.encode(found)) < MAX_RESULT_BYTES


@given(st.binary(max_size=400))
def test_any_bytes_are_datasets_or_not(data: bytes) -> None:
    iptc.read(data, data[:16])
    iptc.resources(data)
    iptc.resources(b"8BIM" + data)
    packets.read(data)


def test_real_texts_are_found(photos: Path) -> None:
    found = facts((photos / "camera" / "canon-powershot-s90.jpg").read_bytes()).description

    assert (found.keywords, found.rating) == (("2012", "dublin", "ireland", "june"), 3)
