import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from domain.photo.formats import HEAD_BYTES, sniff


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("path", "format_", "mime_type"),
    [
        ("camera/nikon-d90.jpg", "JPEG", "image/jpeg"),
        ("formats/iphone.heic", "HEIC", "image/heic"),
        ("formats/photo.avif", "AVIF", "image/avif"),
        ("formats/photo.webp", "WebP", "image/webp"),
        ("formats/animated.webp", "WebP", "image/webp"),
        ("formats/picture.png", "PNG", "image/png"),
        ("formats/picture.gif", "GIF", "image/gif"),
        ("formats/picture.tif", "TIFF", "image/tiff"),
        ("hostile/bomb-60000x60000.png", "PNG", "image/png"),
    ],
)
def test_a_real_file_is_recognized_by_its_first_bytes(
    photos: Path, path: str, format_: str, mime_type: str
) -> None:
    head = (photos / path).read_bytes()[:HEAD_BYTES]

    assert sniff(head) == (format_, mime_type)


def test_a_video_named_jpg_is_not_a_picture(photos: Path) -> None:
    fuzzed = sorted((photos / "hostile").glob("fuzz-*.jpg"))

    assert fuzzed
    assert all(sniff(path.read_bytes()[:HEAD_BYTES]) is None for path in fuzzed)


@pytest.mark.parametrize(
    ("head", "format_"),
    [
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"heix", b"mif1"), "HEIC"),
        (ftyp(b"msf1", b"hevc"), "HEIC"),
        (ftyp(b"mif1", b"mif1", b"miaf"), "HEIF"),
        (ftyp(b"mif1", b"miaf", b"avif"), "AVIF"),
        (ftyp(b"avis", b"msf1", b"heic"), "AVIF"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"GIF87a", "GIF"),
    ],
)
def test_brands_and_byte_orders_are_distinguished(head: bytes, format_: str) -> None:
    found = sniff(head)

    assert found is not None
    assert found[0] == format_


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"BM\x36\0\0\0",
        b"RIFF\x24\0\0\0WAVEfmt ",
        ftyp(b"isom", b"iso2", b"avc1", b"mp41"),
        ftyp(b"mp42", b"mif1", b"heic"),
        b"\0\0\0\x0cjP  \r\n\x87\n",
    ],
)
def test_anything_else_is_not_a_picture(head: bytes) -> None:
    assert sniff(head) is None


def test_brands_beyond_the_box_do_not_count() -> None:
    head = ftyp(b"mif1", b"miaf") + b"avif" * 4

    found = sniff(head)

    assert found is not None
    assert found[0] == "HEIF"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_files_written_by_pillow_are_recognized(format_: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format_)

    found = sniff(buffer.getvalue()[:HEAD_BYTES])

    assert found is not None
    assert found[0].upper() == format_


@given(st.binary(max_size=80))
def test_any_bytes_have_a_format_or_none(head: bytes) -> None:
    found = sniff(head)

    assert found is None or found[1].startswith("image/")
