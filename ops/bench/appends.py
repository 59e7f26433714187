"""Appends per second with ``appendfsync always``, beside raw XADD of the same bytes."""

import asyncio
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from domain.commands import UploadPhoto
from domain.events import Context
from ops.bench import report
from ops.embedded import valkey_binary
from store import codec
from store.client import connect
from store.log import Log

WRITERS = (1, 50)


def run(rounds: int) -> None:
    report.headline("Appends per second, appendfsync always")
    benchmark = _benchmark()
    with _server() as socket:
        payload = asyncio.run(_payload_bytes(f"unix://{socket}"))
        report.note(f"an event of {payload} bytes; Log.execute beside XADD by {benchmark.name}")
        for writers in WRITERS:
            ours: list[float] = []
            raw: list[float] = []
            count = 2_000 if writers == 1 else 10_000
            for _ in range(rounds):
                raw.append(_raw(benchmark, socket, writers, count, payload))
                ours.append(asyncio.run(_append(f"unix://{socket}", writers, count)))
            report.line(f"raw XADD, {writers} writers", raw, "/s", digits=0)
            report.line(f"Log.execute, {writers} writers", ours, "/s", digits=0)
            report.ratio("ratio", ours, raw)


def _upload() -> UploadPhoto:
    photo_id = str(uuid.uuid4())
    return UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id="bench",
        session_id=None,
        original_filename="photo.jpg",
        mime_type="image/jpeg",
        file_size=1,
        sha256=photo_id.replace("-", "") * 2,
        bucket="photolog",
        key=f"originals/{photo_id[:2]}/{photo_id}",
        pipeline="full_processing",
        priority=5,
    )


def _context() -> Context:
    trace_id = uuid.uuid4().hex
    return Context(now=datetime.now(UTC), source="bench", actor="client:bench", trace_id=trace_id)


async def _payload_bytes(url: str) -> int:
    redis = connect(url)
    log = await Log.open(redis, prefix=f"bench-{uuid.uuid4().hex}")
    outcome = await log.execute(_upload(), client_id="bench", context=_context())
    await redis.aclose()
    return len(codec.encode_event(outcome.events[0]))


async def _append(url: str, writers: int, count: int) -> float:
    redis = connect(url)
    log = await Log.open(redis, prefix=f"bench-{uuid.uuid4().hex}")

    async def write() -> None:
        for _ in range(count // writers):
            await log.execute(_upload(), client_id="bench", context=_context())

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


@contextmanager
def _server() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        socket = Path(folder, "valkey.sock")
        server = subprocess.Popen(
            [
                *(str(valkey_binary()), "--port", "0", "--unixsocket", str(socket)),
                *("--dir", folder, "--save", "", "--appendonly", "yes"),
                *("--appendfsync", "always", "--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists() and server.poll() is None:
                time.sleep(0.01)
            yield socket
        finally:
            server.kill()
            server.wait()
