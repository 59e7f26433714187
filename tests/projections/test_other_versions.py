"""Generations of other versions of Photolog are read, and continued, as far as this code can."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from projections.generation import FORM
from projections.models import history, jobs, photos, timeline
from projections.other_versions import reader_of
from projections.projector import Projector
from projections.rebuild import rebuild
from projections.verify import verify
from store.errors import Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_writer
from store.sqlite.generations import Generations
from tests.projections.conftest import execute, live_rows, reached, running
from tests.projections.stories import SCRIPT, job_id, photo_id, processed, upload
from tests.projections.test_fold import dump
from tests.projections.test_kept_generations import live

Query = Callable[[Connection], Any]

OF_PHOTOS: dict[str, Query] = {
    "photo": lambda db: photos.get(db, photo_id(1)),
    "photos": lambda db: _page(db, "uploaded"),
    "photos by date": lambda db: _page(db, "taken"),
}

OTHERS: dict[str, Query] = {
    "owner": lambda db: photos.owner(db, photo_id(1)),
    "files": lambda db: photos.files(db, photo_id(1)),
    "job": lambda db: jobs.get(db, job_id(1)),
    "timeline": lambda db: timeline.page(db, by="day", client_id="alice", cursor=None),
    "history": lambda db: history.since(db, Position.start(0), 50),
}


def _page(db: Connection, order: photos.Order) -> photos.Page:
    return photos.page(
        db,
        client_id="alice",
        status=None,
        session_id=None,
        uploaded_from=None,
        uploaded_to=None,
        order=order,
        cursor=None,
        limit=10,
    )


@pytest.fixture
async def generation(log: Log, projector: Projector, generations: Generations) -> Path:
    """A generation of this version, to be changed into that of another one."""
    await execute(log, *SCRIPT)
    await projector.catch_up()
    return live(generations)


def change(path: Path, sql: str) -> None:
    """Let another version have written the file, whose schema differs by these statements."""
    with closing(open_writer(path)) as db:
        db.execute(sql)
        db.execute(f"PRAGMA user_version = {FORM - 1}")


async def answers(generations: Generations, queries: dict[str, Query]) -> dict[str, Any]:
    """Return the answers of the queries by name; of those that are refused the message."""
    reader = reader_of(generations)
    found: dict[str, Any] = {}
    for name, query in queries.items():
        try:
            found[name] = await reader.query(query)
        except Unavailable as error:
            found[name] = str(error)
    reader.close()
    return found


async def test_an_earlier_generation_answers_what_does_not_need_a_later_column(
    generations: Generations, generation: Path
) -> None:
    before = await answers(generations, OTHERS)
    change(generation, "ALTER TABLE photos DROP COLUMN blurhash")

    refused = await answers(generations, OF_PHOTOS)

    assert await answers(generations, OTHERS) == before
    lacking = "the read model was written by another version: no such column: blurhash"
    assert refused == dict.fromkeys(OF_PHOTOS, lacking)
    assert not generations.is_doubted(generation)


async def test_an_earlier_generation_answers_what_does_not_need_a_later_table(
    generations: Generations, generation: Path
) -> None:
    queries = OTHERS | OF_PHOTOS
    before = await answers(generations, queries)
    change(generation, "DROP TABLE timeline")

    found = await answers(generations, queries)

    refused = found.pop("timeline")
    assert "written by another version" in refused
    assert found == {name: answer for name, answer in before.items() if name != "timeline"}
    assert not generations.is_doubted(generation)


async def test_a_later_generation_with_more_tables_and_columns_answers_everything(
    generations: Generations, generation: Path
) -> None:
    queries = OTHERS | OF_PHOTOS
    before = await answers(generations, queries)
    change(
        generation,
        """
        ALTER TABLE photos ADD COLUMN rating INTEGER;
        CREATE TABLE albums (id TEXT PRIMARY KEY) STRICT;
        CREATE INDEX photos_by_rating ON photos(rating);
        """,
    )

    assert await answers(generations, queries) == before


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("PRAGMA application_id = 0", "its rows mean something else"),
        ("DROP TRIGGER photo_removed", "its triggers are other ones"),
        (
            "ALTER TABLE jobs DROP COLUMN error; ALTER TABLE jobs ADD COLUMN error BLOB",
            "its column jobs.error is another one",
        ),
    ],
)
async def test_a_generation_that_means_something_else_answers_nothing(
    generations: Generations, generation: Path, sql: str, reason: str
) -> None:
    change(generation, sql)

    found = await answers(generations, OTHERS | OF_PHOTOS)

    assert {reason in answer for answer in found.values()} == {True}


async def test_an_earlier_generation_is_read_until_a_rebuild_has_replaced_it(
    log: Log, generations: Generations, generation: Path
) -> None:
    change(generation, "ALTER TABLE photos DROP COLUMN blurhash")
    before = await answers(generations, OTHERS)
    await execute(log, upload(11))
    reader = reader_of(generations)
    seen: list[Any] = []

    async with anyio.create_task_group() as tasks:

        async def look() -> None:
            seen.append(await reader.query(OTHERS["files"]))

        def begin_to_look(_done: int, _total: int) -> None:
            tasks.start_soon(look)

        await rebuild(log, generations, begin_to_look)
    reader.close()

    assert seen
    assert {each == before["files"] for each in seen} == {True}
    assert live(generations) != generation
    found = await answers(generations, {"new": lambda db: photos.get(db, photo_id(11))})
    assert found["new"].photo_id == photo_id(11)


OTHER_INDEXES = """
DROP INDEX idx_photos_client_dated;
CREATE INDEX photos_by_size ON photos(file_size);
DROP INDEX jobs_by_time;
CREATE INDEX jobs_by_time ON jobs(created_at DESC);
"""


async def test_a_query_waits_for_an_index_that_an_earlier_generation_lacks(
    generations: Generations, generation: Path
) -> None:
    before = await answers(generations, OTHERS | OF_PHOTOS)
    change(generation, OTHER_INDEXES)

    found = await answers(generations, OTHERS | OF_PHOTOS)

    assert "no such index: idx_photos_client_dated" in found.pop("photos by date")
    del before["photos by date"]
    assert found == before


async def test_a_generation_that_differs_in_its_indexes_is_continued(
    log: Log, generations: Generations, generation: Path
) -> None:
    before = dump(generation)
    change(generation, OTHER_INDEXES)

    await Projector(log, generations).catch_up()

    assert live(generations) == generation
    assert sorted(dump(generation).splitlines()) == sorted(before.splitlines())
    await execute(log, upload(11), *processed(11))
    async with running(Projector(log, generations)):
        await reached(log, generations)
    assert live(generations) == generation
    assert (await verify(log, generations)).equal


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE photos ADD COLUMN rating INTEGER",
        "ALTER TABLE photos DROP COLUMN blurhash",
        "DROP VIEW thumbnails",
        "DROP TRIGGER photo_removed",
        "CREATE TABLE albums (id TEXT PRIMARY KEY) STRICT",
    ],
)
async def test_a_generation_that_differs_in_more_is_folded_again(
    log: Log, generations: Generations, generation: Path, sql: str
) -> None:
    before = live_rows(generations)
    change(generation, f"{sql};{OTHER_INDEXES}")

    await Projector(log, generations).catch_up()

    assert live(generations) != generation
    assert live_rows(generations) == before
