"""Measure what clients notice of transfers, each next to a raw limit.

| measurement | the limit |
|---|---|
| a large file, in one request, by tus and by the IETF's draft | hash and write of the same bytes |
| small files, several at a time | the same with these files |
| events that a reader has missed, over SSE and WebSocket | a bare server that writes as many |
| memory of the gateway for an upload in progress, and for an idle stream | the bytes it holds |
"""

import asyncio
import hashlib
import os
import resource
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop

from ops.bench import report, room_readers
from ops.bench.fanout import ROOM, append, bare_server
from ops.bench.photos import context, upload
from ops.bench.system import System, forget_peak, peak_memory_bytes, running
from ops.bench.upload import plain_mb_s, raw_mb_s
from ops.config.loading import load
from ops.process.file_limit import raise_limit
from ops.runtime.wiring import open_log

LARGE_BYTES = 90_000_000
PIECE_BYTES = 8 << 20
"""Bytes in one request of a resumable upload."""

SMALL_BYTES, SMALL_FILES, AT_ONCE = 50_000, 400, 8
MISSED = 10_000
PARALLEL, PARALLEL_BYTES = 100, 4_000_000
IDLE = 5_000
SPARE_FILES = 1_000
"""Open files left to everything but idle streams."""

HEAD = b"\xff\xd8\xff\xe0"
"""The first bytes of a JPEG: uploads are stored without being decoded."""

ROOMY = ROOM | {
    "PHOTOLOG_CONNECTIONS": "8000",
    "PHOTOLOG_CONNECTIONS_PER_CLIENT": "8000",
    "PHOTOLOG_CONNECTIONS_PER_ADDRESS": "8000",
    "PHOTOLOG_UPLOADS_AT_ONCE": "200",
    "PHOTOLOG_RATE_UPLOADS": "none",
    "PHOTOLOG_RATE_REQUESTS": "none",
}

TUS = {"Tus-Resumable": "1.0.0"}


def run(rounds: int) -> None:
    with running("--workers", "0", **ROOMY) as system:
        _large(system, rounds)
        _small(system, rounds)
        _resume(system, rounds)
        _uploads_in_progress(system, rounds)
    with running("--workers", "0", **ROOMY) as system:  # its memory is not that of the uploads
        _idle(system)


def _large(system: System, rounds: int) -> None:
    report.headline(f"Upload of a file of {LARGE_BYTES / 1e6:,.0f} MB")
    report.note(f"resumable uploads in requests of {PIECE_BYTES >> 20} MiB")
    ways: dict[str, Callable[[System, str, bytes], Awaitable[float]]] = {
        "in one request": plain_mb_s,
        "tus": _tus_mb_s,
        "IETF draft": _draft_mb_s,
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    raw: list[float] = []
    for _ in report.rounds(rounds):
        content = HEAD + os.urandom(LARGE_BYTES - len(HEAD))
        for way, measure in ways.items():
            client_id = f"large-{uuid.uuid4().hex[:8]}"
            found[way].append(asyncio.run(_awaited(measure(system, client_id, content))))
        raw.append(raw_mb_s(content))
    for way, rates in found.items():
        report.line(way, rates, "MB/s")
        report.ratio(f"{way} to raw", rates, raw)
    report.line("raw hash and write", raw, "MB/s")


async def _awaited(measuring: Awaitable[float]) -> float:
    return await measuring


async def _tus_mb_s(system: System, client_id: str, content: bytes) -> float:
    async with system.client(client_id) as client:
        began = time.perf_counter()
        size = {"Upload-Length": str(len(content))}
        answer = await client.post("/api/uploads", headers=TUS | size)
        answer.raise_for_status()
        address = answer.headers["Location"]
        for at in range(0, len(content), PIECE_BYTES):
            body = TUS | {
                "Content-Type": "application/offset+octet-stream",
                "Upload-Offset": str(at),
            }
            answer = await client.patch(
                address, content=content[at : at + PIECE_BYTES], headers=body
            )
            answer.raise_for_status()
        return _mb_s(answer, content, began)


async def _draft_mb_s(system: System, client_id: str, content: bytes) -> float:
    async with system.client(client_id) as client:
        began = time.perf_counter()
        answer = await client.post(
            "/api/uploads", content=content[:PIECE_BYTES], headers={"Upload-Complete": "?0"}
        )
        answer.raise_for_status()
        address = answer.headers["Location"]
        for at in range(PIECE_BYTES, len(content), PIECE_BYTES):
            is_last = at + PIECE_BYTES >= len(content)
            body = {
                "Content-Type": "application/partial-upload",
                "Upload-Offset": str(at),
                "Upload-Complete": "?1" if is_last else "?0",
            }
            answer = await client.patch(
                address, content=content[at : at + PIECE_BYTES], headers=body
            )
            answer.raise_for_status()
        return _mb_s(answer, content, began)


def _mb_s(last: httpx.Response, content: bytes, began: float) -> float:
    if "Content-Location" not in last.headers:
        raise RuntimeError("the upload has not become a photo")
    return len(content) / 1e6 / (time.perf_counter() - began)


def _small(system: System, rounds: int) -> None:
    report.headline(f"Upload of {SMALL_FILES} files of {SMALL_BYTES / 1e3:,.0f} KB")
    report.note(
        f"{AT_ONCE} at a time; the limit: hash, write and fsync of each in {AT_ONCE} threads"
    )
    ours: list[float] = []
    raw: list[float] = []
    for _ in report.rounds(rounds):
        files = [HEAD + os.urandom(SMALL_BYTES - len(HEAD)) for _ in range(SMALL_FILES)]
        ours.append(asyncio.run(_upload_small(system, files)))
        raw.append(_write_small(files))
    report.line("uploads", ours, "photos/s")
    report.line("raw hash and write", raw, "files/s")
    report.ratio("ratio", ours, raw)


async def _upload_small(system: System, files: list[bytes]) -> float:
    left = iter(files)
    async with system.client(f"small-{uuid.uuid4().hex[:8]}") as client:

        async def send() -> None:
            for content in left:
                answer = await client.post(
                    "/api/photos/upload", files={"file": ("a.jpg", content, "image/jpeg")}
                )
                answer.raise_for_status()

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(send())
        return len(files) / (time.perf_counter() - began)


def _write_small(files: list[bytes]) -> float:
    with tempfile.TemporaryDirectory(prefix="photolog-bench-") as folder:

        def write(number: int) -> None:
            digest = hashlib.sha256(files[number]).hexdigest()
            with Path(folder, digest).open("wb") as file:
                file.write(files[number])
                file.flush()
                os.fsync(file.fileno())

        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(write, range(len(files))))
        return len(files) / (time.perf_counter() - began)


