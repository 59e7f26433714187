"""Measure what the system costs besides the image work: pipelines whose stages do nothing."""

import asyncio
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, cast

from domain.pipeline.stages import LEAST_PRIORITY, URGENT
from ops.bench import report
from ops.bench.idle import ORIGINAL
from ops.bench.photos import CLIENT, context, upload
from ops.bench.server import Server, serving
from ops.bench.system import cpu_s_of
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import connect

PHOTOS = 1_000
FLEETS = (1, 4)
BULK = 5_000
URGENTS = 100
URGENT_EVERY_S = 0.05
END = "photo.processing.completed"


def run(rounds: int) -> None:
    """Measure photos per second and CPU time per photo, with one worker and with four."""
    report.headline("Orchestration alone: five stages that do nothing")
    report.note(f"{PHOTOS} photos a run, appendfsync always")
    for fleet in FLEETS:
        rates: list[float] = []
        costs: list[float] = []
        for _ in report.rounds(rounds):
            with serving() as server:
                rate, cost_ms = asyncio.run(_orchestrate(server, fleet))
            rates.append(rate)
            costs.append(cost_ms)
        name = f"{fleet} worker{'s' * (fleet > 1)}"
        report.line(name, rates, "photos/s", digits=0)
        report.line("  CPU time, workers and Valkey", costs, "ms/photo", digits=2)


def run_urgent(rounds: int) -> None:
    """Measure how long an urgent photo takes from upload to completion, behind bulk work."""
    report.headline(f"An urgent photo behind {BULK:,} bulk photos")
    report.note(f"{URGENTS} urgent photos a run, one worker, stages that do nothing")
    medians: list[float] = []
    slowest: list[float] = []
    left: list[float] = []
    for _ in report.rounds(rounds):
        with serving() as server:
            waits_ms, bulk_left = asyncio.run(_overtake(server))
        medians.append(statistics.median(waits_ms))
        slowest.append(report.percentile(waits_ms, 99))
        left.append(bulk_left)
    report.line("median", medians, "ms")
    report.line("p99", slowest, "ms")
    report.line("bulk photos still waiting at the end", left, "", digits=0)


async def _orchestrate(server: Server, fleet: int) -> tuple[float, float]:
    log = await _log(server)
    for _ in range(PHOTOS):
        await log.execute(upload(key=ORIGINAL), client_id=CLIENT, context=context())
    position = await log.end(0)
    with _workers(server, log, fleet) as workers:
        # The first worker has begun before the last one is ready.
        position, early = await _completed(log, position, until=await log.end(0))
        before = _cpu_s(server, workers)
        began = time.perf_counter()
        counted = PHOTOS - early
        left = counted
        while left > 0:
            position, completed = await _completed(log, position)
            left -= completed
        took_s = time.perf_counter() - began
        used_s = _cpu_s(server, workers) - before
    await log.redis.aclose()
    return counted / took_s, 1000 * used_s / counted


async def _overtake(server: Server) -> tuple[list[float], int]:
    log = await _log(server)

    async def bulk(count: int) -> None:
        for _ in range(count):
            command = upload(key=ORIGINAL, priority=LEAST_PRIORITY)
            await log.execute(command, client_id=CLIENT, context=context())

    await asyncio.gather(*(bulk(BULK // 50) for _ in range(50)))
    with _workers(server, log, 1):
        ends = asyncio.create_task(_ends_of_urgent(log, await log.end(0), URGENTS))
        begins: dict[str, float] = {}
        for _ in range(URGENTS):
            command = upload(key=ORIGINAL, priority=URGENT)
            begins[command.photo_id] = time.perf_counter()
            await log.execute(command, client_id=CLIENT, context=context())
            await asyncio.sleep(URGENT_EVERY_S)
        ended, done = await ends
    await log.redis.aclose()
    waits_ms = [1000 * (ended[photo_id] - at) for photo_id, at in begins.items()]
    return waits_ms, BULK + URGENTS - done


async def _ends_of_urgent(log: Log, position: Position, count: int) -> tuple[dict[str, float], int]:
    """Return when each photo uploaded after ``position`` was completed, and the number of all
    photos completed by then."""
    urgent: set[str] = set()
    ended: dict[str, float] = {}
    done = 0
    while len(ended) < count:
        for recorded in await log.read(position, block_ms=1_000):
            position, event = recorded.position, recorded.event
            photo_id = event.data.photo_id
            if event.type == "photo.uploaded":
                urgent.add(photo_id)
            elif event.type == END:
                done += 1
                if photo_id in urgent:
                    ended[photo_id] = time.perf_counter()
    return ended, done


async def _completed(
    log: Log, position: Position, *, until: Position | None = None
) -> tuple[Position, int]:
    """Count the photos completed after ``position``, up to ``until`` or in the next events."""
    completed = 0
    while True:
        for recorded in await log.read(position, block_ms=1_000):
            position = recorded.position
            completed += recorded.event.type == END
        if until is None or position >= until:
            return position, completed


async def _log(server: Server) -> Log:
    blobs = FolderBlobs(server.folder / "blobs", "bench")
    await blobs.put(ORIGINAL, b"x")
    return await Log.open(connect(server.url), prefix=f"bench-{uuid.uuid4().hex[:8]}")


def _cpu_s(server: Server, workers: list["subprocess.Popen[str]"]) -> float:
    return server.cpu_s() + sum(cpu_s_of(worker.pid) for worker in workers)


@contextmanager
def _workers(server: Server, log: Log, count: int) -> "Generator[list[subprocess.Popen[str]]]":
    """Start ``count`` idle workers, and wait until they are ready."""
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "ops.bench.idle", server.url, log.keys.prefix),
                *(str(server.folder / "blobs"), f"idle-{number}"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        for worker in started:
            cast("IO[str]", worker.stdout).readline()
        yield started
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.communicate()
