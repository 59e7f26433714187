"""The rules of upload sessions."""

from collections.abc import Iterable

import msgspec
import pytest

from domain.photo.state import evolve as evolve_photo
from domain.rejections import SessionIsClosed
from domain.sessions.events import (
    DuplicateFound,
    SessionClosed,
    SessionCompleted,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    Totals,
    chain_of,
)
from domain.sessions.session import (
    NEW,
    RECENT,
    CloseSession,
    CompleteSession,
    ExpireSession,
    OpenSession,
    RecordDuplicate,
    Session,
    SessionCommand,
    decide,
    evolve,
)
from tests.domain.stories import event

WHOSE = {"client_id": "alice", "session_id": "trip"}
TOTALS = Totals(received=3, duplicates=1, completed=2, failed=1, deleted=0)

OPEN = OpenSession(client_id="alice", session_id="trip")
CLOSE = CloseSession(**WHOSE)
OPENED = SessionOpened(client_id="alice", session_id="trip")
CLOSED = SessionClosed(**WHOSE)
DUPLICATE = RecordDuplicate(**WHOSE, upload="u1", duplicate_of="p", original_filename="a.jpg")
FOUND = DuplicateFound(**WHOSE, upload="u1", duplicate_of="p", original_filename="a.jpg")
EXPIRED = SessionExpired(**WHOSE, totals=TOTALS, upto="0:5-0")


def expire(seen: int) -> ExpireSession:
    return ExpireSession(**WHOSE, totals=TOTALS, seen=seen, upto="0:5-0")


def complete(seen: int) -> CompleteSession:
    return CompleteSession(**WHOSE, totals=TOTALS, seen=seen, upto="0:5-0")


def fold(events: Iterable[SessionEvent]) -> Session:
    session = NEW
    for each in events:
        session = evolve(session, each)
    return session


@pytest.mark.parametrize(
    ("before", "command", "after"),
    [
        ((), OPEN, (OPENED,)),
        ((OPENED,), OPEN, ()),
        ((OPENED,), OpenSession(**WHOSE, expected=7), (SessionOpened(**WHOSE, expected=7),)),
        ((SessionOpened(**WHOSE, expected=7),), OPEN, ()),
        ((OPENED, EXPIRED), OPEN, (OPENED,)),
        (
            (SessionOpened(**WHOSE, expected=7), EXPIRED),
            OPEN,
            (SessionOpened(**WHOSE, expected=7),),
        ),
        ((), CLOSE, (CLOSED,)),
        ((OPENED, CLOSED), CLOSE, ()),
        ((), DUPLICATE, (FOUND,)),
        ((FOUND,), DUPLICATE, ()),
        ((FOUND, CLOSED), DUPLICATE, ()),
        ((), expire(0), (EXPIRED,)),
        ((OPENED,), expire(1), (EXPIRED,)),
        ((OPENED, CLOSED), expire(2), ()),
        ((OPENED, CLOSED), complete(2), (SessionCompleted(**WHOSE, totals=TOTALS, upto="0:5-0"),)),
        ((OPENED,), complete(1), ()),
    ],
)
def test_a_command_leads_to_these_events(
    before: tuple[SessionEvent, ...], command: SessionCommand, after: tuple[SessionEvent, ...]
) -> None:
    assert decide(command, fold(before)) == after


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (OPEN, "Open a session with another id."),
        (DUPLICATE, "Upload the photo under another sessionId, or without one."),
    ],
)
def test_a_closed_session_takes_nothing_more(command: SessionCommand, advice: str) -> None:
    with pytest.raises(SessionIsClosed, match="'trip' is closed") as error:
        decide(command, fold((OPENED, CLOSED)))
    assert error.value.advice == advice


@pytest.mark.parametrize("command", [expire(1), complete(1)])
def test_a_reader_that_has_missed_an_event_ends_nothing(command: SessionCommand) -> None:
    for events in ((), (OPENED, FOUND), (OPENED, CLOSED, FOUND)):
        assert decide(command, fold(events)) == ()


def test_the_uploads_that_are_remembered_are_bounded() -> None:
    found = [msgspec.structs.replace(FOUND, upload=str(number)) for number in range(RECENT + 5)]

    assert fold(found).recent == tuple(str(number) for number in range(5, RECENT + 5))


def test_each_session_of_each_client_has_a_chain_of_its_own() -> None:
    names = [("alice", "a"), ("alice", "b"), ("bob", "a"), ("alice", "a b"), ("a", "lice\na")]

    chains = {chain_of(*each) for each in names}

    assert len(chains) == len(names)
    assert all(len(each) == 44 and " " not in each for each in chains)
    assert OPENED.photo_id == chain_of("alice", "trip")


def test_an_event_of_a_session_belongs_to_no_photo() -> None:
    with pytest.raises(TypeError, match=r"session\.opened concerns no photo"):
        evolve_photo(None, event(OPENED))
