"""XMP of every writer: encodings, prefixes, arrays, parts of a photo, packets in pieces, faults."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.photo.results import Description
from handlers.imaging.metadata import xmp
from handlers.imaging.metadata.exif import Tag
from tests.handlers.imaging.metadata.files import facts, facts_of, jpeg, xmp_segment

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
NAMES = (
    f'{DC} xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
)
TITLE = (
    '<dc:title><rdf:Alt><rdf:li xml:lang="de">Größe</rdf:li>'
    '<rdf:li xml:lang="x-default">Size</rdf:li></rdf:Alt></dc:title>'
)


def packet(content: str, attributes: str = "", node: str = "rdf:Description") -> str:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}>'
        f'<{node} rdf:about="" {NAMES} {attributes}>{content}</{node}></rdf:RDF></x:xmpmeta>'
    )


def described(text: str | bytes) -> Description:
    """Return what a photo with this packet, and an artist in EXIF, says."""
    raw = text.encode() if isinstance(text, str) else text
    return facts_of({Tag.ARTIST: "Artist"}, xmp_=raw).description


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"],
)
def test_a_packet_is_read_in_any_encoding(encoding: str, wrapped: bool) -> None:
    text = packet(TITLE.replace("x-default", "x").replace("de", "x-default"))
    if wrapped:
        text = f'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{text}\n<?xpacket end="w"?>'

    assert described(text.encode(encoding)).title == "Größe"


@pytest.mark.parametrize(
    "text",
    [
        packet(TITLE),
        packet(TITLE).replace("x:xmpmeta", "x:xapmeta"),
        packet(TITLE).replace("rdf:", "R:").replace(":rdf", ":R"),
        f'<rdf:RDF {RDF}><rdf:Description {DC}>{TITLE}</rdf:Description></rdf:RDF>',
        packet(TITLE.replace("dc:", "q:"), 'xmlns:q="http://purl.org/dc/elements/1.1/"'),
        packet(TITLE, node="dc:Photo"),
        packet("", 'dc:title="Size"'),
        packet("<dc:title>Size</dc:title>"),
        packet("<dc:title><![CDATA[Size]]></dc:title>"),
        packet('<dc:title rdf:parseType="Resource"><rdf:value>Size</rdf:value></dc:title>'),
        packet(TITLE.replace("x-default", "X-Default")),
        packet(f"</rdf:Description><rdf:Description {DC}>{TITLE}"),
    ],
)  # fmt: skip
def test_a_title_is_found_however_it_is_written(text: str) -> None:
    assert described(text).title == "Size"


def test_the_first_language_counts_if_none_is_the_default() -> None:
    assert described(packet(TITLE.replace("x-default", "en"))).title == "Größe"


@pytest.mark.parametrize("kind", ["Bag", "Seq", "Alt"])
def test_keywords_are_the_items_of_any_array_once(kind: str) -> None:
    items = "".join(f"<rdf:li>{each}</rdf:li>" for each in ("b", "a", " b ", "B", ""))

    found = described(packet(f"<dc:subject><rdf:{kind}>{items}</rdf:{kind}></dc:subject>"))

    assert found.keywords == ("b", "a", "B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("-1", -1), ("0", 0), ("1", 1), ("5", 5), ("5.0", 5), (" 4 ", 4), ("+3", 3)),
        *(("6", None), ("-2", None), ("3.5", None), ("99", None), ("five", None), ("", None)),
    ],
)
def test_a_rating_is_between_minus_1_and_5(text: str, expected: int | None) -> None:
    assert described(packet("", f'xmp:Rating="{text}"')).rating == expected
    assert described(packet(f"<xmp:Rating>{text}</xmp:Rating>")).rating == expected


def test_the_texts_of_sources_and_parts_are_not_those_of_the_photo() -> None:
    other = f'<rdf:Description {DC} dc:title="Other" rdf:about="source"/>'
    pantry = f'<m:Pantry xmlns:m="http://ns.adobe.com/xap/1.0/mm/"><rdf:Bag><rdf:li>{other}</rdf:li></rdf:Bag></m:Pantry>'

    assert described(packet(pantry)).title is None
    assert described(packet(pantry + TITLE)).title == "Size"


@pytest.mark.parametrize(
    ("fault", "read"),
    [
        ("a\x01b\x0b", "ab"),
        ("a&#1;b&#xFFFF;&#xD800;", "ab"),
        ("a & b &c", "a & b &c"),
        ("&lol9;", None),
        ("a&nbsp;b", None),
        ("a &amp; &#228;&#xE4;", "a & ää"),
    ],
)
def test_what_xml_forbids_costs_itself_alone(fault: str, read: str | None) -> None:
    found = described(packet(f"<dc:title>{fault}</dc:title><dc:rights>Mine</dc:rights>"))

    assert (found.title, found.copyright, found.creator) == (read, "Mine", "Artist")


@pytest.mark.parametrize(
    "before",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">',
    ],
)
def test_entities_are_never_expanded(before: str) -> None:
    text = before + packet("<dc:title>&b;</dc:title><dc:rights>Mine</dc:rights>")
    within = packet(f"{before}<dc:title>&b;</dc:title>")

    assert (described(text).title, described(text).copyright) == (None, "Mine")
    assert (described(within).title, described(within).creator) == (None, "Artist")


@pytest.mark.parametrize(
    "text", ["<x:xmpmeta", packet(TITLE)[:-40], packet("<dc:title>"), "\0" * 9]
)
def test_a_packet_that_is_cut_costs_itself_alone(text: str) -> None:
    assert described(text) == described("")


def extension(text: str, *, name: str | None = None, size: int = 200) -> list[tuple[int, bytes]]:
    """Return the segments of an extended packet (XMP part 3, 1.1.3.1)."""
    raw = text.encode()
    identity = (name or hashlib.md5(raw, usedforsecurity=False).hexdigest().upper()).encode()
    return [
        (
            0xE1,
            b"http://ns.adobe.com/xmp/extension/\0"
            + identity
            + struct.pack(">II", len(raw), at)
            + raw[at : at + size],
        )
        for at in range(0, len(raw), size)
    ]


def test_an_extended_packet_adds_what_the_other_had_no_room_for() -> None:
    long = packet("<dc:title>Other</dc:title><dc:rights>Mine</dc:rights>" + " " * 500)
    name = hashlib.md5(long.encode(), usedforsecurity=False).hexdigest().upper()
    main = xmp_segment(packet(TITLE, f'xmpNote:HasExtendedXMP="{name}"').encode())
    parts = extension(long)
    assert len(parts) > 2

    for segments in (
        (main, *parts),
        (*reversed(parts), main),
        (parts[1], main, parts[0], *parts[2:]),
    ):
        found = facts(jpeg(*segments)).description
        assert (found.title, found.copyright) == ("Size", "Mine")


def test_an_extended_packet_that_is_not_named_or_not_whole_adds_nothing() -> None:
    long = packet("<dc:rights>Mine</dc:rights>" + " " * 500)
    name = hashlib.md5(long.encode(), usedforsecurity=False).hexdigest().upper()
    named = xmp_segment(packet(TITLE, f'xmpNote:HasExtendedXMP="{name}"').encode())
    other = xmp_segment(packet(TITLE).encode())

    for segments in (
        (other, *extension(long)),
        (named, *extension(long, name="0" * 32)),
        (named, *extension(long)[1:]),
        (named, *extension(long)[:-1]),
    ):
        found = facts(jpeg(*segments)).description
        assert (found.title, found.copyright) == ("Size", None)


@given(st.binary(max_size=300), st.integers(0, 600))
def test_any_bytes_within_a_packet_are_read_without_an_error(noise: bytes, at: int) -> None:
    raw = packet(TITLE).encode()

    xmp.read(raw[:at] + noise + raw[at:], noise)
