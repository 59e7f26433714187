"""Damage in JPEG files: marked where libjpeg warns of picture data, and nowhere else.

The reference is libjpeg-turbo's own program, ``djpeg``, which prints its warnings.
"""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from domain.pipeline.failures import Category
from handlers.imaging import cost
from handlers.imaging.picture import load
from handlers.stage import BadImage, Recipe, StageContext
from tests.handlers.imaging.test_picture import difference
from tests.handlers.pictures import decoded, encoded, gradient, scaled
from tests.servers import LONG, unavailable

WIDTH, HEIGHT = 200, 152
SEEDS = 60 if LONG else 4

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True}),
    "4:2:0": ("RGB", {"subsampling": 2}),
    "4:2:0, restarts": ("RGB", {"subsampling": 2, "restart_marker_blocks": 5}),
    "4:2:0, progressive": ("RGB", {"subsampling": 2, "progressive": True}),
    "4:2:0, progressive, restarts": (
        "RGB",
        {"subsampling": 2, "progressive": True, "restart_marker_rows": 2},
    ),
    "4:2:2, restarts": ("RGB", {"subsampling": 1, "restart_marker_rows": 1}),
    "4:2:2, optimized": ("RGB", {"subsampling": 1, "optimize": True}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "4:4:4, progressive": ("RGB", {"subsampling": 0, "progressive": True}),
    "RGB, Adobe": ("RGB", {"keep_rgb": True}),
    "CMYK, Adobe": ("CMYK", {}),
    "CMYK, progressive": ("CMYK", {"progressive": True}),
}


