"""Where the blocks of metadata stand in each format, and what containers say themselves."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handlers.imaging.metadata import containers, embedded, icc, isobmff, motion
from handlers.imaging.metadata.exif import Tag
from handlers.imaging.picture import load
from tests.handlers.imaging.metadata.files import (
    chunk,
    exif_segment,
    facts,
    jpeg,
    png,
    tiff,
    xmp,
    xmp_segment,
)
from tests.handlers.pictures import adobe_rgb_profile, encoded, gradient, with_exif

MADE = tiff({Tag.MAKE: "Maker"}, {Tag.LENS_MODEL: "A lens"})
PACKET = xmp(dc_title="A title")


def made(data: bytes) -> str | None:
    return facts(data).camera.make


def title(data: bytes) -> str | None:
    return facts(data).description.title


@pytest.mark.parametrize(
    "data",
    [
        jpeg(exif_segment(MADE)),
        jpeg((0xE1, b"Exif\0\xff" + MADE)),
        jpeg((0xE1, b"Exif\0\0Exif\0\0" + MADE)),
        jpeg((0xE1, b"other\0"), (0xFE, b"a comment"), exif_segment(MADE)),
        jpeg((0xE1, b"Exif\0\0" + MADE[:40]), (0xE1, b"Exif\0\0" + MADE[40:])),
        png(chunk(b"eXIf", MADE)),
        png(chunk(b"eXIf", b"Exif\0\0" + MADE)),
    ],
)
def test_an_exif_block_is_found(data: bytes) -> None:
    assert made(data) == "Maker"


def raw_profile(kind: str, data: bytes) -> bytes:
    """Return a profile as ImageMagick writes it into PNG."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(data):8}\n{lines}\n".encode()


@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_imagemagick_stores_profiles_as_text(kind: str) -> None:
    text = raw_profile("exif", b"Exif\0\0" + MADE)
    keyword = f"Raw profile type {kind}\0".encode()

    assert made(png(chunk(b"tEXt", keyword + text))) == "Maker"
    assert made(png(chunk(b"zTXt", keyword + b"\0" + zlib.compress(text)))) == "Maker"
    assert made(png(chunk(b"zTXt", keyword + b"\0" + b"no stream"))) is None


@pytest.mark.parametrize(
    "data",
    [
        jpeg(xmp_segment(PACKET)),
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET)),
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(PACKET))),
        encoded(gradient(8, 8), "WEBP", xmp=PACKET),
        encoded(gradient(8, 8), "AVIF", xmp=PACKET),
        encoded(gradient(8, 8), "TIFF", tiffinfo={700: PACKET}),
    ],
)
def test_an_xmp_packet_is_found(data: bytes) -> None:
    assert title(data) == "A title"


def test_an_xmp_packet_stands_in_a_gif_as_it_is() -> None:
    plain = encoded(gradient(8, 8), "GIF")
    magic = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    extension = b"\x21\xff\x0bXMP DataXMP" + PACKET + magic

    found = containers.find(plain[:-1] + extension + plain[-1:], "GIF")

    assert b"A title" in found.xmp


def test_an_inflated_text_is_bounded() -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)

    found = containers.find(
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb), chunk(b"iCCP", b"x\0\0" + bomb)),
        "PNG",
    )

    assert (found.xmp, found.icc) == (b"", b"")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_name_of_the_profile_is_found(format_: str) -> None:
    data = encoded(gradient(8, 8), format_, icc_profile=adobe_rgb_profile())

    assert facts(data).colour_profile == "Wide"


def test_a_profile_of_version_4_is_named_in_english() -> None:
    texts = {b"deDE": "Anzeige", b"enUS": "Display P3"}
    records, heap = b"", b""
    for language, text in texts.items():
        raw = text.encode("utf-16-be")
        records += language + struct.pack(">II", len(raw), 16 + 24 + len(heap))
        heap += raw
    tag = b"mluc" + bytes(4) + struct.pack(">II", 2, 12) + records + heap
    head = bytes(36) + b"acsp" + bytes(88)
    profile = head + struct.pack(">I4sII", 1, b"desc", 144, len(tag)) + tag

    assert icc.name(profile) == "Display P3"
    for end in range(len(profile)):
        icc.name(profile[:end])


