"""Folding applies each event once, however the events are batched."""

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from domain.photo import commands as c
from projections import fold
from projections.generation import TABLES
from projections.models import checkpoints
from projections.models.checkpoints import Coverage
from store.errors import Corrupt
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Value
from store.sqlite.packing import unpack
from tests.projections.conftest import fold_in, rows
from tests.projections.stories import (
    SCRIPT,
    Chronicle,
    complete,
    delete,
    erased,
    fail,
    metadata,
    optimization,
    placeholder,
    processed,
    removed,
    request,
    start,
    thumbnails,
    upload,
    validation,
)

pytestmark = pytest.mark.usefixtures("small_pages")

CHOICES: tuple[Callable[[int], Sequence[c.PhotoCommand]], ...] = (
    lambda n: [upload(n, client_id="alice" if n % 2 else "bob")],
    lambda n: [upload(n, session_id=None, client_id="alice" if n % 2 else "bob")],
    lambda n: [start(n)],
    lambda n: [validation(n)],
    lambda n: [metadata(n)],
    lambda n: [thumbnails(n)],
    lambda n: [placeholder(n)],
    lambda n: [optimization(n)],
    lambda n: [complete("faces", number=n)],
    lambda n: [fail("metadata", number=n, retry_at="2026-11-23T11:00:00.000Z")],
    lambda n: [fail("metadata", number=n)],
    lambda n: [request(n), start(n, 2), validation(n, 2), thumbnails(n, 2)],
    lambda n: [delete(n)],
    lambda n: [removed(n)],
    lambda n: [erased(n)],
)


@st.composite
def stories(draw: st.DrawFn) -> list[Recorded]:
    """Generate the events that the rules decide for random commands on three photos."""
    steps = st.tuples(st.sampled_from(CHOICES), st.integers(1, 3))
    commands: list[c.PhotoCommand] = [upload(1)]
    for choose, number in draw(st.lists(steps, max_size=40)):
        commands += choose(number)
    return Chronicle.of(*commands).recorded


def folded(batches: Sequence[Sequence[Recorded]]) -> dict[str, list[tuple[Any, ...]]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(fold.create(Path(folder) / "any.sqlite", "some log", Coverage.whole(3))) as db,
    ):
        for batch in batches:
            fold_in(db, batch)
        return rows(db)


def split(recorded: Sequence[Recorded], cuts: Sequence[int]) -> list[Sequence[Recorded]]:
    edges = sorted({0, len(recorded), *(cut % (len(recorded) + 1) for cut in cuts)})
    return [recorded[begin:end] for begin, end in pairwise(edges)]


def dump(path: Path) -> str:
    """Return the SQL dump that SQLite makes of the file."""
    with closing(sqlite3.connect(path)) as db:
        return "\n".join(db.iterdump())


def test_the_rows_after_the_story(db: Connection, snapshot: SnapshotAssertion) -> None:
    fold_in(db, Chronicle.of(*SCRIPT).recorded)

    views = {"thumbnails": sorted(db.execute("SELECT * FROM thumbnails"), key=repr)}
    for table, found in (rows(db) | views).items():
        columns = [column[1] for column in db.execute(f"PRAGMA table_xinfo({table})")]
        shown = [dict(zip(columns, map(_unpacked, row), strict=True)) for row in found]
        assert shown == snapshot(name=table)


def _unpacked(value: Value) -> Value:
    """Return what a packed value holds; an event of the log is not packed."""
    if isinstance(value, bytes):
        with suppress(Corrupt):
            return unpack(value)
    return value


def test_the_tables(db: Connection, snapshot: SnapshotAssertion) -> None:
    assert db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name") == (
        snapshot
    )


@settings(max_examples=60)
@given(stories(), st.lists(st.integers(0, 200), max_size=6))
def test_any_split_into_batches_gives_the_same_rows(
    recorded: list[Recorded], cuts: list[int]
) -> None:
    assert folded(split(recorded, cuts)) == folded([recorded])


@settings(max_examples=40)
@given(stories(), st.lists(st.integers(0, 200), min_size=1, max_size=4))
def test_redelivered_events_change_nothing(recorded: list[Recorded], cuts: list[int]) -> None:
    batches = split(recorded, cuts)
    again = [recorded[: len(recorded) // 2], *[b for batch in batches for b in (batch, batch)]]

    assert folded([*again, recorded]) == folded([recorded])


def test_two_folds_are_equal_to_the_byte(tmp_path: Path) -> None:
    recorded = Chronicle.of(*SCRIPT).recorded
    for name in ("one", "two"):
        with closing(fold.create(tmp_path / name, "some log", Coverage.whole(3))) as db:
            fold_in(db, recorded)

    assert dump(tmp_path / "one") == dump(tmp_path / "two")


def test_the_checkpoint_is_that_of_the_last_event(db: Connection) -> None:
    assert checkpoints.get(db, 0) == Position.start(0)
    recorded = Chronicle.of(*SCRIPT).recorded

    fold_in(db, recorded)

    assert checkpoints.get(db, 0) == recorded[-1].position
    assert checkpoints.get(db, 1) == Position.start(1)
    assert checkpoints.log_id(db) == "some log"


def test_rows_and_checkpoint_commit_together_or_not_at_all(db: Connection) -> None:
    recorded = Chronicle.of(upload(), *processed()).recorded
    fold_in(db, recorded[:2])
    before = rows(db)

    with pytest.raises(Interrupted):
        _interrupted(db, recorded)

    assert rows(db) == before
    assert checkpoints.get(db, 0) == recorded[1].position


class Interrupted(Exception):
    pass


def _interrupted(db: Connection, recorded: Sequence[Recorded]) -> None:
    with db.transaction():
        fold.apply(db, recorded)
        raise Interrupted


def test_partitions_have_checkpoints_of_their_own(db: Connection) -> None:
    zero = Chronicle.of(upload(1)).recorded
    one = Chronicle(partition=1)
    one.add(upload(2, client_id="bob"))

    fold_in(db, zero)
    fold_in(db, one.recorded)

    assert checkpoints.get(db, 0) == zero[-1].position
    assert checkpoints.get(db, 1) == one.recorded[-1].position
    assert len(rows(db)["photos"]) == 2


def test_every_table_is_strict(db: Connection) -> None:
    loose = db.execute("SELECT name FROM pragma_table_list WHERE strict = 0 AND type = 'table'")

    assert [name for (name,) in loose if not name.startswith("sqlite_")] == []
    assert set(TABLES) <= {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
