"""Measure sealing, trimming, and reading what is in the archive alone.

The log is that of ``ops.bench.rebuild``. If the settings name an S3 server, each round is measured
there too, in a bucket of its own. CPU time is that of Photolog, without the servers'.
"""

import asyncio
import os
import random
import statistics
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.bench import report
from ops.bench.bucket import own_bucket
from ops.bench.cloned_log import fill
from ops.bench.rebuild import Clock, Took, rebuild_apart
from ops.bench.recorded import recorded_photos
from ops.bench.server import serving
from ops.config.loading import load
from ops.config.settings import Settings
from ops.config.validation import check_blobs
from ops.runtime.blobs import server_of
from ops.runtime.wiring import open_blobs, open_log
from store.archive.archive import Archive
from store.archive.archiver import Archiver
from store.archive.raw import READ_COUNT, RawStream, after
from store.archive.segment import Entry, encode
from store.archive.settings import TrimmingSettings
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.queue.dispatch import DISPATCH
from store.queue.liveness import log_size

PHOTOS = 10_000
LOOKUPS = 200
PAGE = 500
SEGMENT_ENTRIES = 4_096

Figures = dict[str, tuple[str, float]]
"""The unit and the value of each figure of one round."""

Samples = dict[str, tuple[str, list[float]]]
"""The unit and the values of each figure, in the order in which they are printed."""


def run(rounds: int, photos: int, folder: Path | None) -> None:
    """Archive a log of ``photos`` clones, each time a new one."""
    (model, *_) = recorded_photos(folder, 1)
    stores = ["folder"] if load().settings.s3_endpoint is None else ["folder", "bucket"]
    samples: dict[str, Samples] = {store: {} for store in stores}
    for _ in report.rounds(rounds):
        for store in stores:
            for name, (unit, value) in _measure(photos, model, in_bucket=store == "bucket").items():
                samples[store].setdefault(name, (unit, []))[1].append(value)
    for store, found in samples.items():
        report.headline(f"The archive in a {store}, {photos:,} photos")
        report.note("the limit: reading the stream and compressing it, without storing anything")
        for name, (unit, values) in found.items():
            report.line(name, values, unit, digits=1 if unit == "ms" else 0)
        report.ratio("sealing to its limit", found["sealing"][1], found["the limit"][1])


def _measure(photos: int, model: Sequence[Recorded], *, in_bucket: bool) -> Figures:
    with serving() as server, _store(in_bucket=in_bucket) as store:
        named = store | {"PHOTOLOG_REDIS_URL": server.url}
        settings = load(named).settings
        asyncio.run(_create(settings))
        events = fill(server.url, photos, model)
        limit, ids = asyncio.run(_read_and_compress(settings))
        found = _rates("the limit", events, limit)
        found |= asyncio.run(_archive(settings, photos, events))
        fill(server.url, 1, model)  # the end of the stream, which is never trimmed
        found |= asyncio.run(_trim(settings, photos, events))
        found |= asyncio.run(_look_up(settings, ids))
        return found | _rebuild(named, events)


def _rates(name: str, events: int, took: Took) -> Figures:
    return {
        name: ("events/s", events / took.seconds),
        f"  {name}, CPU time alone": ("/CPU s", events / took.cpu_s),
    }


