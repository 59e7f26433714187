"""RAW files are recognized by their content, and shown by their largest preview."""

import struct
from typing import Any

import msgspec
import pytest
from PIL import Image

from domain.photo.results import MetadataResult, Raw
from handlers.imaging.picture import Picture, load
from handlers.stage import BadImage, ImageLimits, StageContext, StageFailure
from handlers.stages import metadata, validation
from tests.handlers.imaging.test_picture import difference
from tests.handlers.imaging.tiffs import Storage, assembled
from tests.handlers.pictures import encoded, gradient, with_exif

SENSOR = (96, 64)
CFA, LINEAR_RAW = 32803, 34892

NOISE = Image.effect_noise(SENSOR, 90).tobytes() * 2
PREVIEW = encoded(gradient(60, 40), "JPEG")
THUMBNAIL = encoded(Image.new("RGB", (12, 8), "red"), "JPEG")


def sensor(**fields: Any) -> tuple[list[bytes], dict[int, Any]]:
    """Return strips and fields of the data of a sensor."""
    width, height = SENSOR
    tags: dict[int, Any] = {
        254: (0,), 256: (width,), 257: (height,), 258: (16,), 259: (1,), 262: (CFA,), 277: (1,),
        **{int(name[1:]): value for name, value in fields.items()},
    }  # fmt: skip
    return [NOISE], tags


def raw_file(make: bytes, *further: bytes, order: str = "<", **fields: Any) -> bytes:
    """Return a RAW file that begins like TIFF, with further data at its end."""
    parts, tags = sensor(**fields)
    storage = Storage(order=order, rows_per_strip=SENSOR[1])
    return assembled(parts, {**tags, 271: make + b"\0"}, storage) + b"".join(further)


def shown(picture: Picture) -> Raw:
    assert picture.raw is not None
    return picture.raw


