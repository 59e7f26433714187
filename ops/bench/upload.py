"""Measure the upload throughput of one large file, and the growth of the gateway's memory."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ops.bench import report
from ops.bench.bucket import own_bucket, sdk_mb_s
from ops.bench.system import System, forget_peak, peak_memory_bytes, running
from ops.config.loading import load
from ops.config.validation import check_blobs
from ops.runtime.blobs import server_of

SIZE_BYTES = 90_000_000
CHUNK_BYTES = 1 << 18
BOUNDARY = "photolog-bench"


def run(rounds: int) -> None:
    """Upload to a folder, and to an S3 server if the settings name one."""
    report.headline("Upload of a 90 MB file")
    report.note("the limit: SHA-256, write and fsync of the same bytes in one process")
    with running() as system:
        _compare(system, rounds, "raw hash and write", raw_mb_s)
    settings = load().settings
    if settings.s3_endpoint is None:
        return
    report.headline("Upload of a 90 MB file into a bucket")
    report.note("the limit: the SDK, writing the same bytes to the same server")
    check_blobs(settings)
    server = server_of(settings)
    with own_bucket(server) as bucket, _running_on(bucket.name) as system:
        _compare(
            system, rounds, "SDK", lambda content: sdk_mb_s(bucket, content, server.part_bytes)
        )


def _running_on(bucket: str) -> AbstractContextManager[System]:
    named = {name: value for name, value in os.environ.items() if name.startswith("PHOTOLOG_S3_")}
    return running(**named | {"PHOTOLOG_S3_BUCKET": bucket})


def _compare(system: System, rounds: int, name: str, limit: Callable[[bytes], float]) -> None:
    ours: list[float] = []
    raw: list[float] = []
    grown: list[float] = []
    gateway = system.pid_of("gateway")
    for number in report.rounds(rounds):
        content = b"\xff\xd8\xff\xe0" + os.urandom(SIZE_BYTES - 4)
        raw.append(limit(content))
        forget_peak(gateway)
        before = peak_memory_bytes(gateway)
        ours.append(asyncio.run(plain_mb_s(system, f"upload-{number}", content)))
        grown.append((peak_memory_bytes(gateway) - before) / 1e6)
    report.line(name, raw, "MB/s")
    report.line("upload", ours, "MB/s")
    report.ratio("ratio", ours, raw)
    report.line("growth of the gateway's memory", grown, "MB")


def raw_mb_s(content: bytes) -> float:
    """Return the MB/s of hashing the content, and writing it durably to a file."""
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:
        began = time.perf_counter()
        digest = hashlib.sha256()
        with Path(folder, "raw").open("wb") as file:
            for at in range(0, len(content), CHUNK_BYTES):
                chunk = content[at : at + CHUNK_BYTES]
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return len(content) / 1e6 / (time.perf_counter() - began)


async def plain_mb_s(system: System, client_id: str, content: bytes) -> float:
    """Return the MB/s of an upload in one request."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        yield head
        for at in range(0, len(content), CHUNK_BYTES):
            yield content[at : at + CHUNK_BYTES]
        yield tail

    async with system.client(client_id) as client:
        began = time.perf_counter()
        answer = await client.post(
            "/api/photos/upload",
            content=body(),
            headers={
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                "Content-Length": str(len(head) + len(content) + len(tail)),
            },
        )
        took = time.perf_counter() - began
    answer.raise_for_status()
    return len(content) / 1e6 / took
