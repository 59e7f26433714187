"""Measure a rebuild of the read models from a log of many photos, and how large they become.

The log holds the events of one real photo, cloned. Each clone has ids, digests and a trace of its
own, as another photo would; its metadata stay the same, so real ones compress a little less.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ops.bench import report
from ops.bench.cloned_log import fill
from ops.bench.recorded import recorded_photos
from ops.bench.server import serving
from ops.config.loading import load
from ops.runtime.wiring import open_log
from projections.fold import Tally
from projections.rebuild import rebuild
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client, connect
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations

PHOTOS = 20_000
READ_COUNT = 4_000

ALONE = "alone"
"""The argument of a process that rebuilds without a second one."""


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """The time that work took, and the CPU time of its process."""

    seconds: float
    cpu_s: float


class Clock:
    """Measures the time of this process, and of those that it has waited for."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._cpu_s = _cpu_s()

    def took(self) -> Took:
        return Took(seconds=time.perf_counter() - self._began, cpu_s=_cpu_s() - self._cpu_s)


def _cpu_s() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one rebuild; ``peak_bytes`` is the memory of all its processes.

    ``first`` and ``last`` are how many events of the first and the last tenth were folded in a
    second of CPU time; equal rates show that the cost of an event does not grow with the library.
    """

    took: Took
    peak_bytes: int
    first: float
    last: float


def run(rounds: int, photos: int, folder: Path | None) -> None:
    """Rebuild a log of ``photos`` clones, each time in a new process, beside reading it raw."""
    report.headline(f"Rebuild of the read models from the log, {photos:,} photos")
    (model, *_) = recorded_photos(folder, 1)
    with serving() as server:
        events = fill(server.url, photos, model)
        report.note(f"{events:,} events: one photo's {events // photos}, cloned")
        raw: list[Took] = []
        decoded: list[Took] = []
        rebuilt: list[Took] = []
        peaks: list[float] = []
        tenths: list[Rebuilt] = []
        sizes: dict[str, int] = {}
        named = {"PHOTOLOG_REDIS_URL": server.url}
        for _ in report.rounds(rounds):
            raw.append(asyncio.run(_read_raw(server.url)))
            decoded.append(asyncio.run(_read_decoded(server.url)))
            with tempfile.TemporaryDirectory(prefix="photolog-bench-") as data:
                done = rebuild_apart(named | {"PHOTOLOG_DATA": data}, Path(data))
                rebuilt.append(done.took)
                peaks.append(done.peak_bytes / 1e6)
                tenths.append(done)
                sizes = _sizes(Path(data))
        for name, took in (
            ("XRANGE alone", raw),
            ("read and decode", decoded),
            ("rebuild", rebuilt),
        ):
            report_rates(name, events, took)
        report.line("  in the first tenth", [each.first for each in tenths], "events", digits=0)
        report.line("  in the last tenth", [each.last for each in tenths], "events", digits=0)
        report.line("peak memory of its process", peaks, "MB")
        report.line("read model, for each photo", [sum(sizes.values()) / photos], "bytes", digits=0)
        for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
            if size / photos >= 1:
                report.line(f"  {name}", [size / photos], "bytes", digits=0)


def report_rates(name: str, events: int, took: Sequence[Took]) -> None:
    """Print the events of a second, and of a second of CPU time."""
    report.line(name, [events / each.seconds for each in took], "events/s", digits=0)
    per_cpu = [events / each.cpu_s for each in took]
    report.line("  for each second of its CPU time", per_cpu, "events", digits=0)


def rebuild_apart(settings: Mapping[str, str], folder: Path, *, alone: bool = True) -> Rebuilt:
    """Rebuild in a process of its own: its memory is then that of the rebuild.

    ``settings`` are the environment variables that name the log, the only ones of Photolog; the
    read model comes into ``folder``. Unless ``alone``, a second process unpacks the archive.
    """
    others = {k: v for k, v in os.environ.items() if not k.startswith("PHOTOLOG_")}
    how = [ALONE] if alone else []
    printed = subprocess.run(
        [sys.executable, "-P", "-m", "ops.bench.rebuild", str(folder), *how],
        check=True,
        stdout=subprocess.PIPE,
        env={**others, **settings, "PYTHONPATH": str(Path(__file__).parents[2])},
    ).stdout
    return msgspec.json.decode(printed, type=Rebuilt)


async def _open(url: str) -> tuple[Client, Log]:
    redis = connect(url)
    log = await Log.find(redis)
    if log is None:
        raise RuntimeError("the log is gone")
    return redis, log


async def _read_raw(url: str) -> Took:
    """Read all entries as they are."""
    redis, log = await _open(url)
    raw: Any = redis
    clock = Clock()
    start = "-"
    while entries := await raw.xrange(log.keys.log(0), start, "+", READ_COUNT):
        start = f"({entries[-1][0].decode()}"
    took = clock.took()
    await redis.aclose()
    return took


async def _read_decoded(url: str) -> Took:
    redis, log = await _open(url)
    clock = Clock()
    position = Position.start(0)
    while page := await log.read(position, count=READ_COUNT):
        position = page[-1].position
    took = clock.took()
    await redis.aclose()
    return took


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each table and index."""
    path = Generations(folder).current()
    if path is None:
        raise RuntimeError("nothing was rebuilt")
    db = open_reader(path)
    rows = db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
    db.close()
    return {str(name): int(size) for name, size in rows}


async def _child(folder: Path, *, alone: bool) -> Rebuilt:
    async with open_log(load().settings) as log:
        clock, tally = Clock(), Tally()
        marks = [(0, 0.0)]

        def note(_done: int, _total: int) -> None:
            marks.append((tally.events, clock.took().cpu_s))

        await rebuild(log, Generations(folder), note, tally=tally, alone=alone)
        took = clock.took()
    of_whom = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    peak_bytes = sum(resource.getrusage(each).ru_maxrss for each in of_whom) * 1024
    tenth = max(1, len(marks) // 10)
    return Rebuilt(
        took=took,
        peak_bytes=peak_bytes,
        first=_rate(marks[0], marks[tenth]),
        last=_rate(marks[-1 - tenth], marks[-1]),
    )


def _rate(begin: tuple[int, float], end: tuple[int, float]) -> float:
    """Return the events of a second of CPU time between two marks."""
    return (end[0] - begin[0]) / (end[1] - begin[1])


if __name__ == "__main__":
    found = asyncio.run(_child(Path(sys.argv[1]), alone=ALONE in sys.argv[2:]))
    sys.stdout.write(msgspec.json.encode(found).decode())