def _resume(system: System, rounds: int) -> None:
    report.headline(f"A reader resumes after {MISSED:,} events")
    report.note("from its connection until it has the last one; about 1 KB each")
    client_id = f"resume-{uuid.uuid4().hex[:8]}"
    after, token = asyncio.run(_miss(system, client_id)), system.token(client_id)
    found: dict[str, list[float]] = {way: [] for way in ("SSE", "WebSocket", "WebSocket, batches")}
    raw: list[float] = []
    for number in report.rounds(rounds + 1):
        for way, times in found.items():
            [request] = room_readers.requests(way, system.url, token, 1, after)
            took = uvloop.run(room_readers.catch_up_ms(system.url, request, MISSED))
            if number:  # the first round waits for the read model, too
                times.append(took)
        if number:
            raw.append(uvloop.run(_bare_resume()))
    for way, times in found.items():
        report.line(way, times, "ms", digits=0)
        report.ratio(f"{way} to the bare server", times, raw)
    report.line("the bare server", raw, "ms", digits=0)


async def _miss(system: System, client_id: str) -> str:
    """Append one event and then those that are missed; return the position of the first."""
    settings = load({"PHOTOLOG_DATA": str(system.data)}).settings
    async with open_log(settings) as log:
        command = msgspec.structs.replace(upload(), client_id=client_id)
        first = await log.execute(command, client_id=client_id, context=context())
        await append(log, client_id, MISSED)
    return str(first.position)


async def _bare_resume() -> float:
    async with bare_server() as (url, writers):
        [request] = room_readers.requests("SSE", url, "", 1)

        async def write() -> None:
            while not writers:  # noqa: ASYNC110 # the reader is about to connect
                await asyncio.sleep(0.001)
            for _ in range(MISSED):
                writers[0].write(room_readers.SAMPLE)
                await writers[0].drain()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            return await room_readers.catch_up_ms(url, request, MISSED)


def _uploads_in_progress(system: System, rounds: int) -> None:
    report.headline(f"{PARALLEL} uploads at the same time")
    report.note(f"{PARALLEL_BYTES / 1e6:,.0f} MB each; all wait in the middle")
    gateway = system.pid_of("gateway")
    grown: list[float] = []
    for _ in report.rounds(rounds):
        forget_peak(gateway)
        before = peak_memory_bytes(gateway)
        asyncio.run(_upload_together(system))
        grown.append((peak_memory_bytes(gateway) - before) / 1e6)
    report.line("growth of the gateway's memory", grown, "MB")
    report.line("for each upload", [1000 * each / PARALLEL for each in grown], "KB", digits=0)


async def _upload_together(system: System) -> None:
    token = system.token(f"together-{uuid.uuid4().hex[:8]}")
    parts = urlsplit(system.url)
    halfway = asyncio.Barrier(PARALLEL)
    half = PARALLEL_BYTES // 2

    async def send() -> None:
        content = HEAD + os.urandom(16) + bytes(PARALLEL_BYTES - len(HEAD) - 16)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(
            f"POST /api/uploads HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {token}\r\nUpload-Complete: ?1\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(content[:half])
        await writer.drain()
        await halfway.wait()
        writer.write(content[half:])
        await writer.drain()
        answer = await reader.read()
        writer.close()
        if b" 201 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(f"an upload was answered {answer[:80]!r}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(PARALLEL):
            tasks.create_task(send())


def _idle(system: System) -> None:
    raise_limit()
    streams = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
    report.headline(f"{streams:,} idle event streams")
    gateway = system.pid_of("gateway")
    forget_peak(gateway)
    before = peak_memory_bytes(gateway)
    requests = room_readers.requests("SSE", system.url, system.token("idle"), streams)
    with room_readers.following(system.url, requests) as pipe:
        asyncio.run(room_readers.receive(pipe))
        grown = peak_memory_bytes(gateway) - before
    report.line("growth of the gateway's memory", [grown / 1e6], "MB")
    report.line("for each stream", [grown / 1024 / streams], "KiB")
