"""Wait until a system is at rest after the faults, and return what is left."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio

from ops.config.settings import Settings
from ops.maintenance.reconcile import compare, remove
from ops.process.embedded_valkey import url_in
from ops.runtime.blobs import open_store
from projections.verify import verify
from store.errors import StoreError
from store.log.log import Log
from store.redis.connection import connect
from store.sqlite.generations import Generations
from tests.ops.systems import photolog
from tests.system.checker import Findings, Redis, examine
from tests.system.stored import Folder

CALM_S = 60.0
LOOK_EVERY_S = 0.5


@asynccontextmanager
async def log_of(data: Path) -> AsyncGenerator[Log]:
    """Open the log in the embedded server of the system on ``data``."""
    redis = connect(url_in(data / "valkey"))
    try:
        yield await Log.open(redis)
    finally:
        await redis.aclose()


async def settled(data: Path, within_s: float = CALM_S) -> Findings:
    """Return the checker's findings once the system is at rest, or after the deadline."""

    async def look() -> Findings | None:
        try:
            async with log_of(data) as log:
                return await _examine(log, data / "blobs")
        except StoreError:  # it is restarting
            return None

    return await at_rest(look, within_s)


async def settled_at(log: Log, blobs: Path) -> Findings:
    """Return what ``settled`` returns for a log on another server and the folder ``blobs``."""

    async def look() -> Findings | None:
        try:
            return await _examine(log, blobs)
        except StoreError:
            return None

    return await at_rest(look)


async def _examine(log: Log, blobs: Path) -> Findings:
    return await examine(cast("Redis", log.redis), log.keys.prefix, Folder(blobs))


async def at_rest(
    look: Callable[[], Awaitable[Findings | None]], within_s: float = CALM_S
) -> Findings:
    """Return what ``look`` finds once the system is at rest, or after the deadline."""
    deadline = time.monotonic() + within_s
    before = None
    while True:
        found = await look()
        if found is not None and (_at_rest(found, before) or time.monotonic() > deadline):
            return found
        assert time.monotonic() < deadline, "Redis did not come back"
        before = found
        await anyio.sleep(LOOK_EVERY_S)


def _at_rest(found: Findings, before: Findings | None) -> bool:
    return not found.wrong or (found == before and not found.unfinished and not found.tasks)


def reconcile(data: Path) -> None:
    """Remove files that no event names, as an operator would. The system must be at rest, because
    the age is short: a worker's file is named only once the log accepts its result."""
    arguments = ("reconcile", "--data", str(data), "--remove", "--orphaned", "--older-than", "1s")
    done = photolog(*arguments)
    assert done.returncode == 0, done.stdout


async def reconcile_at(log: Log, settings: Settings) -> None:
    """Do what ``reconcile`` does, in this process."""
    async with open_store(settings, "reconcile") as blobs:
        found = await compare(log, blobs, older_than_s=0)
        await remove(blobs, found, orphans=True, superseded=False)


async def stale_tables(data: Path, within_s: float = CALM_S) -> list[str]:
    """Return the tables that differ from the log, once the read model has caught up."""
    async with log_of(data) as log:
        return await stale_tables_of(log, data, within_s)


async def stale_tables_of(log: Log, data: Path, within_s: float = CALM_S) -> list[str]:
    """Return the stale tables of a host on ``data`` whose log is elsewhere."""
    generations = Generations(data / "read-model")
    deadline = time.monotonic() + within_s
    while True:
        ends = tuple([await log.end(number) for number in range(log.partitions)])
        try:
            report = await verify(log, generations)
        except StoreError:  # it is being rebuilt
            report = None
        if report is not None and report.positions == ends:
            return [table.table for table in report.tables if not table.equal]
        assert time.monotonic() < deadline, f"the read model did not reach {ends}"
        await anyio.sleep(LOOK_EVERY_S)
