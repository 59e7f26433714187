"""A rebuild makes a new generation from the whole log while readers continue."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from projections import fold
from projections.models import checkpoints, history
from projections.models.checkpoints import Coverage
from projections.projector import Projector
from projections.rebuild import live_held, rebuild
from projections.verify import verify
from store.errors import Unavailable
from store.log.log import Log
from store.sqlite.connection import Connection, open_writer
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.conftest import home, one_and_three
from tests.projections.conftest import execute, live_rows, reached, running
from tests.projections.stories import SCRIPT, photo_id, processed, upload
from tests.projections.test_fold import dump

pytestmark = one_and_three


async def test_a_rebuild_gives_equal_tables(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    before, old = live_rows(generations), generations.current()

    report = await rebuild(log, generations)

    assert generations.current() != old
    assert generations.current() == generations.folder / report.generation
    assert report.events == len(before["history"])
    assert live_rows(generations) == before


async def test_two_rebuilds_are_equal_to_the_byte(log: Log, generations: Generations) -> None:
    await execute(log, *SCRIPT)
    dumps: list[str] = []
    for _ in range(2):
        report = await rebuild(log, generations)
        dumps.append(dump(generations.folder / report.generation))

    assert dumps[0] == dumps[1]


async def test_a_rebuild_needs_no_read_model(log: Log, generations: Generations) -> None:
    await execute(log, *SCRIPT)

    await rebuild(log, generations, compare=True)

    assert (await verify(log, generations)).equal


async def test_a_rebuild_repairs_manual_changes_and_names_the_tables(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        db.execute("UPDATE photos SET width = 1 WHERE id = ?", (photo_id(1),))

    report = await rebuild(log, generations, compare=True)

    assert report.comparison is not None
    assert [t.table for t in report.comparison.tables if not t.equal] == ["photos"]
    assert (await verify(log, generations)).equal


async def test_progress_grows_to_the_whole(log: Log, generations: Generations) -> None:
    await execute(log, *SCRIPT)
    steps: list[tuple[int, int]] = []

    await rebuild(log, generations, lambda done, total: steps.append((done, total)))

    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 0


async def test_no_one_sees_an_incomplete_generation(log: Log, generations: Generations) -> None:
    await execute(log, *SCRIPT)
    live: list[Path | None] = []

    def look(_done: int, _total: int) -> None:
        live.append(generations.current())

    await rebuild(log, generations, look)

    assert set(live) == {None}


async def test_a_rebuild_that_fails_leaves_everything_as_it_was(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()

    def files() -> list[str]:
        """Return the files, without those that SQLite makes beside one that is read."""
        found = (path.name for path in generations.folder.iterdir())
        return sorted(name for name in found if not name.endswith(("-shm", "-wal")))

    before = files()

    def away(done: int, total: int) -> None:
        raise Unavailable("no answer")

    with pytest.raises(Unavailable):
        await rebuild(log, generations, away)

    assert files() == before


async def test_of_concurrent_rebuilds_one_becomes_live_and_is_complete(
    log: Log, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    failures: list[Unavailable] = []

    async def try_to_rebuild() -> None:
        try:
            await rebuild(log, generations)
        except Unavailable as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(try_to_rebuild)

    assert len(failures) < 3
    assert (await verify(log, generations)).equal


async def test_the_projector_continues_with_the_generation_of_a_rebuild(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    async with running(projector):
        await reached(log, generations)
        await rebuild(log, generations)
        await execute(log, upload(2))
        await reached(log, generations)

    assert (await verify(log, generations)).equal
    assert len(live_rows(generations)["photos"]) == 2


async def test_nobody_commits_to_the_live_generation_while_it_is_replaced(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    await projector.catch_up()
    path = generations.current()
    assert path is not None

    with closing(open_writer(path)) as db:
        db.execute("PRAGMA busy_timeout = 0")
        async with live_held(log, generations) as positions:
            assert positions == {each: await log.end(each) for each in range(log.partitions)}
            assert checkpoints.get_all(db) == positions
            with pytest.raises(Unavailable), db.transaction():
                pass
        with db.transaction():
            pass


async def test_readers_see_one_state_and_never_an_older_one_during_rebuilds(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    await projector.catch_up()
    reader = Reader(generations)
    seen: list[int] = []
    done = anyio.Event()

    def look(db: Connection) -> int:
        events = history.count(db)
        assert db.execute("SELECT coalesce(sum(version), 0) FROM photos") == [(events,)]
        assert history.since(db, checkpoints.get(db, home(log)), 1) == []
        return events

    async def read() -> None:
        while not done.is_set():
            seen.append(await reader.query(look))
            await anyio.lowlevel.checkpoint()

    async def change() -> None:
        for number in range(2, 12):
            await execute(log, upload(number), *processed(number))
            await rebuild(log, generations)
        await reached(log, generations)
        done.set()

    async with running(projector), anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(change)
    reader.close()

    assert seen == sorted(seen)
    assert seen[-1] == 1 + 10 * 11


KILLED = """
import os, signal, sys
from pathlib import Path
from projections import fold
from projections.models.checkpoints import Coverage
from store.sqlite.generations import Generations
with Generations(Path(sys.argv[1])).building() as path:
    db = fold.create(path, sys.argv[2], Coverage.whole(1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def incomplete(generations: Generations, log_id: str = "some log") -> Path:
    """Return the generation that a killed rebuild leaves."""
    before = set(generations.folder.glob("*.sqlite"))
    subprocess.run([sys.executable, "-c", KILLED, str(generations.folder), log_id], check=False)
    (left,) = set(generations.folder.glob("*.sqlite")) - before
    return left


async def test_an_incomplete_generation_is_removed_when_the_projector_starts(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    before = sorted(generations.folder.glob("*.sqlite"))
    left = incomplete(generations)

    async with running(projector):
        await reached(log, generations)

    assert not list(generations.folder.glob(f"{left.name}*"))
    assert sorted(generations.folder.glob("*.sqlite")) == before


async def test_an_incomplete_generation_is_removed_before_the_next_rebuild(
    log: Log, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    left = incomplete(generations)
    seen: list[bool] = []

    await rebuild(log, generations, lambda _done, _total: seen.append(left.exists()))

    assert set(seen) == {False}
    assert not list(generations.folder.glob("*-building"))


async def test_a_projector_that_starts_keeps_a_generation_that_is_being_built(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    with generations.building() as path:
        fold.create(path, log.log_id, Coverage.whole(log.partitions)).close()

        async with running(projector):
            await reached(log, generations)

        assert path.exists()


async def test_a_rebuild_that_was_killed_after_the_switch_is_live(
    log: Log, generations: Generations
) -> None:
    left = incomplete(generations, log.log_id)
    generations.switch(left)

    assert generations.sweep() == []
    assert generations.current() == left
    assert not list(generations.folder.glob("*-building"))
