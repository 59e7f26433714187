"""Measure what one photo needs, compute what very many need, and check the computation by a run.

The photo goes through a running Photolog once. Its events are then cloned into a log of their own,
so that a run of many photos takes minutes. The run has a Redis that rejects writes above the memory
that a tenth of its photos would need, and an archiver that lets events and states leave.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from ops.bench import report
from ops.bench.appends import append
from ops.bench.capacity_model import (
    DAY_S,
    LARGE_CLIENT,
    PEAK,
    Needs,
    Rates,
    hashes_bytes,
    limit_of,
    needs,
)
from ops.bench.cloned_log import ArchivedLog, used_bytes
from ops.bench.hash_sizes import HashSizes, hash_sizes
from ops.bench.pipeline import PASSES, processed
from ops.bench.rebuild import Clock
from ops.bench.recorded import Clones, events_of
from ops.bench.server import Server, serving
from ops.bench.system import running
from projections.rebuild import rebuild
from store.log.content_hashes import BUCKETS
from store.log.hash_splitting import MOST
from store.log.log import Log
from store.log.recorded import Recorded
from store.redis.connection import connect
from store.sqlite.generations import Generations

SAMPLE = 2_000
"""Photos of the short measurement."""

PHOTOS = 20_000
"""Photos of the run that checks it."""

FRACTION = 10
"""The Redis of the run has the memory that a tenth of the photos would need without archive."""

SERVER_BYTES = 8_000_000
"""The memory of an empty server, and of what is on its way to it."""

ROUNDS = 20
APPENDS = 4_000
LIBRARIES = (10**6, 10**8, 10**9)
DECODER = "handlers.decoder.child"
IN_MEMORY = ("--appendonly", "no", "--maxmemory-policy", "noeviction")


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """The use of a run of many photos.

    ``filled_bytes`` is the memory of Redis after each part of the photos, before they are archived;
    ``peak_bytes`` the most that it ever had, ``end_bytes`` and ``empty_bytes`` the memory after the
    run and before it.
    """

    photos: int
    bound_bytes: int
    filled_bytes: list[int]
    peak_bytes: int
    end_bytes: int
    empty_bytes: int
    evicted: int
    loaded: int
    archive_bytes: int
    model_bytes: int
    seal_s: float
    fold_s: float


def run(photos: int, folder: Path | None) -> None:
    """Print the rates, the table, and what a run of ``photos`` used beside what was computed."""
    report.headline("Capacity: what very many photos need, computed from one")
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as place:
        model, decode_s, serve_s = _one_photo(folder, Path(place))
        rates = _rates(model, decode_s, serve_s, Path(place, "sample"))
        _print_rates(rates)
        _print_table([needs(rates, each) for each in LIBRARIES])
        bound = _bound(rates, photos)
        with serving(*IN_MEMORY, "--maxmemory", str(bound)) as server:
            ran = asyncio.run(
                fill_bounded(server, Clones(model), photos, bound, Path(place, "run"))
            )
        _print_run(rates, ran)


def _one_photo(folder: Path | None, place: Path) -> tuple[list[Recorded], float, float]:
    """Process a photo several times; return its events, and the CPU time of decoders and others."""
    if folder is None:
        file = place / "photo.jpg"
        _draw(file)
    else:
        file = next(each for each in sorted(folder.iterdir()) if each.is_file())
    with running() as system:
        processed(system, "warm-up", [file])
        before = system.cpu_s()
        processed(system, "measured", [file])
        after = system.cpu_s()
        events = asyncio.run(events_of(system))
    used = {role: (after[role] - before.get(role, 0.0)) / PASSES for role in after}
    decode_s = used.pop(DECODER, 0.0)
    report.note(f"{file.name}, {file.stat().st_size / 1e6:.1f} MB, {len(events[0])} events")
    return events[0], decode_s, sum(used.values())


def _draw(file: Path) -> None:
    """Draw a picture of 12 megapixels that compresses about as a photo does."""
    size = 4_000, 3_000
    coarse = Image.effect_noise((500, 375), 90).resize(size, Image.Resampling.BICUBIC)
    bands = [Image.blend(coarse, Image.effect_noise(size, each), 0.08) for each in (60, 80, 100)]
    Image.merge("RGB", bands).save(file, "JPEG", quality=88)


def _rates(model: Sequence[Recorded], decode_s: float, serve_s: float, folder: Path) -> Rates:
    with serving() as server:
        before = server.cpu_s()
        asyncio.run(append(server.url, 50, APPENDS))
        redis_s = (server.cpu_s() - before) / APPENDS
    clones = Clones(model)
    with serving(*IN_MEMORY) as server:
        hashes = asyncio.run(hash_sizes(server.url))
    with serving(*IN_MEMORY) as server:
        return asyncio.run(
            _sample(server, clones, len(model), hashes, (redis_s, decode_s, serve_s), folder)
        )


async def _sample(
    server: Server,
    clones: Clones,
    events: int,
    hashes: HashSizes,
    spent_s: tuple[float, float, float],
    folder: Path,
) -> Rates:
    redis = connect(server.url)
    log = await Log.open(redis)
    cloned = ArchivedLog(log, clones, folder / "blobs")
    sizes = await cloned.fill(SAMPLE)
    clock = Clock()
    await cloned.archive()
    seal_s = clock.took().cpu_s
    model_bytes, fold_s = await _rebuilt(log, folder / "read-model")
    redis_s, decode_s, serve_s = spent_s
    rates = Rates(
        events=events,
        stream_bytes=sizes.stream / SAMPLE,
        state_bytes=sizes.states / SAMPLE,
        root_bytes=hashes.root,
        bucket_bytes=hashes.bucket,
        field_bytes=hashes.field,
        archive_bytes=await cloned.archive_bytes() / SAMPLE,
        model_bytes=model_bytes / SAMPLE,
        redis_s=redis_s,
        seal_s=seal_s / (SAMPLE * events),
        fold_s=fold_s / (SAMPLE * events),
        decode_s=decode_s,
        serve_s=serve_s,
    )
    await redis.aclose()
    return rates


async def _rebuilt(log: Log, folder: Path) -> tuple[int, float]:
    """Fold the log into a new read model; return its size in bytes, and the CPU time in seconds."""
    generations = Generations(folder)
    clock = Clock()
    await rebuild(log, generations, alone=True)
    cpu_s = clock.took().cpu_s
    path = generations.current()
    if path is None:
        raise RuntimeError("nothing was rebuilt")
    return path.stat().st_size, cpu_s


def _bound(rates: Rates, photos: int) -> int:
    """Return the memory in bytes that a fraction of the photos needs if everything stays."""
    return SERVER_BYTES + int(needs(rates, photos // FRACTION).redis_all_bytes)


async def fill_bounded(
    server: Server, clones: Clones, photos: int, bound: int, folder: Path
) -> Ran:
    """Fill a log whose Redis has ``bound`` bytes, and archive it as it grows."""
    redis = connect(server.url)
    log = await Log.open(redis)
    cloned = ArchivedLog(log, clones, folder / "blobs")
    empty, filled, evicted, seal_s = await used_bytes(log), list[int](), 0, 0.0
    for _ in range(ROUNDS):
        await cloned.fill(photos // ROUNDS)
        filled.append(await used_bytes(log))
        clock = Clock()
        evicted += await cloned.archive()
        seal_s += clock.took().cpu_s
    end = await used_bytes(log)
    model_bytes, fold_s = await _rebuilt(log, folder / "read-model")
    ran = Ran(
        photos=cloned.photos,
        bound_bytes=bound,
        filled_bytes=filled,
        peak_bytes=await _peak_bytes(redis),
        end_bytes=end,
        empty_bytes=empty,
        evicted=evicted,
        loaded=await cloned.check_examples(),
        archive_bytes=await cloned.archive_bytes(),
        model_bytes=model_bytes,
        seal_s=seal_s,
        fold_s=fold_s,
    )
    await redis.aclose()
    return ran


async def _peak_bytes(redis: Any) -> int:
    """Return the most memory that the server has used."""
    return (await redis.info("memory"))["used_memory_peak"]


def _print_rates(rates: Rates) -> None:
    for name, value, unit, digits in (
        ("events in Redis", rates.stream_bytes, "bytes", 0),
        ("state in Redis", rates.state_bytes, "bytes", 0),
        ("content hash in Redis", rates.root_bytes, "bytes", 0),
        (f"  of a client with more than {MOST:,} photos", rates.field_bytes, "bytes", 0),
        (f"  and each of its {BUCKETS:,} buckets", rates.bucket_bytes, "bytes", 0),
        ("archive", rates.archive_bytes, "bytes", 0),
        ("read model", rates.model_bytes, "bytes", 0),
        ("Redis, an append", rates.redis_s * 1e6, "µs", 0),
        ("archiver, an event", rates.seal_s * 1e6, "µs", 0),
        ("rebuild, an event", rates.fold_s * 1e6, "µs", 0),
        ("decoders, a photo", rates.decode_s * 1e3, "ms", 0),
        ("all other roles, a photo", rates.serve_s * 1e3, "ms", 0),
    ):
        report.line(name, [value], unit, digits=digits)
    report.note("sizes of one photo; times are CPU time")


def _print_table(found: Sequence[Needs]) -> None:
    report.note("")
    report.note(
        f"photos that arrive within a year, {PEAK:g} times the mean at the peak; events and states "
        f"stay in Redis for {DAY_S // 3600} h"
    )
    rows = {
        "photos": [f"{each.photos:,}" for each in found],
        "uploads/s at the peak": [f"{each.uploads:,.1f}" for each in found],
        "appends/s at the peak": [f"{each.appends:,.1f}" for each in found],
        "cores of decoders": [f"{each.decoder_cores:,.1f}" for each in found],
        "cores of gateways, workers, projectors": [f"{each.other_cores:,.1f}" for each in found],
        "cores of Redis": [f"{each.redis_cores:,.2f}" for each in found],
        "Redis without archive, GB": [f"{each.redis_all_bytes / 1e9:,.1f}" for each in found],
        "Redis with archive, GB": [f"{each.redis_bytes / 1e9:,.1f}" for each in found],
        "  of it content hashes, GB": [f"{each.hashes_bytes / 1e9:,.1f}" for each in found],
        f"  or those of clients of {LARGE_CLIENT:,} photos": [
            f"{each.large_hashes_bytes / 1e9:,.1f}" for each in found
        ],
        "masters": [f"{each.masters:,}" for each in found],
        "archive, GB": [f"{each.archive_bytes / 1e9:,.1f}" for each in found],
        "read model of a host, GB": [f"{each.model_bytes / 1e9:,.0f}" for each in found],
        "rebuild on one core, h": [f"{each.rebuild_s / 3600:,.1f}" for each in found],
        "groups of hosts": [f"{each.groups:,}" for each in found],
        "first limit": [limit_of(each) for each in found],
    }
    for name, cells in rows.items():
        report.note(f"{name:<42}" + "".join(f"{cell:>16}" for cell in cells))


def _print_run(rates: Rates, ran: Ran) -> None:
    report.note("")
    report.note(
        f"a run of {ran.photos:,} photos, with a Redis of {ran.bound_bytes / 1e6:,.1f} MB: what "
        f"{ran.photos // FRACTION:,} need without archive"
    )
    for at in range(ROUNDS // 5 - 1, ROUNDS, ROUNDS // 5):
        photos = ran.photos * (at + 1) // ROUNDS
        name = f"  Redis before the archiver, {photos:,} photos"
        report.line(name, [ran.filled_bytes[at] / 1e6], "MB")
    report.line("  Redis at its peak", [ran.peak_bytes / 1e6], "MB")
    report.note(
        f"{ran.evicted:,} states left Redis, those of the last segment stay; "
        f"{ran.loaded:,} photos were loaded and had all their events"
    )
    events = ran.photos * rates.events
    kept = (ran.photos - ran.evicted) * (rates.stream_bytes + rates.state_bytes)
    report.note(f"{'':<36}{'computed':>14}{'seen':>14}{'ratio':>8}")
    for name, computed, seen, unit in (
        (
            "Redis at the end",
            (hashes_bytes(rates, ran.photos, of_client=ran.photos) + kept) / 1e6,
            (ran.end_bytes - ran.empty_bytes) / 1e6,
            "MB",
        ),
        ("archive", ran.photos * rates.archive_bytes / 1e6, ran.archive_bytes / 1e6, "MB"),
        ("read model", ran.photos * rates.model_bytes / 1e6, ran.model_bytes / 1e6, "MB"),
        ("CPU time of the archiver", events * rates.seal_s, ran.seal_s, "s"),
        ("CPU time of a rebuild", events * rates.fold_s, ran.fold_s, "s"),
    ):
        ratio = seen / computed if computed else 0.0
        report.note(f"{name:<36}{computed:>11,.1f} {unit:<2}{seen:>11,.1f} {unit:<2}{ratio:>8.2f}")