def test_depth_is_that_of_a_sample() -> None:
    deep = Image.new("I;16", (8, 8))

    assert facts(encoded(deep, "PNG")).bit_depth == 16
    assert facts(encoded(deep, "TIFF")).bit_depth == 16
    assert facts(encoded(gradient(8, 8).convert("P"), "PNG")).bit_depth == 8
    assert facts(encoded(Image.new("1", (8, 8)), "TIFF")).bit_depth == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_container_that_turns_is_numbered_as_exif_would(orientation: int) -> None:
    plain = gradient(40, 20)
    data = with_exif(plain, {Tag.ORIENTATION: orientation}, format_="AVIF")
    reference = Image.open(io.BytesIO(data)).getexif().get(Tag.ORIENTATION, 1)

    assert embedded.read(data, "AVIF").orientation == reference == orientation
    assert load(data).image.size == ((40, 20) if orientation < 5 else (20, 40))


def test_exif_turns_a_heif_picture_only_if_the_container_does_not() -> None:
    tags = tiff({Tag.ORIENTATION: 6})
    turned = heif(tags, box(b"irot", b"\1"))
    mirrored = heif(tags, box(b"imir", b"\0"))

    def orientation_and_turn(data: bytes) -> tuple[int, int]:
        found = embedded.read(data, "HEIC")
        return found.orientation, found.turn

    assert orientation_and_turn(heif(tags)) == (6, 6)
    # libheif has turned these when EXIF is read.
    assert orientation_and_turn(turned) == (8, 1)
    assert orientation_and_turn(mirrored) == (4, 1)
    assert orientation_and_turn(heif(tags, box(b"irot", b"\0"))) == (1, 1)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_tiff_file_is_turned_once(orientation: int) -> None:
    plain = gradient(40, 20)
    turned = load(encoded(plain, "TIFF", tiffinfo={int(Tag.ORIENTATION): orientation}))
    jpeg_ = load(with_exif(plain, {Tag.ORIENTATION: orientation}, format_="PNG"))

    assert turned.orientation == jpeg_.orientation == orientation
    assert turned.image.tobytes() == jpeg_.image.convert(turned.image.mode).tobytes()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def heif(exif: bytes, *properties: bytes, xmp_: bytes = b"") -> bytes:
    """Return the boxes of a file with a primary item and metadata, without a picture."""
    items = {2: (b"Exif\0", b"\0\0\0\0" + exif), 3: (b"mime\0application/rdf+xml\0", xmp_)}
    infos = b"".join(
        box(b"infe", struct.pack(">B3xHH", 2, item, 0) + kind) for item, (kind, _) in items.items()
    )
    idat, extents = b"", b""
    for item, (_, content) in items.items():
        extents += struct.pack(">HHHHII", item, 1, 0, 1, len(idat), len(content))
        idat += content
    listed = (box(b"pixi", b"\0\0\0\0\3\x0a\x0a\x0a"), *properties)
    numbers = bytes(range(1, len(listed) + 1))
    ipma = struct.pack(">4xIHB", 1, 1, len(numbers)) + numbers
    meta = b"".join(
        (
            box(b"pitm", struct.pack(">4xH", 1)),
            box(b"iinf", struct.pack(">4xH", len(items)) + infos),
            box(b"iloc", struct.pack(">B3xBBH", 1, 0x44, 0, len(items)) + extents),
            box(b"iprp", box(b"ipco", b"".join(listed)) + box(b"ipma", ipma)),
            box(b"idat", idat),
        )
    )
    return box(b"ftyp", b"heic\0\0\0\0heicmif1") + box(b"meta", bytes(4) + meta)


def test_the_items_of_a_heif_file_are_found() -> None:
    data = heif(MADE, xmp_=PACKET)

    found = embedded.read(data, "HEIC")

    assert found.tags.main[Tag.MAKE] == b"Maker\0"
    assert found.xmp == PACKET
    assert found.bit_depth == 10
    for end in range(len(data)):
        embedded.read(data[:end], "HEIC")


