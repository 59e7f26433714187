"""What is left when the faults are over: looked at again until all is at rest, or for too long."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio

from ops.process.embedded_valkey import url_in
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
    """The log that the system on the folder ``data`` keeps in a server of its own."""
    redis = connect(url_in(data / "valkey"))
    try:
        yield await Log.open(redis)
    finally:
        await redis.aclose()


async def settled(data: Path, within_s: float = CALM_S) -> Findings:
    """What the checker finds when nothing is left to do and nothing changes, or in the end."""

    async def look() -> Findings | None:
        try:
            async with log_of(data) as log:
                redis = cast("Redis", log.redis)
                return await examine(redis, log.keys.prefix, Folder(data / "blobs"))
        except StoreError:  # it is being started again
            return None

    return await at_rest(look, within_s)


async def at_rest(
    look: Callable[[], Awaitable[Findings | None]], within_s: float = CALM_S
) -> Findings:
    """What ``look`` finds when nothing is left to do and nothing changes, or in the end."""
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
    """Remove what no event names, as an operator would; of a system at rest, for the age is short:
    what a worker has stored is named once the log takes it."""
    arguments = ("reconcile", "--data", str(data), "--remove", "--orphaned", "--older-than", "1s")
    done = photolog(*arguments)
    assert done.returncode == 0, done.stdout


async def stale_tables(data: Path, within_s: float = CALM_S) -> list[str]:
    """The tables of the read model that are not what the log says, once it has all of the log."""
    async with log_of(data) as log:
        return await stale_tables_of(log, data, within_s)


async def stale_tables_of(log: Log, data: Path, within_s: float = CALM_S) -> list[str]:
    """As ``stale_tables``, for a host on ``data`` whose log is elsewhere."""
    generations = Generations(data / "read-model")
    deadline = time.monotonic() + within_s
    while True:
        ends = tuple([await log.end(number) for number in range(log.partitions)])
        try:
            report = await verify(log, generations)
        except StoreError:  # it is being folded
            report = None
        if report is not None and report.positions == ends:
            return [table.table for table in report.tables if not table.equal]
        assert time.monotonic() < deadline, f"the read model did not reach {ends}"
        await anyio.sleep(LOOK_EVERY_S)
