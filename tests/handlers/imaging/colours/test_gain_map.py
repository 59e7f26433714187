"""Pictures with a gain map for HDR displays: it is recognized, and the picture for SDR shown."""

import struct

import pytest
from PIL import Image

from domain.photo.results import MetadataResult
from handlers.imaging.picture import load
from handlers.stage import StageContext
from handlers.stages import metadata
from tests.handlers.pictures import encoded, gradient

XMP = b"http://ns.adobe.com/xap/1.0/\0"
ULTRA_HDR = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
APPLE = b"<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:hdrgainmap</>"
ISO = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)

ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"


def jpeg(*segments: tuple[int, bytes], image: Image.Image | None = None) -> bytes:
    """Encode a picture with these segments, each its marker and its body."""
    data = encoded(image or gradient(48, 32), "JPEG", quality=95)
    added = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments
    )
    return data[:2] + added + data[2:]


def with_second_picture(second: bytes, order: str = ">") -> bytes:
    """Return a file of two pictures, listed in its multi-picture index (CIPA DC-007)."""
    size = 4 + 8 + 2 + 12 + 4 + 2 * 16

    def index(first_bytes: int) -> bytes:
        mark = b"MM\0*" if order == ">" else b"II*\0"
        entries = struct.pack(order + "IIIHH", 0x30000, first_bytes, 0, 0, 0)
        # Offsets count from the mark of the byte order, which follows 4 bytes of name.
        entries += struct.pack(order + "IIIHH", 0, len(second), first_bytes - 10, 0, 0)
        table = struct.pack(order + "IHHHIII", 8, 1, 0xB002, 7, 32, 26, 0)
        return b"MPF\0" + mark + table + entries

    first = jpeg((0xE2, bytes(size)))
    first = jpeg((0xE2, index(len(first))))
    return first + second


def patched(urn: bytes) -> bytes:
    """Return an AVIF whose second picture is not its alpha but is of the kind ``urn``."""
    image = gradient(48, 32).convert("RGBA")
    image.putalpha(77)
    return encoded(image, "AVIF").replace(ALPHA, urn.ljust(len(ALPHA), b"\0"))


def facts(data: bytes) -> MetadataResult:
    result = metadata.run(load(data), StageContext()).result
    assert isinstance(result, MetadataResult)
    return result


@pytest.mark.parametrize(
    "data",
    [
        jpeg((0xE1, XMP + ULTRA_HDR)) + jpeg((0xE1, XMP + ULTRA_HDR)),
        jpeg((0xE2, ISO)) + jpeg((0xE2, ISO)),
        with_second_picture(jpeg((0xE1, XMP + APPLE))),
        with_second_picture(jpeg((0xE1, XMP + APPLE)), order="<"),
        with_second_picture(jpeg((0xE2, ISO))),
        patched(b"urn:com:apple:photo:2020:aux:hdrgainmap"),
        patched(b"urn:iso:std:iso:ts:21496:-1"),
    ],
    ids=["ultra-hdr", "iso", "apple", "apple-little-endian", "iso-second", "auxC", "auxC-iso"],
)
def test_a_gain_map_is_recognized_and_the_picture_for_sdr_is_shown(data: bytes) -> None:
    found = facts(data)

    assert found.hdr_gain_map is True
    assert (found.width, found.height) == (48, 32)
    assert load(data).image.mode == "RGB"


def test_a_derived_item_of_a_tone_map_is_recognized() -> None:
    data = patched(b"urn:example")
    at = data.index(b"infe", data.index(b"infe") + 4)  # the item of the second picture

    assert facts(data[:at] + data[at:].replace(b"av01", b"tmap", 1)).hdr_gain_map is True


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg((0xE1, XMP + ULTRA_HDR)),
        jpeg((0xE1, XMP + b"<x:xmpmeta/>"), (0xE2, b"MPF\0")),
        jpeg((0xE2, b"MPF\0MM\0*\xff\xff\xff\xff")),
        with_second_picture(jpeg()),
        jpeg() + jpeg((0xE2, ISO)),
        patched(ALPHA),
        encoded(gradient(48, 32)),
    ],
    ids=["plain", "removed", "xmp", "broken-index", "preview", "appended", "alpha", "png"],
)
def test_other_parts_of_a_file_are_no_gain_map(data: bytes) -> None:
    assert facts(data).hdr_gain_map is False
