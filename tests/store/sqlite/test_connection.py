from pathlib import Path

import pytest

from store.errors import Corrupt, Unavailable
from store.sqlite.connection import lacking, open_reader, open_writer
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.system.disks import fill

PAGE = 4096


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    """A live generation with about a hundred pages."""
    generations = Generations(tmp_path)
    path = generations.new()
    db = open_writer(path)
    db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT) STRICT")
    with db.transaction():
        db.execute_many("INSERT INTO numbers VALUES (?, ?)", [(n, "x" * 100) for n in range(5_000)])
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    generations.switch(path)
    return generations


async def test_an_intact_file_passes_the_check(generations: Generations) -> None:
    await Reader(generations).check(10)


async def test_a_damaged_page_is_found_even_if_no_query_reads_it(
    generations: Generations,
) -> None:
    path = generations.current()
    assert path is not None
    with path.open("r+b") as file:
        file.seek(50 * PAGE)
        file.write(b"rubbish!" * (PAGE // 8))
    reader = Reader(generations)

    assert await reader.query(lambda db: db.execute("SELECT text FROM numbers WHERE n = 1"))
    with pytest.raises(Corrupt, match="the read model is damaged"):
        await reader.check(10)

    reader.close()


async def test_a_check_that_takes_too_long_is_aborted(generations: Generations) -> None:
    with pytest.raises(Unavailable, match="interrupted"):
        await Reader(generations).check(0)


async def test_without_a_generation_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no read model yet"):
        await Reader(Generations(tmp_path)).check(10)


async def test_an_unreadable_generation_of_another_version_is_not_queried(
    generations: Generations,
) -> None:
    path = generations.current()
    assert path is not None
    reader = Reader(generations, form=7, unreadable=lambda _: "it counts from 0")

    with pytest.raises(Unavailable, match="written by another version, and it counts from 0"):
        await reader.query(lambda db: db.execute("SELECT count(*) FROM numbers"))
    db = open_writer(path)
    db.execute("PRAGMA user_version = 7")
    db.close()
    counted = await reader.query(lambda db: db.execute("SELECT count(*) FROM numbers"))

    assert counted == [(5_000,)]
    reader.close()


async def test_a_reader_without_room_on_a_full_disk_only_waits(small_disk: Path) -> None:
    generations = Generations(small_disk)
    path = generations.new()
    db = open_writer(path)
    db.execute(
        "CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT; INSERT INTO numbers VALUES (1)"
    )
    db.close()  # which removes the index of the write-ahead log
    generations.switch(path)
    reader = Reader(generations)
    ballast = fill(small_disk)

    with pytest.raises(Unavailable, match="the disk of the read model is full"):
        await reader.query(lambda db: db.execute("SELECT n FROM numbers"))
    ballast.unlink()

    assert await reader.query(lambda db: db.execute("SELECT n FROM numbers")) == [(1,)]
    reader.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n FROM other",
        "SELECT other FROM numbers",
        "SELECT n FROM numbers INDEXED BY other",
        "SELECT n FROM numbers JOIN (SELECT 1 AS other) USING (other)",
        "SELECT text FROM numbers JOIN (SELECT 1 AS text)",
    ],
)
def test_a_query_that_was_written_for_another_file_waits_for_it(
    generations: Generations, sql: str
) -> None:
    path = generations.current()
    assert path is not None
    db = open_reader(path)

    with pytest.raises(Unavailable, match="written by another version"), lacking():
        db.execute(sql)
    db.close()
