"""A read model that is missing, damaged, or of another log or form is folded again."""

import logging
import shutil
from contextlib import closing

import pytest

from projections.models import checkpoints
from projections.projector import Projector
from projections.verify import verify
from store.log.log import Log
from store.sqlite.connection import open_reader, open_writer
from store.sqlite.generations import Generations
from tests.conftest import one_and_three
from tests.projections.conftest import (
    execute,
    live_rows,
    reached,
    running,
)
from tests.projections.stories import SCRIPT, photo_id, upload


@one_and_three
async def test_a_deleted_read_model_is_folded_again(
    log: Log, projector: Projector, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, *SCRIPT)
    async with running(projector):
        await reached(log, generations)
        before = live_rows(generations)

        with caplog.at_level(logging.INFO, "photolog.projector"):
            shutil.rmtree(generations.folder)
            await reached(log, generations)

    assert live_rows(generations) == before
    assert "there is no read model: rebuilding it from the log" in caplog.text


async def test_a_file_deleted_between_two_events_is_folded_again(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    async with running(projector):
        await reached(log, generations)
        path = generations.current()
        assert path is not None
        path.unlink()
        await execute(log, upload(2))
        await reached(log, generations)

    assert len(live_rows(generations)["photos"]) == 2


@pytest.mark.parametrize("keep", [0, 1, 4096])
async def test_a_damaged_read_model_is_folded_again(
    log: Log, generations: Generations, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, *SCRIPT)
    await Projector(log, generations).catch_up()
    before, path = live_rows(generations), generations.current()
    assert path is not None
    path.write_bytes(path.read_bytes()[:keep] + b"\xa5" * (path.stat().st_size - keep))

    await Projector(log, generations).catch_up()

    assert live_rows(generations) == before
    assert "damaged" in caplog.text


async def test_an_empty_file_is_no_read_model(log: Log, generations: Generations) -> None:
    await execute(log, *SCRIPT)
    path = generations.new()
    path.touch()
    generations.switch(path)

    await Projector(log, generations).catch_up()

    assert (await verify(log, generations)).equal


async def test_the_read_model_of_another_log_is_set_aside(
    log: Log, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, upload(1), upload(2))
    await Projector(log, generations).catch_up()
    other = await Log.open(log.redis, prefix=f"{log.keys.prefix}-other")
    await execute(other, upload(3))

    await Projector(other, generations).catch_up()

    assert [row[0] for row in live_rows(generations)["photos"]] == [photo_id(3)]
    assert "the read model belongs to another log: rebuilding it from the log" in caplog.text
    path = generations.current()
    assert path is not None
    with closing(open_reader(path)) as db:
        assert checkpoints.log_id(db) == other.log_id


async def test_a_read_model_whose_rows_mean_something_else_is_set_aside(
    log: Log, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(log, upload())
    await Projector(log, generations).catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        db.execute("PRAGMA user_version = 1")
        db.execute("PRAGMA application_id = 1")

    await Projector(log, generations).catch_up()

    assert generations.current() != path
    assert "written by another version: rebuilding it from the log" in caplog.text
