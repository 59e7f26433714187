"""A read model that covers some partitions of the log: what folds it, and what its readers say."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from projections.models import checkpoints, history, jobs, photos, session_list, timeline
from projections.models.checkpoints import Coverage
from projections.projector import Projector
from projections.rebuild import rebuild
from projections.rollback import roll_back
from projections.verify import verify
from store.errors import NotCovered
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader
from tests.conftest import home
from tests.projections.conftest import execute, history_of
from tests.projections.stories import photo_id, upload

HERE, THERE = "alice", "erin"
PHOTO, OTHER = photo_id(1), photo_id(2)


@pytest.fixture
def partitions() -> int:
    return 3


@pytest.fixture
async def written(log: Log) -> Log:
    """A log with a photo in two partitions."""
    assert home(log, HERE) != home(log, THERE)
    await execute(log, upload(1, client_id=HERE), upload(2, client_id=THERE))
    return log


def some(log: Log, generations: Generations) -> Projector:
    return Projector(log, generations, partitions=[home(log, HERE)])


def covered(generations: Generations) -> tuple[int, ...]:
    path = generations.current()
    assert path is not None
    with closing(open_reader(path)) as db:
        return checkpoints.coverage(db).partitions


def photos_in(generations: Generations) -> set[str]:
    path = generations.current()
    assert path is not None
    return {each.photo_id for each in history_of(path)}


async def test_only_the_given_partitions_are_folded(written: Log, generations: Generations) -> None:
    projector = some(written, generations)
    await projector.catch_up()
    await execute(written, upload(3, client_id=HERE))
    await projector.catch_up()

    report = await verify(written, generations)

    assert covered(generations) == (home(written, HERE),)
    assert photos_in(generations) == {PHOTO, photo_id(3)}
    assert report.equal
    assert report.positions == (await written.end(home(written, HERE)),)


async def test_a_rebuild_and_a_rollback_keep_the_coverage(
    written: Log, generations: Generations
) -> None:
    await some(written, generations).catch_up()

    report = await rebuild(written, generations, compare=True)
    rebuilt = covered(generations)
    await roll_back(written, generations)

    assert report.comparison is not None
    assert (report.comparison.equal, report.events, report.evidence) == (True, 1, None)
    assert rebuilt == covered(generations) == (home(written, HERE),)


async def test_a_projector_of_other_partitions_says_what_is_missing_and_rebuilds(
    written: Log, generations: Generations, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = home(written, HERE), home(written, THERE)
    await some(written, generations).catch_up()
    with caplog.at_level(logging.WARNING, "photolog.projector"):
        await Projector(written, generations, partitions=[here, there]).catch_up()
        wider = covered(generations)
        await some(written, generations).catch_up()

    assert wider == tuple(sorted((here, there)))
    assert covered(generations) == (here,)
    assert photos_in(generations) == {PHOTO}
    first, second = [each.getMessage() for each in caplog.records]
    assert f"lacks partitions of the log: {there}" in first
    assert f"partitions that are not followed here: {there}" in second


async def test_partitions_that_the_log_does_not_have_are_rejected(
    log: Log, generations: Generations
) -> None:
    for partitions in ([], [3], [-1, 0]):
        with pytest.raises(ValueError, match="from 0 to 2"):
            Projector(log, generations, partitions=partitions)


FILTERS: dict[str, Any] = dict.fromkeys(
    ("status", "session_id", "uploaded_from", "uploaded_to", "cursor")
)
SOME: dict[str, Any] = {"filters": {"client_id": THERE}, "cursor": None, "limit": 1}

DENIALS: dict[str, Callable[[Connection, Log], object]] = {
    "photo": lambda db, _: photos.get(db, OTHER),
    "owner": lambda db, _: photos.owner(db, OTHER),
    "files": lambda db, _: photos.files(db, OTHER),
    "job": lambda db, _: jobs.get(db, "no such job"),
    "session": lambda db, _: session_list.get(db, THERE, "no such session"),
    "photos": lambda db, _: photos.page(db, client_id=THERE, limit=1, **FILTERS),
    "sessions": lambda db, _: session_list.page(db, **SOME),
    "timeline": lambda db, _: timeline.page(db, by="day", client_id=THERE, cursor=None),
    "checkpoint": lambda db, log: checkpoints.get(db, home(log, THERE)),
    "history": lambda db, log: history.since(db, history_start(log), 1),
    "event": lambda db, log: history.has(db, history_start(log)),
    "latest": lambda db, log: history.latest(db, history_start(log), 1),
    "of client": lambda db, log: history.last_of_client(db, THERE, history_start(log)),
}


def history_start(log: Log) -> Position:
    return Position.start(home(log, THERE))


@pytest.mark.parametrize("what", DENIALS)
async def test_nothing_is_denied_that_another_partition_may_have(
    written: Log, generations: Generations, what: str
) -> None:
    reader = Reader(generations)
    await some(written, generations).catch_up()
    with pytest.raises(NotCovered):
        await reader.query(DENIALS[what], written)

    await Projector(written, generations).catch_up()
    await reader.query(DENIALS[what], written)
    reader.close()


async def test_what_is_covered_is_answered(written: Log, generations: Generations) -> None:
    await some(written, generations).catch_up()
    reader = Reader(generations)

    photo = await reader.query(photos.get, PHOTO)
    page = await reader.query(photos.page, client_id=HERE, limit=1, **FILTERS)
    every = await reader.query(photos.page, client_id=None, limit=9, **FILTERS)
    reader.close()

    assert photo is not None
    assert [each.photo_id for each in page.items] == [PHOTO]
    assert every == page


def test_a_coverage_is_sorted_and_has_each_partition_once() -> None:
    assert Coverage.some([2, 0, 2], 3) == Coverage((0, 2), 3)
