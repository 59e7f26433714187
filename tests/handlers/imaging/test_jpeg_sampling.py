"""Every combination of sampling factors is decoded and its damage found, or refused by its name."""

import random
import re
import struct
import time
import tracemalloc
from collections.abc import Sequence

import pytest

from domain.pipeline.failures import Category
from handlers.imaging import jpeg_entropy, jpeg_stream
from handlers.imaging.cost import Cost
from handlers.imaging.damage import BROKEN, CUT
from handlers.imaging.picture import load
from handlers.stage import BadImage
from tests.handlers.imaging.test_jpeg import (
    FAULTS,
    Fault,
    cjpeg,
    counts_as_damaged,
    scans,
    warnings_of,
)
from tests.handlers.imaging.test_picture import difference
from tests.handlers.pictures import decoded
from tests.servers import LONG

SEEDS = 40 if LONG else 4

Factors = Sequence[tuple[int, int]]
"""The sampling factors of each component, across and down."""

SIZE = WIDTH, HEIGHT = 90, 70

# Codes of two, three and four bits, of symbols that the two kinds of tables have.
_COUNTS = bytes((0, 2, 2, 3, *[0] * 12))
_CODES = ("00", "01", "100", "101", "1100", "1101", "1110")
_DC = dict(zip((0, 1, 3, 2, 4, 6, 5), _CODES, strict=True))
_AC = dict(zip((0x00, 0x01, 0x03, 0x12, 0xF0, 0x22, 0x05), _CODES, strict=True))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def noise(
    factors: Factors, chance: random.Random, *, transform: int | None, interval: int, apart: bool
) -> bytes:
    """Return a JPEG of random codes, with these sampling factors.

    ``transform`` is Adobe's, ``interval`` that of restart markers; components that are ``apart``
    have a scan each.
    """
    names = range(1, len(factors) + 1)
    frame = struct.pack(">BHHB", 8, HEIGHT, WIDTH, len(factors)) + b"".join(
        bytes((name, across << 4 | down, 0))
        for name, (across, down) in zip(names, factors, strict=True)
    )
    parts = [
        b"\xff\xd8",
        b"" if transform is None else segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,))),
        segment(0xDB, bytes((0, *[2] * 64))),
        segment(0xC0, frame),
        segment(0xC4, b"\x00" + _COUNTS + bytes(_DC) + b"\x10" + _COUNTS + bytes(_AC)),
        segment(0xDD, struct.pack(">H", interval)),
    ]
    for chosen in ([name] for name in names) if apart else (list(names),):
        header = bytes((len(chosen), *(byte for name in chosen for byte in (name, 0)), 0, 63, 0))
        parts += segment(0xDA, header), _data(chosen, factors, chance, interval)
    return b"".join((*parts, b"\xff\xd9"))


