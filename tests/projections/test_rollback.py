"""A rebuild can be undone: the generation that it replaced stays, until the next one."""

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import pytest

from projections import fold
from projections import rebuild as rebuilding
from projections.projector import Projector
from projections.rebuild import live_held, rebuild
from projections.rollback import roll_back
from projections.verify import verify
from store.errors import Corrupt, Missing
from store.log.log import Log
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from tests.conftest import one_and_three
from tests.projections.conftest import execute, live_rows, reached, running, until
from tests.projections.stories import SCRIPT, processed, upload
from tests.projections.test_kept_generations import (
    history_of,
    live,
    tamper,
    with_another_actor,
)

pytestmark = one_and_three


async def test_a_rollback_returns_to_the_old_generation_with_what_has_come_since(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    old = live(generations)
    await rebuild(log, generations)
    new = live(generations)
    await execute(log, upload(9), *processed(9))
    await projector.catch_up()
    before = live_rows(generations)

    report = await roll_back(log, generations)

    assert (report.generation, report.previous) == (old.name, new.name)
    assert (live(generations), generations.previous()) == (old, new)
    assert live_rows(generations) == before
    assert (await verify(log, generations)).equal


async def test_a_second_rollback_returns_to_the_rebuilt_one(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    await rebuild(log, generations)
    new = live(generations)

    await roll_back(log, generations)
    await roll_back(log, generations)

    assert live(generations) == new


async def test_the_projector_continues_with_the_old_generation(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    async with running(projector):
        await reached(log, generations)
        old = live(generations)
        await rebuild(log, generations)
        await roll_back(log, generations)
        await execute(log, upload(2))
        await reached(log, generations)

    assert live(generations) == old
    assert len(live_rows(generations)["photos"]) == 2


async def test_only_the_last_replaced_generation_stays(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    first = live(generations)
    await rebuild(log, generations)
    second = live(generations)
    await rebuild(log, generations)

    assert generations.previous() == second
    assert not first.exists()


async def test_nothing_is_left_to_roll_back_to_once_it_is_dropped(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    old = live(generations)
    await rebuild(log, generations)

    assert generations.drop_previous() == old

    assert list(generations.folder.glob(f"{old.name}*")) == []
    with pytest.raises(Missing):
        await roll_back(log, generations)


async def test_a_generation_of_another_version_does_not_stay(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    with closing(open_writer(live(generations))) as db:
        db.execute("PRAGMA user_version = 1")

    await rebuild(log, generations)

    assert generations.previous() is None


async def test_a_damaged_generation_is_not_made_live(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    old = live(generations)
    await rebuild(log, generations)
    new = live(generations)
    old.write_bytes(b"rubbish!" * 1000)

    with pytest.raises(Corrupt):
        await roll_back(log, generations)

    assert live(generations) == new


async def test_a_rollback_that_a_rebuild_has_overtaken_changes_nothing(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    await rebuild(log, generations)
    catch_up = fold.catch_up

    async def overtaken(*given: Any, **options: Any) -> None:
        monkeypatch.setattr(fold, "catch_up", catch_up)
        await catch_up(*given, **options)
        await rebuild(log, generations)

    monkeypatch.setattr(fold, "catch_up", overtaken)
    before = live(generations)

    with pytest.raises(Missing, match="a rebuild or a rollback was faster"):
        await roll_back(log, generations)

    assert generations.previous() == before
    assert (await verify(log, generations)).equal


async def test_a_rebuild_that_a_rollback_has_overtaken_replaces_what_is_live_then(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: Callable[..., Any] = vars(rebuilding)["_hold"]
    waits = threading.Event()

    def hold(*given: Any) -> Any:
        waits.set()
        return held(*given)

    await execute(log, upload(1))
    await projector.catch_up()
    await rebuild(log, generations)
    old, new = generations.previous(), live(generations)

    async with anyio.create_task_group() as tasks, live_held(log, generations):
        monkeypatch.setattr("projections.rebuild._hold", hold)
        tasks.start_soon(rebuild, log, generations)
        await until(waits.is_set, "the rebuild")
        await execute(log, upload(2))
        await roll_back_as_if_alone(log, generations)

    assert generations.previous() == old
    assert not new.exists()
    assert len(live_rows(generations)["photos"]) == 2


async def roll_back_as_if_alone(log: Log, generations: Generations) -> None:
    """Make the previous generation live, and let its projector go on at once."""
    previous = generations.previous()
    assert previous is not None
    with closing(open_writer(previous)) as db:
        generations.swap(previous)
        await fold.catch_up(log, db)


async def test_a_rollback_that_was_killed_between_its_two_steps_is_finished(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    old = live(generations)
    await rebuild(log, generations)
    new = live(generations)
    shutil.copy(generations.folder / "previous", generations.folder / "current")

    report = await roll_back(log, generations)

    assert (report.generation, report.previous) == (old.name, new.name)
    assert (live(generations), generations.previous()) == (old, new)


async def test_evidence_stays_as_it_is_when_its_generation_goes_on(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    await tamper(log, with_another_actor)
    report = await rebuild(log, generations)
    (kept,) = generations.kept()
    before = history_of(kept)

    await roll_back(log, generations)
    await execute(log, upload(9))
    await projector.catch_up()

    assert report.kept == str(kept)
    assert history_of(kept) == before
    assert len(history_of(live(generations))) == len(before) + 1
