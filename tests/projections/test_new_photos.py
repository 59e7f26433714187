"""Photos whose rows are made apart from the file, in another process, get the same rows."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.photo import commands as c
from domain.sessions.session import CloseSession, OpenSession, RecordDuplicate
from projections import fold, new_photos
from projections.models import history_pages
from projections.models.checkpoints import Coverage
from projections.models.history_pages import Pager
from projections.new_photos import NewPhotos
from projections.reading import Page
from store.log import codec
from store.log.recorded import Recorded
from store.sqlite.connection import Connection
from tests.projections.conftest import rows
from tests.projections.stories import SCRIPT, Chronicle, delete, fail, photo_id, processed, upload
from tests.projections.test_fold import CHOICES, folded, split

pytestmark = pytest.mark.usefixtures("small_pages")

OF_SESSIONS = (
    OpenSession(client_id="alice", session_id="trip", expected=2),
    RecordDuplicate(
        client_id="alice",
        session_id="trip",
        upload=photo_id(9),
        duplicate_of=photo_id(1),
        original_filename="1.jpg",
    ),
    CloseSession(client_id="alice", session_id="trip"),
)


@st.composite
def stories(draw: st.DrawFn) -> list[Recorded]:
    """Generate events of four photos and a session, some of which an operator has caused."""
    steps = st.tuples(st.sampled_from(CHOICES), st.integers(1, 4))
    commands: list[c.PhotoCommand | Any] = []
    for choose, number in draw(st.lists(steps, max_size=30)):
        commands += [draw(st.sampled_from(OF_SESSIONS))] if number == 4 else choose(number)
    whole = draw(st.lists(st.integers(5, 7), max_size=3, unique=True))
    for number in whole:
        commands += [upload(number), *processed(number)]
    recorded = Chronicle.of(upload(1), *commands).recorded
    return [_by_operator(each) if draw(st.booleans()) else each for each in recorded]


def _by_operator(recorded: Recorded) -> Recorded:
    metadata = msgspec.structs.replace(recorded.event.metadata, actor="operator:olga")
    event = msgspec.structs.replace(recorded.event, metadata=metadata)
    return Recorded(position=recorded.position, event=event, body=codec.encode_event(event))


def apart(db: Connection, recorded: Sequence[Recorded]) -> NewPhotos:
    """Fold a batch as a rebuild does whose second process has folded the new photos."""
    new, left = new_photos.fold(recorded)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(new), type=NewPhotos)
    partition = recorded[0].position.partition
    paged = Pager(history_pages.waiting(db, partition)).add(recorded)
    page = Page(
        recorded[-1].position, len(recorded), [recorded[number] for number in left], paged, sent
    )
    with db.transaction():
        fold.apply_page(db, page)
    return sent


def folded_apart(batches: Sequence[Sequence[Recorded]]) -> dict[str, list[tuple[Any, ...]]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(fold.create(Path(folder) / "any.sqlite", "some log", Coverage.whole(1))) as db,
    ):
        for batch in batches:
            apart(db, batch)
        return rows(db)


@settings(max_examples=60)
@given(stories(), st.lists(st.integers(0, 200), max_size=5))
def test_any_split_into_batches_gives_the_same_rows(
    recorded: list[Recorded], cuts: list[int]
) -> None:
    assert folded_apart(split(recorded, cuts)) == folded([recorded])


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_the_story_gives_the_same_rows_wherever_it_is_cut(cut: int) -> None:
    recorded = Chronicle.of(*SCRIPT).recorded

    assert folded_apart(split(recorded, [cut])) == folded([recorded])


def test_photos_without_a_session_or_failures_need_none_of_their_events_again() -> None:
    recorded = Chronicle.of(upload(1, session_id=None), *processed(1)).recorded

    new, left = new_photos.fold(recorded)

    assert new.ids == {photo_id(1)}
    assert left == []


def test_a_photo_that_was_uploaded_before_is_not_new(db: Connection) -> None:
    recorded = Chronicle.of(upload(1, session_id=None), *processed(1), upload(2)).recorded
    apart(db, recorded[:1])

    new = apart(db, recorded[1:])

    assert new.ids == {photo_id(2)}


def test_a_failure_is_applied_with_what_followed() -> None:
    recorded = Chronicle.of(
        upload(1, session_id=None), fail("validation", retry_at="2026-11-23T10:05:00.000Z")
    ).recorded

    _, left = new_photos.fold(recorded)

    assert [recorded[number].event.type for number in left] == [
        each.event.type for each in recorded
    ]


def test_what_an_operator_did_to_a_new_photo_is_listed() -> None:
    recorded = Chronicle.of(upload(1, session_id=None), *processed(1), delete(1)).recorded
    recorded[-1] = _by_operator(recorded[-1])

    found = folded_apart([recorded])

    assert len(found["audit"]) == 1
    assert found == folded([recorded])