VIDEO = (
    box(b"ftyp", b"mp42\0\0\0\0isommp42") + box(b"mdat", b"frames" * 9) + box(b"moov", bytes(20))
)


@pytest.mark.parametrize(
    "trailer",
    [
        VIDEO,
        b"padding" + VIDEO,
        # Samsung: named parts, and their table at the end.
        b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + VIDEO + b"SEFH" + bytes(20) + b"SEFT",
    ],
)
def test_a_jpeg_with_a_video_after_its_picture_is_a_motion_photo(trailer: bytes) -> None:
    found = facts(jpeg(exif_segment(MADE), trailer=trailer))

    assert (found.motion_photo, found.motion_video_bytes) == (True, len(VIDEO))


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        # The marks stay when software removes the video.
        jpeg(
            xmp_segment(
                xmp().replace(
                    b'rdf:about=""',
                    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
                    b' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="100"',
                )
            )
        ),
        jpeg(trailer=b"MotionPhoto_Data"),
        jpeg(trailer=b"ftyp"),
        jpeg(trailer=VIDEO[:24]),
        jpeg(trailer=b"words about \0\0\0\x18ftypmp42 and more"),
        jpeg((0xFE, VIDEO)),
        encoded(gradient(8, 8)) + VIDEO,
    ],
)
def test_a_photo_without_a_video_is_no_motion_photo(data: bytes) -> None:
    found = facts(data)

    assert (found.motion_photo, found.motion_video_bytes) == (False, None)


def test_a_heif_file_has_its_video_in_a_box() -> None:
    still = heif(MADE)

    assert motion.video_bytes(still + box(b"mpvd", VIDEO), "HEIC") == len(VIDEO)
    assert motion.video_bytes(still + VIDEO, "HEIC") is None
    assert motion.video_bytes(still, "HEIC") is None


FORMATS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "AVIF", "HEIC")
WHOLE = {
    "JPEG": jpeg(exif_segment(MADE), xmp_segment(PACKET), trailer=VIDEO),
    "PNG": png(chunk(b"eXIf", MADE), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET)),
    "WebP": encoded(gradient(8, 8), "WEBP", exif=MADE, xmp=PACKET),
    "GIF": encoded(gradient(8, 8), "GIF"),
    "TIFF": with_exif(gradient(8, 8), {Tag.MAKE: "Maker"}, format_="TIFF"),
    "AVIF": encoded(gradient(8, 8), "AVIF", exif=MADE, xmp=PACKET),
    "HEIC": heif(MADE, xmp_=PACKET) + box(b"mpvd", VIDEO),
}


@settings(max_examples=400)
@given(st.sampled_from(FORMATS), st.data())
def test_any_bytes_of_any_format_are_read_without_an_error(name: str, data: st.DataObject) -> None:
    whole = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(0, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])

    embedded.read(cut, name)
    embedded.read(data.draw(st.binary(max_size=200)), name)


@given(st.binary(max_size=200))
def test_any_bytes_are_boxes_or_not(data: bytes) -> None:
    isobmff.read(box(b"meta", data))
    isobmff.read(box(b"meta", bytes(4) + box(b"iloc", data) + box(b"iinf", data)))
    isobmff.read(box(b"meta", bytes(4) + box(b"iprp", box(b"ipma", data) + box(b"ipco", data))))


def test_parts_of_items_are_bounded() -> None:
    """Without offsets and lengths, a part takes no byte: a file could claim any number of them."""
    items = struct.pack(">HHH", 1, 0, 65_535) * 10_000
    iloc = box(b"iloc", struct.pack(">4xBBH", 0, 0, 10_000) + items)

    found = isobmff.read(box(b"meta", bytes(4) + iloc + box(b"idat", b"x")))

    assert found == isobmff.Items()


def test_real_files_are_no_motion_photos(photos: Path) -> None:
    for path in (photos / "camera").iterdir():
        assert motion.video_bytes(path.read_bytes(), "JPEG") is None
