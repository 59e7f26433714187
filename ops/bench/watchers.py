"""Measure the events per second that a gateway sends to SSE watchers, up to the safe position.

With ``PHOTOLOG_APPEND_WAIT_REPLICAS`` an event is sent once the disk of a replica has it. Two
systems, each on its own cluster, are measured in turn: one waits, the other does not.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, contextmanager

import httpx
import msgspec

from ops.bench import report, servers
from ops.bench.photos import context, upload
from ops.bench.system import System, running
from ops.config.loading import load
from ops.config.settings import Settings
from ops.runtime.wiring import open_log

WATCHERS = 10
WRITERS = 50
EVENTS = 5_000
PATIENCE_S = 120.0

WAITING = {"PHOTOLOG_APPEND_WAIT_REPLICAS": "1"}


def run(rounds: int) -> None:
    report.headline("Events shown per second, with and without waiting for a replica")
    report.note(f"{EVENTS} events by {WRITERS} writers, each shown to {WATCHERS} watchers (SSE)")
    ways: dict[str, servers.Environment] = {"not waiting": {}, "waiting for a replica": WAITING}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    behind: dict[str, list[float]] = {name: [] for name in ways}
    with _system(ways["not waiting"]) as free, _system(WAITING) as waiting:
        for number in report.rounds(rounds):
            for name, (system, settings) in zip(ways, (free, waiting), strict=True):
                shown, late_ms = asyncio.run(_measure(system, settings, f"watched-{number}"))
                rates[name].append(shown)
                behind[name].append(late_ms)
    for name, samples in rates.items():
        report.line(f"{name}, events shown to all", samples, "events/s", digits=0)
        report.line(f"{name}, deliveries", [WATCHERS * each for each in samples], "/s", digits=0)
        report.line(f"{name}, last shown after last append", behind[name], "ms")
    report.ratio("waiting to not waiting", rates["waiting for a replica"], rates["not waiting"])


@contextmanager
def _system(wait: servers.Environment) -> Generator[tuple[System, Settings]]:
    """Run a system without workers, so that watchers see only the events appended here."""
    with servers.replicated(1) as cluster:
        # An operator's reads appear in the security log, which would bury the figures.
        environment = cluster.environment | wait | {"PHOTOLOG_SECURITY_LINES": "0"}
        with running("--workers", "0", **environment) as system:
            yield system, load({**environment, "PHOTOLOG_DATA": str(system.data)}).settings


async def _measure(system: System, settings: Settings, client_id: str) -> tuple[float, float]:
    """Return the events per second from the first append until all watchers have all events, and
    the milliseconds from the last append until then."""
    writers = [f"{client_id}-{number}" for number in range(WRITERS)]
    operator = system.token("bench", "--role", "operator")
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(open_log(settings))
        http = await stack.enter_async_context(_client(system, operator))
        streams = [
            await stack.enter_async_context(
                http.stream("GET", "/api/events", params={"room": "global"})
            )
            for _ in range(WATCHERS)
        ]
        shown = [_events(stream) for stream in streams]
        for each in shown:
            await anext(each)  # the first frame: the watcher has entered the room

        async def write(writer: str) -> None:
            for _ in range(EVENTS // WRITERS):
                command = msgspec.structs.replace(upload(), client_id=writer)
                await log.execute(command, client_id=writer, context=context())

        async def append() -> float:
            await asyncio.gather(*map(write, writers))
            return time.perf_counter()

        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            appending = tasks.create_task(append())
            for each in shown:
                tasks.create_task(_see_all(each))
        ended = time.perf_counter()
    return EVENTS / (ended - began), 1000 * (ended - appending.result())


def _client(system: System, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=system.url, headers=headers, timeout=PATIENCE_S)


async def _events(stream: httpx.Response) -> AsyncIterator[int]:
    """Yield the number of data lines in each chunk; the first line is the room's first frame."""
    stream.raise_for_status()
    rest = b""
    async for chunk in stream.aiter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        if count := sum(line.startswith(b"data:") for line in whole):
            yield count


async def _see_all(shown: AsyncIterator[int]) -> None:
    left = EVENTS
    async for count in shown:
        left -= count
        if left <= 0:
            return
    raise RuntimeError("the room closed")
