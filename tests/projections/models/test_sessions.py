from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sessions.events import Totals
from domain.sessions.session import (
    CloseSession,
    CompleteSession,
    ExpireSession,
    OpenSession,
    RecordDuplicate,
    SessionCommand,
)
from projections import fold
from projections.models import session_list
from projections.models.checkpoints import Coverage
from projections.models.session_list import SessionLine
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Value
from tests.projections.conftest import fold_in, rows
from tests.projections.stories import Chronicle, delete, fail, processed, request, start, upload

WHOSE = {"client_id": "alice", "session_id": "trip"}
NONE = Totals(received=0, duplicates=0, completed=0, failed=0, deleted=0)


def counts_after(db: Connection, *commands: object) -> dict[str, int]:
    """Return the non-zero counts of alice's trip after the commands."""
    fold_in(db, Chronicle.of(*commands).recorded)  # type: ignore[arg-type]
    view = session_list.get(db, "alice", "trip")
    assert view is not None
    counts = {
        "photos": view.photos,
        "queued": view.queued,
        "processing": view.processing,
        "completed": view.completed,
        "failed": view.failed,
    }
    return {name: count for name, count in counts.items() if count}


def test_a_session_counts_its_photos_by_status(db: Connection) -> None:
    story = [
        upload(1),
        upload(2),
        upload(3),
        upload(4),
        *processed(1),
        start(2),
        start(3),
        fail("validation", number=3),
    ]

    assert counts_after(db, *story) == {
        "photos": 4,
        "queued": 1,
        "processing": 1,
        "completed": 1,
        "failed": 1,
    }


def test_another_run_moves_a_photo_back_to_queued(db: Connection) -> None:
    assert counts_after(db, upload(), *processed(), request()) == {"photos": 1, "queued": 1}


def test_a_deleted_photo_leaves_the_counts(db: Connection) -> None:
    assert counts_after(db, upload(1), upload(2), *processed(1), delete(1)) == {
        "photos": 1,
        "queued": 1,
    }


def test_a_photo_without_a_session_counts_in_none(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(session_id=None), start()).recorded)

    assert db.execute("SELECT count(*) FROM sessions") == [(0,)]


def test_clients_may_use_the_same_session_name(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(1), upload(2), upload(3, client_id="bob")).recorded)

    at = "2026-11-23T10:00:02.000Z"
    bob = SessionLine(
        session_id="trip",
        client_id="bob",
        status="open",
        expected=None,
        received=1,
        duplicates=0,
        photos=1,
        queued=1,
        processing=0,
        completed=0,
        failed=0,
        opened_at=at,
        first_uploaded_at=at,
        last_uploaded_at=at,
        closed_at=None,
        completed_at=None,
        expired_at=None,
    )
    assert session_list.get(db, "bob", "trip") == bob
    assert session_list.get(db, "carol", "trip") is None
    alice, other = session_list.find(db, "trip")
    assert other == bob
    assert (alice.client_id, alice.photos) == ("alice", 2)
    assert (alice.first_uploaded_at, alice.last_uploaded_at) == (
        "2026-11-23T10:00:00.000Z",
        "2026-11-23T10:00:01.000Z",
    )


def opened(expected: int | None = None, session_id: str = "trip") -> OpenSession:
    return OpenSession(client_id="alice", session_id=session_id, expected=expected)


def duplicate(number: int) -> RecordDuplicate:
    return RecordDuplicate(**WHOSE, upload=str(number), duplicate_of="p", original_filename="a.jpg")


CLOSE = CloseSession(**WHOSE)


