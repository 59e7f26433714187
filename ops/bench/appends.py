"""Measure appends per second with ``appendfsync always``, beside raw XADD of the same bytes."""

import asyncio
import re
import shutil
import statistics
import subprocess
import time
import uuid
from pathlib import Path

import uvloop

from ops.bench import report
from ops.bench.photos import CLIENT, context, upload
from ops.bench.server import serving
from store.log import codec
from store.log.log import Log
from store.log.outcome import Appended
from store.redis.connection import connect

WRITERS = (1, 50)


def run(rounds: int) -> None:
    report.headline("Appends per second, appendfsync always")
    benchmark = _benchmark()
    with serving() as server:
        socket = server.socket
        payload = asyncio.run(_payload_bytes(f"unix://{socket}"))
        report.note(f"an event of {payload} bytes; Log.execute beside XADD by {benchmark.name}")
        for writers in WRITERS:
            ours: list[float] = []
            raw: list[float] = []
            count = 2_000 if writers == 1 else 10_000
            for _ in report.rounds(rounds):
                raw.append(_raw(benchmark, socket, writers, count, payload))
                ours.append(uvloop.run(append(f"unix://{socket}", writers, count)))
            report.line(f"raw XADD, {writers} writers", raw, "/s", digits=0)
            report.line(f"Log.execute, {writers} writers", ours, "/s", digits=0)
            report.ratio("ratio", ours, raw)


async def _payload_bytes(url: str) -> int:
    redis = connect(url)
    log = await Log.open(redis, prefix=f"bench-{uuid.uuid4().hex}")
    outcome = await log.execute(upload(), client_id=CLIENT, context=context())
    await redis.aclose()
    if not isinstance(outcome, Appended):
        raise TypeError(f"the upload led to {type(outcome).__name__}, not to an event")
    return len(codec.encode_event(outcome.events[0]))


async def append(url: str, writers: int, count: int) -> float:
    """Append ``count`` events with this many writers at once; return how many a second.

    The commands are made before the clock starts.
    """
    redis = connect(url)
    log = await Log.open(redis, prefix=f"bench-{uuid.uuid4().hex}")
    waiting = iter([(upload(), context()) for _ in range(count)])

    async def write() -> None:
        for command, its_context in waiting:
            await log.execute(command, client_id=CLIENT, context=its_context)

    await asyncio.gather(*(_ping(log) for _ in range(writers)))
    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    took = time.perf_counter() - began
    await redis.aclose()
    return count / took


async def _ping(log: Log) -> None:
    """Open a connection before the clock starts."""
    await log.end(0)


def _raw(benchmark: Path, socket: Path, writers: int, count: int, payload: int) -> float:
    command = [
        *(str(benchmark), "-s", str(socket), "-c", str(writers), "-n", str(count), "-q"),
        *("XADD", f"raw-{uuid.uuid4().hex}", "*", "t", "photo.uploaded", "b", "x" * payload),
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates = [float(each) for each in re.findall(r"([\d.]+) requests per second", printed)]
    return statistics.fmean(rates[-1:])


def _benchmark() -> Path:
    found = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if found is None:
        raise SystemExit("redis-benchmark is missing: apt-get install redis-tools")
    return Path(found)
