"""Damage in compressed strips and tiles that libtiff decodes silently."""

import random
import struct
import zlib
from collections.abc import Callable

import msgspec
import pytest

from handlers.imaging.damage import BROKEN
from handlers.imaging.picture import load
from handlers.imaging.tiff import directory
from handlers.stage import BadImage
from tests.handlers.imaging.test_jpeg import scene
from tests.handlers.imaging.tiffs import COMPRESSORS, Storage, assembled, tiff
from tests.handlers.pictures import encoded
from tests.servers import LONG

SEEDS = 40 if LONG else 8
WIDTH, HEIGHT = 60, 40


def strips(data: bytes) -> list[tuple[int, int]]:
    """Return where each strip or tile begins, and its size."""
    first = directory.first(data)
    assert first is not None
    places = first.numbers(324) or first.numbers(273)
    return list(zip(places, first.numbers(325) or first.numbers(279), strict=True))


def zero_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    stop = min(end, at + chance.choice((1, 4, 40)))
    data[at:stop] = bytes(stop - at)


def change_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    stop = min(end, at + chance.choice((1, 8, 40)))
    data[at:stop] = chance.randbytes(stop - at)


def flip_a_bit(data: bytearray, at: int, _end: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def drop_bytes(data: bytearray, at: int, end: int, chance: random.Random) -> None:
    count = chance.choice((1, 3))
    data[at:end] = data[at + count : end] + bytes(min(count, end - at))


Fault = Callable[[bytearray, int, int, random.Random], None]
FAULTS: list[Fault] = [zero_bytes, change_bytes, flip_a_bit, drop_bytes]


def is_damaged(data: bytes) -> bool:
    try:
        picture = load(data)
    except BadImage as refused:
        return refused.code == "unreadable-image"
    assert picture.warning in (None, BROKEN)
    return picture.damaged


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "I;16"])
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_deflate"])
def test_every_change_of_a_deflated_strip_is_damage(
    compression: str, mode: str, fault: Fault
) -> None:
    whole = encoded(scene().convert("L").convert(mode), "TIFF", compression=compression)
    assert not load(whole).damaged
    for seed in range(SEEDS):
        chance = random.Random(f"{compression} {mode} {fault.__name__} {seed}")
        start, size = chance.choice(strips(whole))
        data = bytearray(whole)
        fault(data, chance.randrange(start, start + size), start + size, chance)

        assert is_damaged(bytes(data)) == (bytes(data) != whole), seed


PLANES = [[[float((x * x + y * n) % 200) for x in range(WIDTH)] for y in range(HEIGHT)]
          for n in range(3)]  # fmt: skip
STORAGES = {
    "strips": Storage(),
    "planes": Storage(planar=True),
    "tiles": Storage(tile=16),
    "planes of tiles": Storage(tile=32, planar=True),
    "predicted": Storage(predictor=2),
    "reversed bits": Storage(fill_order=2),
    "big, most significant byte first": Storage(big=True, order=">"),
    "one strip": Storage(rows_per_strip=HEIGHT),
    "strips of more rows than there are": Storage(rows_per_strip=2 * HEIGHT),
}


def stored(name: str, compression: int) -> bytes:
    storage = msgspec.structs.replace(STORAGES[name], compression=compression)
    return tiff(PLANES, photometric=2, storage=storage)


@pytest.mark.parametrize("compression", [8, 34925])
@pytest.mark.parametrize("name", STORAGES)
def test_a_wrong_checksum_of_a_strip_is_damage(name: str, compression: int) -> None:
    whole = stored(name, compression)
    start, size = strips(whole)[-1]
    # LZMA has the checksum before an index and a footer.
    at = start + size - 1 - (0 if compression == 8 else 36)

    assert not load(whole).damaged
    assert is_damaged(whole[:at] + bytes((whole[at] ^ 8,)) + whole[at + 1 :])


@pytest.mark.parametrize("name", [name for name in STORAGES if name != "predicted"])
@pytest.mark.parametrize("compression", [1, 5, 8, 32773, 34925])
def test_a_whole_file_of_any_storage_is_not_damaged(compression: int, name: str) -> None:
    assert not load(stored(name, compression)).damaged


