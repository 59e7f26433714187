"""Measure how many events per second a gateway delivers to many readers of one room.

Every reader follows the same client's room, over SSE or over WebSockets, there with one event a
message or with several (``batches``). The limit is a bare server in the same language that writes
the same bytes to as many sockets. Readers run in a process of their own and only count.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Literal

import msgspec

from ops.bench import report, room_readers
from ops.bench.photos import context, upload
from ops.bench.system import System, cpu_s_of, forget_peak, peak_memory_bytes, running
from ops.config.loading import load
from ops.runtime.wiring import open_log
from store.log.log import Log

READERS = (200, 1_000)
EVENTS = 3_000
"""Events of a run with the fewest readers; with more readers there are fewer."""
WRITERS = 50
PACE = 50_000
"""Deliveries per second while delays are measured."""
PACED_S = 4.0

Way = Literal["SSE", "WebSocket", "WebSocket, batches"]
WAYS: tuple[Way, ...] = ("SSE", "WebSocket", "WebSocket, batches")

ROOM = {
    "PHOTOLOG_CONNECTIONS_PER_CLIENT": "2000",
    "PHOTOLOG_CONNECTIONS_PER_ADDRESS": "2000",
    "PHOTOLOG_RATE_STREAMS": "none",
    "PHOTOLOG_RATE_STREAMS_PER_ADDRESS": "none",
    "PHOTOLOG_SECURITY_LINES": "0",
}


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run: deliveries per second, CPU time of the gateway for each in µs, delays in ms, and
    memory of an idle reader in bytes."""

    rate: float
    cpu_us: float
    delays_ms: list[float]
    idle_bytes: float


def run(rounds: int) -> None:
    report.headline("Events delivered to many readers of one room")
    report.note(
        f"about 1 KB each; delays at {PACE:,} deliveries/s; readers in a process of their own"
    )
    with running("--workers", "0", **ROOM) as system:
        for readers in READERS:
            _compare(system, readers, EVENTS * READERS[0] // readers, rounds)


def _compare(system: System, readers: int, events: int, rounds: int) -> None:
    report.note(f"{readers:,} readers, {events:,} events")
    found: dict[str, list[_Run]] = {way: [] for way in WAYS}
    limits: list[float] = []
    for _ in report.rounds(rounds):
        for way in WAYS:
            found[way].append(asyncio.run(_follow(way, system, readers, events)))
        limits.append(_bare(readers, events))
    for way, runs in found.items():
        rates = [each.rate for each in runs]
        report.line(f"{way}", rates, "deliveries/s", digits=0)
        report.ratio(f"{way} to the bare server", rates, limits)
        cpu = [each.cpu_us for each in runs]
        report.line(f"{way}, CPU time of the gateway", cpu, "µs/delivery")
        delays = [report.percentile(each.delays_ms, 99) for each in runs]
        report.line(f"{way}, delay, p99", delays, "ms", digits=0)
        memory = [each.idle_bytes / 1024 for each in runs]
        report.line(f"{way}, memory of an idle reader", memory, "KiB", digits=0)
    report.line("the bare server", limits, "deliveries/s", digits=0)


async def _follow(way: Way, system: System, readers: int, events: int) -> _Run:
    client_id = f"bench-{uuid.uuid4().hex[:8]}"
    gateway = system.pid_of("gateway")
    forget_peak(gateway)
    before = peak_memory_bytes(gateway)
    requests = room_readers.requests(way, system.url, system.token(client_id), readers)
    settings = load({"PHOTOLOG_DATA": str(system.data)}).settings
    async with open_log(settings) as log:
        with room_readers.following(system.url, requests) as pipe:
            await room_readers.receive(pipe)  # all are in the room
            idle = (peak_memory_bytes(gateway) - before) / readers
            began, cpu_s = time.perf_counter(), cpu_s_of(gateway)
            await append(log, client_id, events)
            pipe.send(events)
            await room_readers.receive(pipe)
            rate = readers * events / (time.perf_counter() - began)
            cpu_us = 1e6 * (cpu_s_of(gateway) - cpu_s) / (readers * events)
            paced = int(PACE / readers * PACED_S)
            await append(log, client_id, paced, PACED_S)
            pipe.send(paced)
            delays = await room_readers.receive(pipe)
    return _Run(rate=rate, cpu_us=cpu_us, delays_ms=delays, idle_bytes=idle)


async def append(log: Log, client_id: str, count: int, duration_s: float = 0.0) -> None:
    """Append ``count`` events, evenly over ``duration_s``, or as fast as it goes."""
    began = time.perf_counter()

    async def write(writer: int) -> None:
        for number in range(writer, count, WRITERS):
            await asyncio.sleep(began + duration_s * number / count - time.perf_counter())
            command = msgspec.structs.replace(upload(), client_id=client_id)
            await log.execute(command, client_id=client_id, context=context())

    await asyncio.gather(*map(write, range(WRITERS)))


def _bare(readers: int, events: int) -> float:
    """Return the deliveries per second of a server that does nothing but write."""
    return asyncio.run(_write(readers, events))


async def _write(readers: int, events: int) -> float:
    async with bare_server() as (url, writers):
        requests = room_readers.requests("SSE", url, "", readers)
        with room_readers.following(url, requests) as pipe:
            await room_readers.receive(pipe)
            began = time.perf_counter()
            for _ in range(events):
                for writer in writers:
                    writer.write(room_readers.SAMPLE)
                for writer in writers:
                    await writer.drain()
            pipe.send(events)
            await room_readers.receive(pipe)
            return readers * events / (time.perf_counter() - began)


@asynccontextmanager
async def bare_server() -> AsyncGenerator[tuple[str, list[asyncio.StreamWriter]]]:
    """Serve on a free port; yield the URL, and the readers, who count as ready."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(room_readers.READY)
            writers.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2_000)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", writers
        for writer in writers:
            writer.close()