def scene(mode: str = "RGB", width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Return a picture with edges, texture and smooth parts, as a photo has."""
    grain = random.Random(width * height).randbytes(width * height // 16)
    noise = scaled(Image.frombytes("L", (width // 4, height // 4), grain), width, height)
    image = Image.blend(gradient(width, height), noise.convert("RGB"), 0.4)
    image.paste((240, 235, 220), (width // 8, height // 8, width // 3, height // 2))
    image.paste((20, 24, 40), (width // 2, height // 3, width * 3 // 4, height * 5 // 6))
    return image.convert(mode)


def jpeg(kind: str) -> bytes:
    mode, options = KINDS[kind]
    return encoded(scene(mode), "JPEG", quality=85, **options)


def scans(data: bytes) -> list[tuple[int, int]]:
    """Return where the entropy-coded data of each scan begins and ends."""
    found: list[tuple[int, int]] = []
    at = 2
    while data[at + 1] != 0xD9:
        marker = data[at + 1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            start = at
            while data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8)):
                at += 1
            found.append((start, at))
    return found


def flip_a_bit(data: bytearray, at: int, _end: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def delete_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    del data[at : min(end, at + chance.choice((1, 2, 17, 300)))]


def zero_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    stop = min(end, at + chance.choice((1, 4, 64, 512)))
    data[at:stop] = bytes(stop - at)


def change_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    stop = min(end, at + chance.choice((1, 8)))
    data[at:stop] = chance.randbytes(stop - at)


def insert_bytes(data: bytearray, at: int, _end: int, chance: random.Random) -> None:
    data[at:at] = chance.randbytes(chance.choice((1, 5)))


Fault = Callable[[bytearray, int, int, random.Random], None]
FAULTS: list[Fault] = [flip_a_bit, delete_bytes, zero_bytes, change_bytes, insert_bytes]


def djpeg() -> str:
    """Return the path of libjpeg-turbo's decoder."""
    found = shutil.which("djpeg")
    if found is None:
        unavailable("no djpeg on this machine: apt-get install libjpeg-turbo-progs")
    return found or ""


def warnings_of(data: bytes) -> str:
    """Return what libjpeg says about the file; nothing about a healthy one."""
    run = subprocess.run([djpeg(), "-ppm"], input=data, capture_output=True)
    return run.stderr.decode().strip()


def counts_as_damaged(data: bytes) -> bool:
    """Return whether the file is marked as damaged, or has no viewable part."""
    try:
        return load(data).damaged
    except BadImage as refused:
        return refused.code == "unreadable-image"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_marked_exactly_where_libjpeg_warns(kind: str, fault: Fault) -> None:
    whole = jpeg(kind)
    assert not warnings_of(whole)
    assert not load(whole).damaged
    for seed in range(SEEDS):
        chance = random.Random(f"{kind} {fault.__name__} {seed}")
        start, end = chance.choice(scans(whole))
        data = bytearray(whole)
        fault(data, chance.randrange(start, end), end, chance)

        warned = warnings_of(bytes(data))

        assert counts_as_damaged(bytes(data)) == bool(warned), (seed, warned)


def test_the_part_before_the_damage_is_kept() -> None:
    whole = jpeg("4:2:0, restarts")
    ((start, end),) = scans(whole)
    at = (start + end) // 2

    picture = load(whole[:at] + whole[at + 40 :])

    top = (0, 0, WIDTH, HEIGHT // 4)
    assert picture.damaged
    assert picture.warning == "The picture data is broken in places."
    assert difference(picture.image.crop(top), scene().crop(top)) < 8


def test_a_damaged_stuffing_byte_costs_nothing_but_a_mark() -> None:
    whole = jpeg("4:4:4")
    at = whole.index(b"\xff\0", scans(whole)[0][0])

    picture = load(whole[: at + 1] + b"\x08" + whole[at + 2 :])

    assert picture.damaged
    assert difference(picture.image, decoded(whole)) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [20, 60, 95])
def test_a_truncated_file_is_marked_as_such(kind: str, percent: int) -> None:
    whole = jpeg(kind)

    picture = load(whole[: len(whole) * percent // 100])

    assert picture.damaged
    assert picture.warning == "The file ends before the picture does."


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "progressive" in kind])
def test_a_file_that_ends_between_two_scans_is_truncated(kind: str) -> None:
    whole = jpeg(kind)

    for _, end in scans(whole)[:-1]:
        assert load(whole[:end]).warning == "The file ends before the picture does."


def segments_from(data: bytes) -> int:
    """Return where the first segment after JFIF's begins."""
    return 4 + int.from_bytes(data[4:6], "big")


def without_end(data: bytes) -> bytes:
    return data[:-2]


def with_bytes_after_the_end(data: bytes) -> bytes:
    return data + b"SEFH\xff\xd8\xff" + bytes(40)


def with_stray_bytes_before_a_segment(data: bytes) -> bytes:
    at = segments_from(data)
    return data[:at] + b"stray" + data[at:]


def with_filler_before_a_segment(data: bytes) -> bytes:
    at = segments_from(data)
    return data[:at] + b"\xff\xff\xff" + data[at:]


def with_filler_before_the_end(data: bytes) -> bytes:
    return data[:-2] + b"\xff\xff\xff" + data[-2:]


def with_an_unknown_version_of_jfif(data: bytes) -> bytes:
    return data[:11] + b"\x07" + data[12:]


def with_an_unknown_transform_of_adobe(data: bytes) -> bytes:
    at = segments_from(data)
    return data[:at] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09" + data[at:]


def with_an_end_before_the_first_scan(data: bytes) -> bytes:
    at = segments_from(data)
    return data[:at] + b"\xff\xd9" + data[at:]


def with_a_comment_that_looks_like_markers(data: bytes) -> bytes:
    at = segments_from(data)
    return data[:at] + b"\xff\xfe\0\x08\xff\xda\xff\xd3\xff\x9f" + data[at:]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "Adobe" not in kind and "CMYK" not in kind]
)
@pytest.mark.parametrize(
    "change",
    [
        without_end,
        with_bytes_after_the_end,
        with_stray_bytes_before_a_segment,
        with_filler_before_a_segment,
        with_filler_before_the_end,
        with_an_unknown_version_of_jfif,
        with_an_unknown_transform_of_adobe,
        with_an_end_before_the_first_scan,
        with_a_comment_that_looks_like_markers,
    ],
    ids=lambda change: change.__name__,
)
def test_what_takes_no_pixel_is_no_damage(kind: str, change: Callable[[bytes], bytes]) -> None:
    whole = jpeg(kind)

    picture = load(change(whole))

    assert (picture.damaged, picture.warning) == (False, None)
    assert difference(picture.image, load(whole).image) == 0