@pytest.mark.parametrize(
    ("make", "fields", "kind", "mime_type"),
    [
        (b"Acme", {"t50706": b"\1\4\0\0"}, "DNG", "image/x-adobe-dng"),
        (b"Acme", {"t50706": b"\1\4\0\0", "t262": (LINEAR_RAW,)}, "DNG", "image/x-adobe-dng"),
        (b"NIKON CORPORATION", {}, "NEF", "image/x-nikon-nef"),
        (b"SONY", {}, "ARW", "image/x-sony-arw"),
        (b"PENTAX", {}, "PEF", "image/x-pentax-pef"),
        (b"RICOH IMAGING COMPANY, LTD.", {}, "PEF", "image/x-pentax-pef"),
        (b"SAMSUNG", {}, "SRW", "image/x-samsung-srw"),
        (b"Acme", {}, "RAW", "image/x-raw"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_raw_file_that_begins_like_tiff_shows_its_preview(
    make: bytes, fields: dict[str, Any], kind: str, mime_type: str, order: str
) -> None:
    data = raw_file(make, THUMBNAIL, PREVIEW, THUMBNAIL, order=order, **fields)

    picture = load(data)

    assert (picture.format, picture.mime_type) == ("RAW", mime_type)
    assert (picture.width, picture.height) == SENSOR
    assert picture.image.size == (60, 40)
    assert not picture.damaged
    assert shown(picture) == Raw(
        kind=kind,
        rendition="embedded-preview",
        sensor_width=96,
        sensor_height=64,
        preview_width=60,
        preview_height=40,
    )


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [(b"IIRO", "ORF"), (b"IIRS", "ORF"), (b"IIU\0", "RW2"), (b"II*\0", "NEF")],
)
def test_marks_of_makers_are_known(beginning: bytes, kind: str) -> None:
    data = beginning + raw_file(b"NIKON", PREVIEW)[4:]

    assert shown(load(data)).kind == kind


def test_a_canon_cr2_shows_its_preview() -> None:
    picture = load(b"II*\0\x10\0\0\0CR\2\0" + bytes(40) + PREVIEW)

    assert (picture.mime_type, shown(picture).kind) == ("image/x-canon-cr2", "CR2")
    assert picture.image.size == (60, 40)


def test_a_fuji_raf_shows_its_preview_and_the_size_of_its_sensor() -> None:
    header = b"FUJIFILMCCD-RAW 0201".ljust(92, b"\0") + struct.pack(">II", 200, 100)
    records = struct.pack(">IHHHH", 1, 0x0100, 4, 64, 96)
    preview = with_exif(gradient(60, 40), {274: 6, 271: "FUJIFILM"})
    data = header.ljust(200, b"\0") + records + preview

    picture = load(data)

    assert (picture.width, picture.height, picture.orientation) == (64, 96, 6)
    assert picture.embedded.tags.main[271] == b"FUJIFILM\0"
    assert (shown(picture).sensor_width, shown(picture).preview_width) == (64, 40)


def test_a_canon_cr3_shows_its_preview_with_the_tags_of_its_boxes() -> None:
    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I", 8 + len(body)) + kind + body

    def directory(**fields: Any) -> bytes:
        return assembled([b""], {int(name[1:]): value for name, value in fields.items()}, Storage())

    identifier = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    main = box(b"CMT1", directory(t271=b"Canon\0", t274=(8,)))
    details = box(b"CMT2", directory(t40962=(96,), t40963=(64,)))
    data = box(b"ftyp", b"crx ", bytes(4), b"crx isom")
    data += box(b"moov", box(b"uuid", identifier, main, details)) + box(b"mdat", PREVIEW)

    picture = load(data)

    assert (picture.format, picture.mime_type) == ("RAW", "image/x-canon-cr3")
    assert (picture.width, picture.height, picture.orientation) == (64, 96, 8)
    assert shown(picture).kind == "CR3"


def test_the_largest_preview_may_be_the_picture_of_a_directory() -> None:
    parts, tags = sensor()
    small = gradient(30, 20)
    first = {
        254: (1,), 256: (30,), 257: (20,), 258: (8, 8, 8), 259: (1,), 262: (2,), 277: (3,),
        50706: b"\1\4\0\0", 330: (0,),
    }  # fmt: skip
    data = bytearray(assembled([small.tobytes()], first, Storage(rows_per_strip=20)))
    below = len(data) + len(data) % 2
    data += bytes(below - len(data)) + parts[0]
    start = len(data)
    fields = {**tags, 273: (below,), 278: (64,), 279: (len(parts[0]),)}
    data += struct.pack("<H", len(fields))
    for tag, value in sorted(fields.items()):
        data += struct.pack("<HHII", tag, 4, 1, value[0])
    data += bytes(4)
    at = data.index(struct.pack("<HHI", 330, 4, 1)) + 8
    struct.pack_into("<I", data, at, start)

    picture = load(bytes(data) + THUMBNAIL)

    assert (picture.width, picture.height) == SENSOR
    assert picture.image.tobytes() == small.tobytes()
    assert (shown(picture).preview_width, shown(picture).preview_height) == (30, 20)


def dng(*below: tuple[list[bytes], dict[int, Any]]) -> bytes:
    """Return a DNG of a thumbnail, with these strips and fields in directories below it."""
    small = gradient(12, 8)
    tags: dict[int, Any] = {
        254: (1,), 256: (12,), 257: (8,), 258: (8, 8, 8), 259: (1,), 262: (2,), 277: (3,),
        50706: b"\1\4\0\0", 330: (0,) * max(2, len(below)),
    }  # fmt: skip
    data = bytearray(assembled([small.tobytes()], tags, Storage(rows_per_strip=8)))
    starts: list[int] = []
    for parts, described in below:
        places: list[int] = []
        for part in parts:
            places.append(len(data))
            data += part + bytes(len(part) % 2)
        sizes = tuple(map(len, parts))
        fields = {**described, 273: tuple(places), 279: sizes}
        heap_at = len(data) + 2 + 12 * len(fields) + 4
        starts.append(len(data))
        table, heap = struct.pack("<H", len(fields)), b""
        for tag, value in sorted(fields.items()):
            packed = struct.pack(f"<{len(value)}I", *value)
            if len(value) > 1:
                packed, heap = struct.pack("<I", heap_at + len(heap)), heap + packed
            table += struct.pack("<HHI", tag, 4, len(value)) + packed
        data += table + bytes(4) + heap
    at = data.index(struct.pack("<HHI", 330, 4, max(2, len(below)))) + 8
    (at,) = struct.unpack_from("<I", data, at)
    struct.pack_into(f"<{len(starts)}I", data, at, *starts)
    return bytes(data)


def picture_fields(width: int, height: int, photometric: int, **fields: Any) -> dict[int, Any]:
    return {
        254: (1,), 256: (width,), 257: (height,), 258: (8, 8, 8), 259: (7,), 262: (photometric,),
        277: (3,), 278: (height,), **{int(name[1:]): value for name, value in fields.items()},
    }  # fmt: skip


@pytest.mark.parametrize("compression", [7, 34892])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("photometric", [CFA, LINEAR_RAW, 4, 51177, 52527])
def test_sensor_data_and_maps_that_are_jpeg_are_no_preview(
    photometric: int, parts: int, compression: int
) -> None:
    stored = encoded(Image.new("RGB", (90, 60), "red"), "JPEG")
    fields = picture_fields(90, 60, photometric, t254=(0,), t259=(compression,))
    fields[278] = (60 // parts,)
    preview = [PREVIEW], picture_fields(60, 40, 6)

    for order in ([([stored] * parts, fields), preview], [preview, ([stored] * parts, fields)]):
        picture = load(dng(*order))

        assert (shown(picture).preview_width, shown(picture).preview_height) == (60, 40)
        assert picture.image.getpixel((0, 0)) != (254, 0, 0)


def test_a_preview_of_several_jpeg_strips_is_shown_as_a_whole() -> None:
    whole = gradient(64, 48)
    strips = [
        encoded(whole.crop((0, top, 64, top + 16)), "JPEG", quality=95, subsampling=0)
        for top in range(0, 48, 16)
    ]
    fields = picture_fields(64, 48, 6, t278=(16,), t530=(1, 1))

    picture = load(dng((strips, fields), ([PREVIEW], picture_fields(60, 40, 6))))

    assert (shown(picture).preview_width, shown(picture).preview_height) == (64, 48)
    assert difference(picture.image, whole) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_raw_file_counts(orientation: int) -> None:
    picture = load(raw_file(b"SONY", PREVIEW, t274=(orientation,)))

    lying = orientation >= 5
    assert (picture.width, picture.height) == (SENSOR[::-1] if lying else SENSOR)
    assert picture.image.size == ((40, 60) if lying else (60, 40))
    assert shown(picture).preview_width == (40 if lying else 60)


@pytest.mark.parametrize("fields", [{}, {"t50706": b"\1\4\0\0"}])
def test_a_raw_file_without_a_preview_is_refused_as_raw(fields: dict[str, Any]) -> None:
    with pytest.raises(BadImage) as refused:
        load(raw_file(b"Acme", **fields))

    assert refused.value.code == "raw-without-preview"
    assert refused.value.message.startswith("The RAW file (")


def test_lossless_jpeg_is_the_sensors_data_and_no_preview() -> None:
    lossless = PREVIEW.replace(b"\xff\xc0", b"\xff\xc3", 1)

    with pytest.raises(BadImage, match="contains no preview"):
        load(raw_file(b"Acme", lossless))


def test_an_ordinary_tiff_is_no_raw_file() -> None:
    picture = load(encoded(gradient(9, 9), "TIFF", tiffinfo={271: "NIKON"}))

    assert (picture.format, picture.raw) == ("TIFF", None)


def test_raw_can_be_switched_off() -> None:
    with pytest.raises(StageFailure) as refused:
        load(raw_file(b"SONY", PREVIEW), StageContext(limits=ImageLimits(refused_formats="RAW")))

    assert refused.value.code == "format-refused"


def test_stages_tell_that_a_photo_is_raw() -> None:
    raw, plain = load(raw_file(b"SONY", PREVIEW)), load(PREVIEW)

    facts = metadata.run(raw, StageContext()).result
    ordinary = metadata.run(plain, StageContext()).result
    checked = validation.run(raw, StageContext()).result

    assert isinstance(facts, MetadataResult)
    assert facts.raw == shown(raw)
    assert isinstance(ordinary, MetadataResult)
    assert ordinary.raw is msgspec.UNSET
    assert checked.format == "RAW"  # pyright: ignore