def _data(chosen: list[int], factors: Factors, chance: random.Random, interval: int) -> bytes:
    most_across, most_down = (max(each) for each in zip(*factors, strict=True))
    across, down, blocks = 1, 1, sum(across * down for across, down in factors)
    if len(chosen) == 1:
        (across, down), blocks = factors[chosen[0] - 1], 1
    units = -(-WIDTH * across // (8 * most_across)) * -(-HEIGHT * down // (8 * most_down))
    data = b""
    for begin in range(0, units, interval or units):
        count = min(interval or units, units - begin)
        bits = "".join(_block(chance) for _ in range(count * blocks))
        bits += "1" * (-len(bits) % 8)
        if begin:
            data += bytes((0xFF, 0xD0 + (begin // interval - 1) % 8))
        data += int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return data


def _block(chance: random.Random) -> str:
    def digits(count: int) -> str:
        return f"{chance.getrandbits(count + 1):b}".zfill(count + 1)[1:] if count else ""

    size = chance.choice((0, 1, 2, 3))
    text, at = _DC[size] + digits(size), 1
    while at < 64:
        symbol = chance.choice((0x00, 0x01, 0x03, 0x12, 0xF0, 0x22))
        run = symbol >> 4
        if symbol == 0 or at + run > 63:
            return text + _AC[0]
        text += _AC[symbol] + digits(symbol & 15)
        at += run + 1
    return text


CJPEG = ["1x1", "1x2", "1x4", "3x1", "4x1", "4x2", "2x2,1x2", "2x2,2x1,1x2", "2x1,1x1,2x1",
         "1x3", "3x2", "2x4", "3x1,1x1,3x1", "4x1,2x1,1x1", "2x3,2x1,1x1"]  # fmt: skip


@pytest.mark.parametrize("sampling", CJPEG)
def test_every_sampling_is_decoded(sampling: str) -> None:
    data = cjpeg("-quality", "90", "-restart", "1", "-sample", sampling)
    costs: list[Cost] = []

    picture = load(data, admit=costs.append)

    assert len(costs) == 1, "a decoder reports one cost, however it decodes"
    assert not picture.damaged
    assert difference(picture.image, decoded(data)) <= 1
    assert load(data[: len(data) // 2]).warning == CUT
    assert load(data.replace(b"\xff\xd3", b"\xff\xd6", 1)).warning == BROKEN


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("options", [(), ("-restart", "7B"), ("-progressive",)], ids="-".join)
@pytest.mark.parametrize("sampling", [each for each in CJPEG if "3" in each or "," in each])
def test_damage_is_found_at_every_sampling(
    sampling: str, options: tuple[str, ...], fault: Fault
) -> None:
    whole = cjpeg("-quality", "85", "-sample", sampling, *options)
    for seed in range(SEEDS):
        chance = random.Random(f"{sampling} {options} {seed}")
        start, end = chance.choice(scans(whole))
        data = bytearray(whole)
        fault(data, chance.randrange(start, end), end, chance)

        warned = warnings_of(bytes(data))

        assert counts_as_damaged(bytes(data)) == bool(warned), (seed, warned)


TRANSFORMS = {1: (None,), 3: (None, 0, 1), 4: (None, 0, 2)}


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("components", [1, 3, 4])
@pytest.mark.parametrize("interval", [0, 3])
def test_any_combination_is_decoded_as_libjpeg_does_or_refused_by_name(
    components: int, interval: int, apart: bool
) -> None:
    chance = random.Random(f"{components} {interval} {apart}")
    tried = 0
    while tried < 3 * SEEDS:
        factors = [(chance.randint(1, 4), chance.randint(1, 4)) for _ in range(components)]
        if not apart and sum(across * down for across, down in factors) > 10:
            continue  # more than a scan may interleave (B.2.3)
        tried += 1
        transform = chance.choice(TRANSFORMS[components])
        data = noise(factors, chance, transform=transform, interval=interval, apart=apart)
        if warned := warnings_of(data):
            named = ",".join(f"{across}x{down}" for across, down in factors)
            assert "Fractional sampling not implemented" in warned
            with pytest.raises(BadImage, match=f"sampling factors {named},") as refused:
                load(data)
            assert refused.value.code == "unsupported-jpeg"
            continue

        picture = load(data)

        assert not picture.damaged, factors
        assert difference(picture.image, decoded(data)) <= 1
        start, end = chance.choice(scans(data))
        broken = data[:start] + bytes(end - start)[:40] + data[start + 40 :]
        assert counts_as_damaged(broken) == bool(warnings_of(broken)), factors


@pytest.mark.parametrize("options", [(), ("-progressive",)])
def test_arithmetic_coding_with_a_sampling_without_a_name_is_refused_by_name(
    options: tuple[str, ...],
) -> None:
    with pytest.raises(BadImage) as refused:
        load(cjpeg("-arithmetic", "-sample", "3x1", *options))

    assert (refused.value.code, refused.value.category) == ("unsupported-jpeg", Category.DATA)
    assert refused.value.message == (
        "The file is a JPEG with arithmetic coding and the sampling factors 3x1,1x1,1x1, which "
        "cannot be decoded here."
    )


def test_any_bytes_are_checked_without_an_error() -> None:
    whole = cjpeg("-quality", "85", "-sample", "3x1", "-progressive")
    for seed in range(50 * SEEDS):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(2, min(len(data), 700))] = chance.randrange(256)

        jpeg_entropy.is_broken(jpeg_stream.extract(bytes(data)).data)


def test_fill_bytes_before_markers_and_data_are_no_damage() -> None:
    for options in ((), ("-restart", "1"), ("-progressive",)):
        whole = cjpeg("-quality", "95", "-sample", "3x1", *options)
        start, end = scans(whole)[0]
        scan = re.sub(rb"\xff(?=[\x00\xd0-\xd7])", b"\xff\xff\xff", whole[start:end])
        data = whole[:start] + scan + b"\xff\xff" + whole[end:]
        assert data != whole
        assert not warnings_of(data)

        picture = load(data)

        assert not picture.damaged, options
        assert difference(picture.image, decoded(whole)) <= 1
        broken = bytearray(data)
        broken[start + 40 : start + 60] = bytes(20)
        assert counts_as_damaged(bytes(broken)) == bool(warnings_of(bytes(broken)))


def test_any_number_of_restart_markers_takes_no_memory() -> None:
    whole = cjpeg("-quality", "85", "-sample", "3x1", "-restart", "1")
    _, end = scans(whole)[-1]
    data = whole[:end] + b"\xff\xd0" * 1_000_000 + whole[end:]
    tracemalloc.start()
    try:
        jpeg_entropy.is_broken(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20_000_000


def test_a_refinement_without_data_costs_little_for_each_block() -> None:
    across, down = 500, 400
    one_code = bytes((1, 1, *[0] * 14))
    blocks = across * down
    frame = struct.pack(">BHHB", 8, 8 * down, 8 * across, 1) + bytes((1, 0x11, 0))
    bits = ("0" + "1" * 14) * -(-blocks // 32_767)  # the blocks of a run have no more data
    bits += "1" * (-len(bits) % 8)
    ended = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    parts = [b"\xff\xd8", segment(0xC2, frame)]
    parts.append(segment(0xC4, b"\x00" + one_code + b"\0\1\x10" + one_code + b"\xe0\1"))
    parts += segment(0xDA, bytes((1, 1, 0, 0, 0, 0))), bytes(blocks // 8)
    for high in (0, *range(13, 0, -1)):
        low = high - 1 if high else 13
        parts += segment(0xDA, bytes((1, 1, 0, 1, 63, high << 4 | low))), ended
    began = time.process_time()

    assert not jpeg_entropy.is_broken(b"".join((*parts, b"\xff\xd9")))
    assert time.process_time() - began < 15 * blocks * 1e-6