@contextmanager
def _store(*, in_bucket: bool) -> Generator[dict[str, str]]:
    """Yield the settings of an empty blob store, which is removed when the block ends."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        if not in_bucket:
            yield {"PHOTOLOG_DATA": folder}
            return
        settings = load().settings
        check_blobs(settings)
        with own_bucket(server_of(settings)) as bucket:
            named = {k: v for k, v in os.environ.items() if k.startswith("PHOTOLOG_S3_")}
            yield named | {"PHOTOLOG_DATA": folder, "PHOTOLOG_S3_BUCKET": bucket.name}


async def _create(settings: Settings) -> None:
    """Create the log, and let the blobs belong to it while both are empty."""
    async with (
        open_log(settings, create=True) as log,
        open_blobs(settings, log, "bench"),
    ):
        pass


async def _read_and_compress(settings: Settings) -> tuple[Took, list[str]]:
    """Return the time that it took, and the ids of the photos."""
    ids: dict[str, None] = {}
    async with open_log(settings) as log:
        stream = RawStream(log)
        clock = Clock()
        begin = Position.start(0)
        run: list[Entry] = []
        while page := await stream.read(after(begin)):
            begin = Position.of_entry(0, page[-1].entry_id)
            run += page
            if len(run) >= SEGMENT_ENTRIES or len(page) < READ_COUNT:
                encode(run, log_id=log.log_id, partition=0, previous=None)
                ids |= {each.fields[b"p"].decode(): None for each in run}
                run = []
        return clock.took(), list(ids)


async def _archive(settings: Settings, photos: int, events: int) -> Figures:
    """Seal everything."""
    async with (
        open_log(settings) as log,
        open_blobs(settings, log, "bench") as blobs,
    ):
        in_redis = await _stream_bytes(log)
        archive = Archive(blobs, log.log_id)
        clock = Clock()
        await Archiver(log, blobs, archive).archive(0, now=True)
        took = clock.took()
        sealed = sum(place.size for place in await archive.places(0))
    return _rates("sealing", events, took) | {
        "stream before, for each photo": ("bytes", in_redis / photos),
        "archive, for each photo": ("bytes", sealed / photos),
    }


async def _trim(settings: Settings, photos: int, events: int) -> Figures:
    """Read everything back, and remove it from the stream."""
    async with (
        open_log(settings) as log,
        open_blobs(settings, log, "bench") as blobs,
    ):
        await log.redis.xgroup_create(log.keys.log(0), DISPATCH, id="$")
        archiver = Archiver(
            log,
            blobs,
            Archive(blobs, log.log_id),
            trimming=TrimmingSettings(archive_keep_s=0),
        )
        clock = Clock()
        passed = await archiver.archive(0)
        took = clock.took()
        if passed.trimmed != events:
            raise RuntimeError(f"{passed.trimmed} of {events} events have left the stream")
        left = await _stream_bytes(log)
    return _rates("reading back and trimming", events, took) | {
        "stream afterwards, for each photo": ("bytes", left / photos),
    }


async def _look_up(settings: Settings, ids: Sequence[str]) -> Figures:
    """Find single photos, and the first page of the log, in the archive."""
    async with (
        open_log(settings) as log,
        open_blobs(settings, log, "bench") as blobs,
    ):
        clock = Clock()
        await Archive(blobs, log.log_id).page(Position.start(0), PAGE)
        page = clock.took()
        archive = Archive(blobs, log.log_id)
        times: list[Took] = []
        draw = random.Random(1)  # noqa: S311 # which photos is no secret
        for photo_id in draw.choices(ids, k=LOOKUPS):
            clock = Clock()
            found, _ = await archive.of_photo(0, photo_id)
            times.append(clock.took())
            if not found:
                raise RuntimeError(f"the archive does not have {photo_id}")
    first, *others = times
    return {
        f"the first {PAGE} events, in a new process": ("ms", 1_000 * page.seconds),
        "  CPU time": ("ms", 1_000 * page.cpu_s),
        "a photo's events, the first in a new process": ("ms", 1_000 * first.seconds),
        "  CPU time of the first": ("ms", 1_000 * first.cpu_s),
        "  then, median": ("ms", 1_000 * statistics.median(each.seconds for each in others)),
        "  CPU time, mean": ("ms", 1_000 * statistics.fmean(each.cpu_s for each in others)),
    }


def _rebuild(named: dict[str, str], events: int) -> Figures:
    """Rebuild the read models from the archive, in one process and in two."""
    found: Figures = {}
    for name, alone in (("", True), (", two processes", False)):
        with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
            done = rebuild_apart(named, Path(folder), alone=alone)
        found |= _rates(f"rebuild from the archive{name}", events, done.took)
        found[f"  peak memory{name}"] = "MB", done.peak_bytes / 1e6
    return found


async def _stream_bytes(log: Log) -> int:
    """Return the memory of the stream, which includes what Redis needs for its entries."""
    return (await log_size(log, 0)).memory_bytes or 0
