"""``verify`` compares the live generation with a fresh fold."""

from contextlib import closing

import pytest

from projections.generation import TABLES
from projections.models.photos import STORED
from projections.projector import Projector
from projections.verify import NAMED, Digest, digest, verify
from store.errors import Corrupt, Missing
from store.log.log import Log
from store.sqlite.connection import Connection, open_writer
from store.sqlite.generations import Generations
from tests.projections.conftest import execute, fold_in
from tests.projections.stories import SCRIPT, Chronicle, upload


async def test_a_read_model_of_the_projector_matches_the_log(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()

    report = await verify(log, generations)

    assert report.equal
    assert [table.table for table in report.tables] == list(TABLES)
    assert {table.table: table.live.rows for table in report.tables}["photos"] == 4
    assert report.positions == (await log.end(0),)


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE photos SET file_size = file_size + 1", "photos"),
        ("UPDATE photos SET renditions = NULL WHERE renditions IS NOT NULL", "photos"),
        ("UPDATE sessions SET queued = 7", "sessions"),
        ("UPDATE history SET body = x'00'", "history"),
        ("UPDATE jobs SET ended = NULL", "jobs"),
    ],
)
async def test_a_table_changed_by_hand_is_named(
    log: Log, projector: Projector, generations: Generations, change: str, table: str
) -> None:
    await execute(log, *SCRIPT)
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        db.execute(change)

    report = await verify(log, generations)

    assert [each.table for each in report.tables if not each.equal] == [table]


async def test_rows_that_differ_are_named_by_their_keys(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *(upload(number) for number in range(1, 2_101)))
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        ids = [row[0] for row in db.execute("SELECT id FROM photos ORDER BY id")]
        db.execute("UPDATE photos SET file_size = file_size + 1 WHERE id = ?", (ids[2_000],))
        db.execute("UPDATE photos SET id = 'zzz' WHERE id = ?", (ids[7],))

    report = await verify(log, generations)

    differing = {each.table: each.differing for each in report.tables}
    assert differing["photos"] == ((ids[7],), (ids[2_000],), ("zzz",))
    assert differing["history"] == ()


async def test_the_number_of_named_rows_is_limited(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *(upload(number) for number in range(1, 2 * NAMED)))
    await projector.catch_up()
    path = generations.current()
    assert path is not None
    with closing(open_writer(path)) as db:
        db.execute("UPDATE history SET body = x'00'")

    report = await verify(log, generations)

    assert [len(each.differing) for each in report.tables if not each.equal] == [NAMED]


async def test_events_that_are_not_folded_yet_are_not_a_difference(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload(1))
    await projector.catch_up()
    behind = await log.end(0)
    await execute(log, upload(2))

    report = await verify(log, generations)

    assert report.equal
    assert report.positions == (behind,)


async def test_verifying_leaves_no_files(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, upload())
    await projector.catch_up()
    path = generations.current()
    assert path is not None

    await verify(log, generations)

    assert {each.name for each in generations.folder.iterdir()} <= {
        "current",
        path.name,
        f"{path.name}-wal",
        f"{path.name}-shm",
    }


async def test_verifying_without_a_read_model_fails(log: Log, generations: Generations) -> None:
    with pytest.raises(Missing):
        await verify(log, generations)


async def test_a_file_that_is_not_a_read_model_is_corrupt(
    log: Log, generations: Generations
) -> None:
    path = generations.new()
    path.write_bytes(b"not a database" * 1000)
    generations.switch(path)

    with pytest.raises(Corrupt):
        await verify(log, generations)


def test_a_digest_is_over_the_rows_in_the_order_of_their_key(db: Connection) -> None:
    assert digest(db, "photos") == Digest(
        rows=0, sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    fold_in(db, Chronicle.of(*(upload(number) for number in range(1, 2_101))).recorded)
    before = digest(db, "photos")
    columns = ", ".join(STORED)
    first = "SELECT min(id) FROM photos"
    moved = db.execute(f"SELECT {columns} FROM photos WHERE id = ({first})")[0]

    db.execute("DELETE FROM photos WHERE id = ?", (moved[0],))
    without = digest(db, "photos")
    db.execute(f"INSERT INTO photos ({columns}) VALUES ({', '.join('?' * len(moved))})", moved)

    assert before.rows == 2_100
    assert without != before
    assert digest(db, "photos") == before
