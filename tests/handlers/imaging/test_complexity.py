"""Files with so many parts that they would keep a decoder busy for long are rejected."""

import struct
import zlib

import pytest
from PIL import Image

from domain.pipeline.failures import Category
from handlers.imaging.picture import load
from handlers.stage import BadImage, ImageLimits, StageContext
from tests.handlers.pictures import encoded, gradient

MANY = 2_000
LIMITS = StageContext(limits=ImageLimits(max_parts=MANY, max_scans=20))

JPEG = encoded(gradient(64, 48), "JPEG")
PNG = encoded(gradient(64, 48), "PNG")
GIF = encoded(Image.new("P", (64, 48)), "GIF")
FIRST_FRAME = GIF.index(b",", 13)


def after_start(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def chunk(kind: bytes) -> bytes:
    return struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))


def before_frame(blocks: bytes) -> bytes:
    return GIF[:FIRST_FRAME] + blocks + GIF[FIRST_FRAME:]


@pytest.mark.parametrize(
    "data",
    [
        after_start(b"\xff" * MANY),
        after_start(b"\xff\xd9", bytes(MANY)),
        after_start(b"\xff\x00" * MANY),
        after_start(b"\xff\xfe\x00\x02" * MANY),
        after_start(b"\xff\xd0" * MANY),
        b"\xff\xd8\xff" + b"\xff" * MANY,
        PNG[:33] + chunk(b"abCd") * MANY + PNG[33:],
        before_frame(b"\x21\xfe" + b"\x01x" * MANY + b"\0"),
        before_frame(b"\x21\xfe\x01x\0" * MANY),
        before_frame(bytes(MANY)),
    ],
    ids=[
        *("fill bytes", "zeros", "stuffing", "comments", "restarts", "nothing else"),
        *("chunks", "blocks", "extensions", "zeros in a GIF"),
    ],
)
def test_a_file_with_too_many_parts_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage) as refused:
        load(data, LIMITS)

    assert (refused.value.code, refused.value.category) == ("too-many-parts", Category.SECURITY)


@pytest.mark.parametrize(
    "data",
    [
        after_start(b"\xff" * (MANY // 2), b"\xff\xfe\x00\x02" * (MANY // 4)),
        JPEG + b"\xff" * MANY,
        PNG[:33] + chunk(b"abCd") * (MANY // 2) + PNG[33:],
        before_frame(b"\x21\xfe" + b"\x01x" * (MANY // 2) + b"\0"),
    ],
    ids=["filler and comments", "filler after the end", "chunks", "blocks"],
)
def test_a_file_with_many_parts_is_accepted(data: bytes) -> None:
    picture = load(data, LIMITS)

    assert (picture.width, picture.height, picture.damaged) == (64, 48, False)


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    progressive = encoded(gradient(64, 48), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scan = progressive[last:-2]

    assert not load(progressive, LIMITS).damaged
    with pytest.raises(BadImage) as refused:
        load(progressive[:last] + scan * 20 + progressive[last:], LIMITS)
    assert (refused.value.code, refused.value.category) == ("too-many-scans", Category.SECURITY)


def test_data_after_a_broken_scan_does_not_count_as_filler() -> None:
    noise = encoded(Image.effect_noise((300, 300), 90), "JPEG")
    middle = noise.index(b"\xff\xda") + MANY
    broken = noise[:middle] + b"\xff\xfe\x00\x04" + noise[middle:]

    assert load(broken, LIMITS).width == 300
