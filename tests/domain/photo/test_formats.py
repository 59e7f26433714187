import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from domain.photo.formats import FORMATS, HEAD_BYTES, SUPPORTED, refusal, sniff, unsupported


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
        (b"\xff\x0a\xfa", "JXL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
        (b"II*\0\x10\0\0\0CR\2\0", "RAW"),
        (ftyp(b"crx ", b"crx ", b"isom"), "RAW"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
        (b"IIRO\x08\0\0\0", "RAW"),
        (b"IIRS\x08\0\0\0", "RAW"),
        (b"MMOR\0\0\0\x08", "RAW"),
        (b"IIU\0\x18\0\0\0", "RAW"),
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


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "BMP"),
        (b"BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0", "BMP"),
        (b"BM\x36\0\0\0", "BMP"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"II\xbc\1\x08\0\0\0", "JPEG XR"),
        (b"8BPS\0\1", "Photoshop"),
        (b"8BPS\0\2", "Photoshop"),
        (b"\0\0\1\0\1\0\x10\x10", "Windows icon"),
        (b"\0\0\2\0\1\0\x20\x20", "Windows icon"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg ", "SVG"),
        (b"\xef\xbb\xbf  <SVG>", "SVG"),
        (b"<?xml version='1.0' encoding='UTF-8'?><!-- Made with an edi", "XML"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"v/1\1\2\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"DDS \x7c\0\0\0", "DDS"),
        (b"\x0a\5\1\x08\0\0", "PCX"),
        *((b"P%d\n3 3\n" % each, "Netpbm") for each in range(1, 8)),
        (b"PF\n3 3\n", "Netpbm"),
        (b"BPG\xfb", "BPG"),
        (b"FLIF31", "FLIF"),
        (b"qoif\0\0", "QOI"),
        (b"\x8aMNG\r\n\x1a\n", "MNG"),
        (b"icns\0\0", "macOS icon"),
        (b"gimp xcf v011", "GIMP XCF"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"FOVb\0\0", "Sigma X3F"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "WAV"),
        (b"RIFF\x24\0\0\0AVI LIST", "AVI video"),
        (ftyp(b"isom", b"iso2", b"avc1", b"mp41"), "MP4 video"),
        (ftyp(b"mp42", b"mif1", b"heic"), "MP4 video"),
        (ftyp(b"qt  "), "QuickTime video"),
        (b"\0\0\0\x08wide\0\0\x1f\xffmdat", "QuickTime video"),
        (ftyp(b"3gp4"), "3GP video"),
        (b"\x1a\x45\xdf\xa3\x9f", "Matroska or WebM video"),
        (b"PK\3\4\x14", "ZIP"),
        (bytes.fromhex("000002000000000000000000400030001820"), "TGA"),
        (bytes.fromhex("00000a000000000000000000400030002008"), "TGA"),
        (bytes.fromhex("000101000000011800000000400030000820"), "TGA"),
        (b"\0\0\x40\x30" + bytes(60), "WBMP"),
        (b"\0\0\x81\x40\x30" + bytes(60), "WBMP"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(head: bytes, name: str) -> None:
    assert sniff(head) is None
    assert unsupported(head) == name
    assert refusal(head) == f"{name} is not supported. Upload one of: {SUPPORTED}."


@pytest.mark.parametrize("format_", ["BMP", "PPM", "TGA", "PCX", "ICO", "DDS", "SGI", "JPEG2000"])
def test_files_written_by_pillow_are_refused_by_name(format_: str) -> None:
    names = {"PPM": "Netpbm", "ICO": "Windows icon", "JPEG2000": "JPEG 2000"}
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_)

    assert unsupported(buffer.getvalue()) == names.get(format_, format_)


def test_an_unknown_file_is_refused_with_the_list_of_formats() -> None:
    for head in (b"", b"\xff", b"not a picture", bytes(64)):
        assert refusal(head) == f"The file is in none of the supported formats: {SUPPORTED}."


def test_every_supported_format_is_named() -> None:
    assert all(name in SUPPORTED.replace("JPEG XL", "JXL") for name in FORMATS)


def test_brands_beyond_the_box_do_not_count() -> None:
    whole = ftyp(b"mif1", b"miaf")
    cut = (len(whole) + 2).to_bytes(4, "big") + whole[4:]

    for box in (whole, cut):
        found = sniff(box + b"avif" * 4)
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
