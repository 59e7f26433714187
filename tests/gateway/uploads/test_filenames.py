import unicodedata
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.uploads.filenames import UNNAMED, clean, disposition, with_suffix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\a.jpg", "a.jpg"),
        ("../..", UNNAMED),
        ("dir/", UNNAMED),
        ("", UNNAMED),
        (" . ", UNNAMED),
        ("a\x00b\r\n.jpg", "ab.jpg"),
        ("u\u0308ber.jpg", "über.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("\ud800.jpg", ".jpg"),
        ("👩‍👩‍👧.png", "👩‍👩‍👧.png"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("می\u200cخواهم.jpg", "می\u200cخواهم.jpg"),
        ("in\u00advo\u200bice.jpg\ufeff", "invoice.jpg"),
        ("\u200b\ufeff\u00ad\U000e0041", UNNAMED),
        ("\u200d", UNNAMED),
        (".\u200d.", UNNAMED),
        (" \u0301\ufe0f", UNNAMED),
        ("\u3164\u2800", UNNAMED),
        ("\u200d" * 300 + "a", UNNAMED),
        ("a" * 300 + ".jpeg", "a" * 250 + ".jpeg"),
        ("ü" * 300 + ".jpg", "ü" * 125 + ".jpg"),
        ("." + "a" * 300, "." + "a" * 254),
        ("a." + "b" * 300, "a." + "b" * 253),
    ],
)
def test_a_name_is_cleaned(name: str, expected: str) -> None:
    assert clean(name, 255) == expected


ANY = st.text(st.characters(codec=None), max_size=400)


@given(ANY, st.integers(32, 255))
def test_any_name_becomes_displayable(name: str, max_bytes: int) -> None:
    cleaned = clean(name, max_bytes)

    assert 0 < len(cleaned.encode()) <= max_bytes
    assert not {"/", "\\"} & set(cleaned)
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cs"}
    assert unicodedata.is_normalized("NFC", cleaned)


@given(ANY, st.integers(32, 255))
def test_cleaning_twice_changes_nothing(name: str, max_bytes: int) -> None:
    cleaned = clean(name, max_bytes)

    assert clean(cleaned, max_bytes) == cleaned


@given(ANY)
def test_any_clean_name_survives_the_header(name: str) -> None:
    cleaned = clean(name, 255)

    header = disposition("inline", cleaned)

    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["Content-Disposition"] = (
        header.partition("; filename=")[0] + "; filename*" + (header.partition("; filename*")[2])
    )
    assert message.get_filename() == cleaned


def test_old_browsers_get_an_ascii_name() -> None:
    header = disposition("attachment", 'Über "1".jpg')

    plain, extended = 'filename="Uber _1_.jpg"', "filename*=UTF-8''%C3%9Cber%20%221%22.jpg"
    assert header == f"attachment; {plain}; {extended}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "a-x.webp"), ("a.b.jpg", "a.b-x.webp"), ("a", "a-x.webp"), (".jpg", ".jpg-x.webp")],
)
def test_a_rendition_is_named_after_its_photo(name: str, expected: str) -> None:
    assert with_suffix(name, "-x.webp") == expected
