"""Measure the cost of waiting for a replica's disk, on three masters with one replica each.

Appends run with and without ``PHOTOLOG_APPEND_WAIT_REPLICAS``, in turn, on the same cluster.
"""

import asyncio
import time
import uuid

import msgspec

from ops.bench import report, servers
from ops.bench.photos import context, upload
from store.log.log import Log
from store.redis.connection import Wait, connect

WRITERS = (1, 50)
APPENDS = {1: 300, 50: 3_000}
PARTITIONS = 16

WAITS = {"not waiting": None, "waiting for a replica": Wait(replicas=1)}


def run(rounds: int) -> None:
    report.headline("Appends on a cluster, with and without waiting for a replica")
    report.note("three masters with a replica each, appendfsync always; all on this machine")
    with servers.replicated(1) as cluster:
        url = cluster.environment["PHOTOLOG_REDIS_URL"]
        for writers in WRITERS:
            taken = _measured(url, writers, rounds)
            _print(taken, writers)


def _measured(url: str, writers: int, rounds: int) -> dict[str, list[list[float]]]:
    """Return the seconds of each append, by way and by run; the ways take turns."""
    taken: dict[str, list[list[float]]] = {name: [] for name in WAITS}
    for _ in report.rounds(rounds):
        for name, wait in WAITS.items():
            taken[name].append(asyncio.run(_append(url, writers, wait)))
    return taken


def _print(taken: dict[str, list[list[float]]], writers: int) -> None:
    report.note(f"{writers} writer{'s' * (writers > 1)}, {APPENDS[writers]} appends a run")
    rates: dict[str, list[float]] = {}
    for name, runs in taken.items():
        for percent, what in ((50, "median"), (99, "p99")):
            latencies = [1000 * report.percentile(run, percent) for run in runs]
            report.line(f"{name}, {what}", latencies, "ms", digits=2)
        # Each writer appends sequentially, so its appends add up to the duration of the run.
        rates[name] = [writers * len(run) / sum(run) for run in runs]
        report.line(f"{name}, throughput", rates[name], "/s", digits=0)
    waiting, free = rates["waiting for a replica"], rates["not waiting"]
    report.ratio("throughput, waiting to not waiting", waiting, free)


async def _append(url: str, writers: int, wait: Wait | None) -> list[float]:
    """Return the seconds of each append; each writer is a different client."""
    redis = connect(url)
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    log = await Log.open(redis, prefix=prefix, partitions=PARTITIONS, wait=wait)
    taken: list[float] = []

    async def write(client_id: str, count: int, into: list[float]) -> None:
        for _ in range(count):
            command = msgspec.structs.replace(upload(), client_id=client_id)
            began = time.perf_counter()
            await log.execute(command, client_id=client_id, context=context())
            into.append(time.perf_counter() - began)

    clients = [f"bench-{number}" for number in range(writers)]
    await asyncio.gather(*(write(each, 1, []) for each in clients))  # opens the connections
    count = APPENDS[writers] // writers
    await asyncio.gather(*(write(each, count, taken) for each in clients))
    await redis.aclose()
    return taken
