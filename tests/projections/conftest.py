"""Fixtures for read models in temporary files, and helpers that wait with a deadline."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from domain.photo.commands import PhotoCommand, UploadPhoto
from projections import fold
from projections.generation import TABLES
from projections.models import checkpoints, history, history_pages
from projections.models.checkpoints import Coverage
from projections.models.history import HistoryEntry
from projections.projector import Projector
from store.errors import Unavailable
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, open_reader
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.projections.stories import BEGIN

DEADLINE_S = 20.0


@pytest.fixture
def db(tmp_path: Path) -> Generator[Connection]:
    """Return a generation without events."""
    with closing(fold.create(tmp_path / "one.sqlite", "some log", Coverage.whole(3))) as connection:
        yield connection


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "read-model")


@pytest.fixture
def projector(log: Log, generations: Generations) -> Projector:
    return Projector(log, generations)


@pytest.fixture(scope="module")
def small_pages() -> Generator[None]:
    """Let a page of the history hold eight events, so that a short story fills some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_pages, "PAGE", 8)
        yield


def history_of(path: Path) -> list[HistoryEntry]:
    """Return all events of the history."""
    with closing(open_reader(path)) as db:
        return list(history.everything(db))


def fold_in(db: Connection, recorded: Sequence[Recorded]) -> None:
    with db.transaction():
        fold.apply(db, recorded)


def rows(db: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    return {table: sorted(db.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def live_rows(generations: Generations) -> dict[str, list[tuple[Any, ...]]]:
    path = generations.current()
    assert path is not None
    with closing(open_reader(path)) as db:
        return rows(db)


async def execute(log: Log, *commands: PhotoCommand) -> None:
    """Append to the real log, each command a second after the previous one."""
    clients: dict[str, str] = {}
    for second, command in enumerate(commands):
        if isinstance(command, UploadPhoto):
            clients[command.photo_id] = command.client_id
        context = msgspec.structs.replace(CONTEXT, now=BEGIN + timedelta(seconds=second))
        client_id = clients.get(command.photo_id, "alice")
        await log.execute(command, client_id=client_id, context=context)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for the condition with a deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited {DEADLINE_S} s for {what}"
        await anyio.sleep(0.005)


async def reached(log: Log, generations: Generations) -> None:
    """Wait until the live generation has everything that is in the log now."""
    for partition in range(log.partitions):
        end = await log.end(partition)
        await until(
            lambda end=end: checkpoint(generations, end.partition) >= end, f"checkpoint {end}"
        )


def checkpoint(generations: Generations, partition: int = 0) -> Position:
    """Return the live checkpoint; the start while there is no live generation."""
    path = generations.current()
    if path is None:
        return Position.start(partition)
    try:
        with closing(open_reader(path)) as db:
            return checkpoints.get(db, partition)
    except Unavailable:  # it is being replaced
        return Position.start(partition)


@asynccontextmanager
async def running(projector: Projector) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(projector.run)
        yield
        tasks.cancel_scope.cancel()