class Story:
    """A story that goes on from what the read model shows, as a gateway does."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._chronicle = Chronicle()
        self._folded = 0

    def then(self, *commands: Any) -> "Story":
        for each in commands:
            self._chronicle.add(each)
        fold_in(self._db, self.recorded[self._folded :])
        self._folded = len(self.recorded)
        return self

    @property
    def recorded(self) -> list[Recorded]:
        return self._chronicle.recorded

    @property
    def trip(self) -> SessionLine:
        found = session_list.get(self._db, "alice", "trip")
        assert found is not None
        return found

    def complete(self) -> SessionCommand:
        """Return the command for the only session that is done."""
        (due,) = session_list.done(self._db, 10)
        upto = str(Position(0, *due.changed))
        return CompleteSession(**WHOSE, totals=due.line.totals, seen=due.events, upto=upto)

    def expire(self, before: str = "2030") -> SessionCommand:
        (due,) = session_list.idle(self._db, before, 10)
        upto = str(Position(0, *due.active))
        return ExpireSession(**WHOSE, totals=due.line.totals, seen=due.events, upto=upto)


def test_a_session_counts_what_was_received_and_what_was_there_already(db: Connection) -> None:
    story = Story(db).then(opened(9), upload(1), duplicate(1), duplicate(2), upload(2), delete(2))

    trip = story.trip
    assert (trip.status, trip.expected, trip.received, trip.duplicates) == ("open", 9, 2, 2)
    assert (trip.photos, trip.totals.deleted) == (1, 1)


def test_a_session_is_open_from_its_first_upload_until_it_is_closed(db: Connection) -> None:
    story = Story(db).then(upload(1))
    assert (story.trip.status, story.trip.closed_at) == ("open", None)
    assert not session_list.is_closed(db, "alice", "trip")

    story.then(CLOSE)

    assert story.trip.status == "closed"
    assert story.trip.closed_at is not None
    assert session_list.is_closed(db, "alice", "trip")
    assert not session_list.is_closed(db, "bob", "trip")
    assert not session_list.is_closed(db, "alice", "other")


def test_a_closed_session_is_done_once_its_photos_are_and_again_after_a_retry(
    db: Connection,
) -> None:
    story = Story(db).then(upload(1), upload(2), CLOSE)
    assert session_list.done(db, 10) == []

    story.then(*processed(1), start(2), fail("validation", number=2))
    story.then(story.complete())

    totals = Totals(received=2, duplicates=0, completed=1, failed=1, deleted=0)
    assert story.trip.totals == totals
    assert story.trip.completed_at is not None
    assert session_list.done(db, 10) == []
    story.then(delete(1))
    assert session_list.done(db, 10) == []  # nothing was processed
    story.then(request(2), start(2, 2))
    assert session_list.done(db, 10) == []
    story.then(fail("validation", number=2, run=2))
    assert [due.line.totals.failed for due in session_list.done(db, 10)] == [1]


def test_a_closed_session_without_photos_is_done(db: Connection) -> None:
    story = Story(db).then(opened(), CLOSE)

    story.then(story.complete())

    assert session_list.done(db, 10) == []


def test_totals_that_miss_a_change_do_not_count_as_the_last(db: Connection) -> None:
    story = Story(db).then(upload(1), *processed(1), CLOSE)
    late = story.complete()
    story.then(request(1), start(1, 2))

    story.then(late, fail("validation", run=2))

    assert [due.line.totals.failed for due in session_list.done(db, 10)] == [1]


def test_an_idle_session_expires_and_the_next_upload_opens_it(db: Connection) -> None:
    story = Story(db).then(upload(1))
    assert session_list.idle(db, "2030", 10) == []  # it is being processed
    story.then(*processed(1))
    assert session_list.idle(db, "2026-11-23T10:00:00.000Z", 10) == []  # it was just used

    story.then(story.expire())

    assert (story.trip.status, story.trip.totals.completed) == ("expired", 1)
    assert session_list.idle(db, "2030", 10) == []
    story.then(upload(2))
    assert (story.trip.status, story.trip.expired_at, story.trip.received) == ("open", None, 2)


def test_an_upload_that_comes_before_the_expiry_keeps_the_session_open(db: Connection) -> None:
    story = Story(db).then(upload(1), *processed(1))
    late = story.expire()

    story.then(upload(2), late)

    assert (story.trip.status, story.trip.expired_at) == ("open", None)


def test_the_failures_of_a_session_are_listed_with_their_reasons(db: Connection) -> None:
    story = Story(db)
    for number in (1, 2, 3):
        story.then(upload(number), start(number))
    story.then(fail("validation", number=1), fail("validation", number=3))
    story.then(upload(4, session_id="other"), start(4), fail("validation", number=4))

    first, second = session_list.failures(db, "alice", "trip", "", 10)

    assert (first.original_filename, second.original_filename) == ("1.jpg", "3.jpg")
    assert (first.stage, first.code, first.attempts) == ("validation", "unreadable-image", 1)
    assert first.error == "This is no picture."
    assert session_list.failures(db, "alice", "trip", first.photo_id, 10) == [second]


def test_lists_are_filtered_by_client_and_status_and_come_in_pages(db: Connection) -> None:
    names = [f"s{number}" for number in range(5)]
    story = Story(db)
    for name in names:
        story.then(opened(session_id=name))
    story.then(upload(1, client_id="bob"), CloseSession(client_id="alice", session_id="s1"))

    def listed(limit: int = 10, cursor: str | None = None, **filters: str) -> list[str]:
        items, end = session_list.page(db, filters=filters, cursor=cursor, limit=limit)
        rest = listed(limit, end, **filters) if end else []
        return [f"{each.client_id}/{each.session_id}" for each in items] + rest

    alices = {f"alice/{name}" for name in names}
    assert set(listed()) == alices | {"bob/trip"}
    for limit in (1, 2, 10):
        assert set(listed(limit, client_id="alice")) == alices
        assert len(listed(limit, client_id="alice")) == len(alices)
        assert set(listed(limit, client_id="alice", status="open")) == alices - {"alice/s1"}
        assert listed(limit, status="closed") == ["alice/s1"]
    assert [session_list.open_of(db, "alice", most) for most in (2, 10)] == [2, 4]


def test_due_sessions_are_found_by_their_own_index(db: Connection) -> None:
    for sql, values in ((session_list.IDLE, ("2030", 10)), (session_list.DONE, (10,))):
        (plan,) = db.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        index = "sessions_idle" if sql is session_list.IDLE else "sessions_done"
        assert f"USING INDEX {index}" in plan[-1]
        assert "TEMP B-TREE" not in plan[-1]


def test_what_the_read_model_knows_says_whether_the_session_has_events(db: Connection) -> None:
    story = Story(db).then(upload(1))
    last = story.recorded[-1].position

    assert session_list.known(db, "alice", "trip", 0).without == last
    assert session_list.known(db, "alice", "other", 0).without == last
    story.then(opened(3))
    assert session_list.known(db, "alice", "trip", 0).without is None


STORY: tuple[Any, ...] = (
    *(opened(3), upload(1), duplicate(1), *processed(1), upload(2), start(2)),
    *(fail("validation", number=2), upload(3, session_id="other"), CLOSE),
    *(CompleteSession(**WHOSE, totals=NONE, seen=3, upto="0:1795428000005-0"), request(2)),
    *(ExpireSession(client_id="alice", session_id="other", totals=NONE, seen=0, upto="0:1-0"),),
    *(upload(4, session_id="other"), start(2, 2), fail("validation", number=2, run=2)),
)


@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_split_of_a_story_folds_to_the_same_rows(
    tmp_path_factory: Any, cuts: list[int]
) -> None:
    recorded = Chronicle.of(*STORY).recorded
    folder: Path = tmp_path_factory.mktemp("split")
    with (
        closing(fold.create(folder / "whole.sqlite", "log", Coverage.whole(3))) as whole,
        closing(fold.create(folder / "parts.sqlite", "log", Coverage.whole(3))) as parts,
    ):
        fold_in(whole, recorded)
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(recorded)], strict=True):
            fold_in(parts, recorded[max(0, begin - 2) : end])  # some come twice

        assert rows(parts) == rows(whole)


@pytest.mark.parametrize("names", [(), ("client_id",), ("status",), ("client_id", "status")])
def test_a_page_of_sessions_reads_an_index_in_order(db: Connection, names: tuple[str, ...]) -> None:
    values: dict[str, Value] = {"limit": 1, "last_at": "", "last_id": ""}
    values |= dict.fromkeys(names, "")
    both = len(names) == 2
    listing = session_list.LISTING_OF_STATUS if both else session_list.LISTING

    plan = db.execute(f"EXPLAIN QUERY PLAN {listing.sql(values)}", values)

    told = " ".join(str(row[3]) for row in plan)
    assert "SCAN" not in told
    assert "TEMP B-TREE" not in told