@pytest.mark.parametrize("colour", ["black", "white", (90, 40, 140)])
@pytest.mark.parametrize("change", [bytes, without_end])
def test_a_picture_of_one_colour_is_no_damage(
    colour: str, change: Callable[[bytes], bytes]
) -> None:
    data = encoded(Image.new("RGB", (320, 240), colour), "JPEG")

    assert not load(change(data)).damaged


def test_a_scan_of_which_nothing_is_left_is_unreadable() -> None:
    whole = jpeg("4:2:0")
    ((start, _),) = scans(whole)

    with pytest.raises(BadImage) as refused:
        load(whole[:start] + b"\xff\xd9")

    assert (refused.value.code, refused.value.category) == ("unreadable-image", Category.DATA)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_pixels_that_pillow_decodes(kind: str) -> None:
    whole = jpeg(kind)

    assert difference(load(whole).image, decoded(whole)) <= 1


def cjpeg(*options: str) -> bytes:
    """Encode with libjpeg-turbo's program, which has options that Pillow lacks."""
    found = shutil.which("cjpeg")
    if found is None:
        unavailable("no cjpeg on this machine: apt-get install libjpeg-turbo-progs")
    command = (found or "", *options)
    run = subprocess.run(command, input=encoded(scene(), "PPM"), capture_output=True, check=True)
    return run.stdout


@pytest.mark.parametrize("options", [(), ("-progressive",)])
def test_arithmetic_coding_is_decoded(options: tuple[str, ...]) -> None:
    data = cjpeg("-quality", "90", "-arithmetic", *options)

    picture = load(data)

    assert not picture.damaged
    assert difference(picture.image, scene()) < 8
    assert load(data[: len(data) // 2]).warning == "The file ends before the picture does."


@pytest.mark.parametrize(
    ("marker", "bits", "kind"),
    [
        (0xC1, 12, "a JPEG of 12 bits a sample"),
        (0xC3, 8, "a lossless JPEG"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xCB, 8, "a lossless JPEG with arithmetic coding"),
    ],
)
def test_a_kind_that_cannot_be_decoded_is_named(marker: int, bits: int, kind: str) -> None:
    data = bytearray(jpeg("4:4:4"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, bits

    with pytest.raises(BadImage) as refused:
        load(bytes(data))

    assert (refused.value.code, refused.value.category) == ("unsupported-jpeg", Category.DATA)
    assert refused.value.message == f"The file is {kind}, which cannot be decoded here."


def test_no_photo_of_a_camera_is_marked(photos: Path) -> None:
    for folder in ("camera", "gps", "orientation"):
        for path in sorted((photos / folder).glob("*.jpg")):
            data = path.read_bytes()

            assert not load(data).damaged, path.name


@pytest.mark.parametrize("eighths", range(1, 9))
def test_a_picture_decoded_at_any_scale_looks_like_one_reduced_afterwards(eighths: int) -> None:
    width = 8 * 600 // eighths + 3
    original = gradient(width, width * 2 // 3)
    original.paste("white", (width // 8, width // 8, width // 4, width // 3))
    original.paste("black", (width // 2, width // 4, width * 3 // 4, width // 2))
    data = encoded(original, "JPEG", quality=95, subsampling=0)

    picture = load(data, StageContext(recipe=Recipe(longest_edge=600)))

    assert cost.jpeg_eighths(original.size, 600) == eighths
    reference = original.resize(picture.image.size, Image.Resampling.LANCZOS)
    assert difference(picture.image, reference) < 1
