"""A read model that is damaged while in use is rebuilt soon."""

import os
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from projections.projector import Projector
from store.errors import Unavailable
from store.log.log import Log
from store.sqlite.connection import Connection, open_writer
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.projections.conftest import DEADLINE_S, execute, live_rows, reached, running, until
from tests.projections.stories import upload


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] # pytest calls it
    """Have the projector look at its files ten times a second, and not every two seconds."""
    monkeypatch.setattr("projections.projector.BLOCK_MS", 100)


async def followed(log: Log, generations: Generations) -> Path:
    """Return the live generation after the projector has committed a photo to it."""
    await until(lambda: generations.current() is not None, "a read model")
    await execute(log, upload(1))
    await reached(log, generations)
    path = generations.current()
    assert path is not None
    return path


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_read_model_that_hides_commits_from_new_readers_is_rebuilt(
    log: Log,
    projector: Projector,
    generations: Generations,
    suffix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(projector):
        path = await followed(log, generations)
        path.with_name(path.name + suffix).unlink()
        await execute(log, upload(2))
        await until(lambda: generations.current() != path, "another generation")
        await reached(log, generations)

    assert len(live_rows(generations)["photos"]) == 2
    assert "a file of the read model is missing: rebuilding it from the log" in caplog.text


async def test_a_wal_that_was_replaced_is_noticed_without_an_event(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(projector):
        path = await followed(log, generations)
        path.with_name(f"{path.name}-wal").unlink()
        path.with_name(f"{path.name}-wal").touch()
        await until(lambda: generations.current() != path, "another generation")

    assert len(live_rows(generations)["photos"]) == 1
    assert "the WAL of the read model was replaced: rebuilding it from the log" in caplog.text


async def read(generations: Generations, *, wait: bool = True) -> int:
    """Return the number of photos that a reader of the gateway sees."""
    reader = Reader(generations)
    give_up = time.monotonic() + DEADLINE_S
    try:
        while True:
            try:
                return await reader.query(_count)
            except Unavailable:
                if not wait or time.monotonic() > give_up:
                    raise
                await anyio.sleep(0.01)
    finally:
        reader.close()


def _count(db: Connection) -> int:
    return db.execute("SELECT count(*) FROM photos")[0][0]


@pytest.mark.parametrize("keep", [0, 4096])
async def test_damage_that_only_a_reader_finds_is_repaired_while_the_projector_runs(
    log: Log,
    projector: Projector,
    generations: Generations,
    keep: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(projector):
        path = await followed(log, generations)
        with closing(open_writer(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(keep)
            file.write(b"\xa5" * (path.stat().st_size - keep))

        with pytest.raises(Unavailable, match="damaged"):
            await read(generations, wait=False)

        assert await read(generations) == 1
        assert generations.current() != path
    assert caplog.text.count("rebuilding it from the log") == 1
    assert [file.name for file in generations.folder.glob("*doubted")] == []


async def test_a_truncated_read_model_is_rebuilt_while_the_projector_runs(
    log: Log, projector: Projector, generations: Generations
) -> None:
    async with running(projector):
        path = await followed(log, generations)
        with closing(open_writer(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(path, 0)

        assert await read(generations) == 1
        assert generations.current() != path


async def test_a_false_report_of_damage_is_withdrawn(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(projector):
        path = await followed(log, generations)
        generations.doubt(path)
        await until(lambda: not generations.is_doubted(path), "the check")

    assert generations.current() == path
    assert "the read model is intact" in caplog.text