def packed(data: bytes, size: int) -> bytes:
    """Pack bytes as runs of literals of at most ``size``, and of equal bytes (section 9)."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        run = 1
        while run < 128 and data[at : at + 1] == data[at + run : at + run + 1]:
            run += 1
        if run > 2:
            parts.append(bytes((257 - run, data[at])))
        else:
            run = min(size, len(data) - at)
            parts.append(bytes((run - 1,)) + data[at : at + run])
        at += run
    return b"".join(parts)


def grey(strip: bytes, rows_per_strip: int = HEIGHT) -> bytes:
    tags: dict[int, tuple[int, ...] | bytes] = {
        256: (WIDTH,), 257: (HEIGHT,), 258: (8,), 259: (32773,), 262: (1,), 277: (1,),
    }  # fmt: skip
    return assembled([strip], tags, Storage(rows_per_strip=rows_per_strip))


ROWS = [bytes((x * x + y) % 200 if x < 40 else y for x in range(WIDTH)) for y in range(HEIGHT)]
BY_ROW = b"".join(packed(row, 50) for row in ROWS)
ACROSS_ROWS = packed(b"".join(ROWS), 50)


@pytest.mark.parametrize(
    "strip",
    [
        BY_ROW,
        ACROSS_ROWS,
        BY_ROW + b"\0",
        BY_ROW + b"\x80\x80\x80",
        b"\x80".join(packed(row, 7) for row in ROWS),
    ],
)
def test_pack_bits_of_any_writer_are_whole(strip: bytes) -> None:
    picture = load(grey(strip))

    assert not picture.damaged
    assert picture.image.convert("L").tobytes() == b"".join(ROWS)


def test_a_last_strip_may_be_filled_up() -> None:
    for compression, strip in ((32773, BY_ROW + BY_ROW[:200]), (8, b"".join(ROWS) + ROWS[0])):
        data = strip if compression == 32773 else zlib.compress(strip)
        whole = bytearray(grey(data, rows_per_strip=2 * HEIGHT))
        at = whole.index(struct.pack("<HHIH", 259, 3, 1, 32773))
        whole[at : at + 10] = struct.pack("<HHIH", 259, 3, 1, compression)

        assert not load(bytes(whole)).damaged, compression


def test_runs_that_end_elsewhere_than_their_rows_are_damage() -> None:
    for seed in range(10 * SEEDS):
        chance = random.Random(seed)
        data = bytearray(BY_ROW)
        at = chance.choice([at for at in headers(BY_ROW) if at < len(BY_ROW) - 60])
        count = data[at]
        while data[at] == count or data[at] == 128:
            data[at] = chance.randrange(256)

        assert is_damaged(grey(bytes(data))), (seed, at)


def headers(data: bytes) -> list[int]:
    """Return where the runs begin."""
    found, at = list[int](), 0
    while at < len(data):
        found.append(at)
        at += 2 if data[at] > 128 else data[at] + 2
    return found


@pytest.mark.parametrize("fault", [change_bytes, drop_bytes])
def test_codes_of_lzw_that_make_another_number_of_bytes_are_damage(fault: Fault) -> None:
    whole = encoded(scene().convert("L"), "TIFF", compression="tiff_lzw")
    assert not load(whole).damaged
    found = 0
    for seed in range(3 * SEEDS):
        chance = random.Random(f"{fault.__name__} {seed}")
        start, size = chance.choice(strips(whole))
        data = bytearray(whole)
        fault(data, chance.randrange(start, start + size), start + size, chance)
        found += is_damaged(bytes(data))

    # Codes may change into others that stand for as many bytes.
    assert found >= 2.5 * SEEDS


def test_a_code_of_lzw_is_as_long_as_the_table_demands() -> None:
    for mode in ("1", "L", "RGB"):
        for width in (1, 7, 300, 2_000):
            image = scene("RGB", 4 * width, 120).convert(mode)
            assert not load(encoded(image, "TIFF", compression="tiff_lzw")).damaged


def test_a_checksum_that_is_cut_off_costs_nothing() -> None:
    raw = b"".join(ROWS)
    whole = bytearray(grey(COMPRESSORS[8](raw)[:-4]))
    at = whole.index(struct.pack("<HHIH", 259, 3, 1, 32773))
    whole[at : at + 10] = struct.pack("<HHIH", 259, 3, 1, 8)

    picture = load(bytes(whole))

    assert not picture.damaged
    assert picture.image.convert("L").tobytes() == raw
