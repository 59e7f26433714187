"""Upload sessions: commands, state and rules.

An upload opens a session that does not exist; ``OpenSession`` is for clients that say beforehand
how much they will upload. Only ``CloseSession`` ends one for good. One that is idle expires, which
loses nothing: the next upload opens it again. The state has no counts. Those are a fold of the
events of the photos too, and the read model has them.
"""

from typing import assert_never

import msgspec

from domain.rejections import SessionIsClosed
from domain.sessions.events import (
    DuplicateFound,
    SessionClosed,
    SessionCompleted,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    Totals,
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all commands on a session of a client."""

    client_id: str
    session_id: str


class OpenSession(Command, frozen=True, kw_only=True):
    """Open the session, or change how many photos are ``expected``; None leaves that as it is."""

    expected: int | None = None


class RecordDuplicate(Command, frozen=True, kw_only=True):
    """Record an upload into the session whose bytes are those of the photo ``duplicate_of``.

    ``upload`` identifies the upload: one that is repeated counts once.
    """

    upload: str
    duplicate_of: str
    original_filename: str


class CloseSession(Command, frozen=True, kw_only=True):
    """Take no more uploads into the session. ``reason`` is that of an operator."""

    reason: str | None = None


class CompleteSession(Command, frozen=True, kw_only=True):
    """Record what came of a closed session whose photos have all been processed.

    ``totals`` include ``seen`` events of the session, and all events up to ``upto``. A reader that
    has missed events of the session changes nothing.
    """

    totals: Totals
    seen: int
    upto: str


class ExpireSession(Command, frozen=True, kw_only=True):
    """Expire an open session whose last upload, at ``upto``, is long ago; see CompleteSession."""

    totals: Totals
    seen: int
    upto: str


SessionCommand = OpenSession | RecordDuplicate | CloseSession | CompleteSession | ExpireSession


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a session that the rules need; ``events`` counts its own events.

    ``opened`` is false while only uploads have opened it, and after it has expired. ``recent`` are
    the last ``RECENT`` uploads that were duplicates.
    """

    opened: bool = False
    closed: bool = False
    expected: int | None = None
    events: int = 0
    recent: tuple[str, ...] = ()


RECENT = 100

NEW = Session()


def decide(command: SessionCommand, session: Session) -> tuple[SessionEvent, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        SessionIsClosed: the session takes no more uploads.
    """
    whose = {"client_id": command.client_id, "session_id": command.session_id}
    match command:
        case OpenSession():
            if session.closed:
                raise SessionIsClosed(
                    f"The session {command.session_id[:64]!r} is closed for good: it cannot be "
                    "opened again.",
                    advice="Open a session with another id.",
                )
            expected = session.expected if command.expected is None else command.expected
            if session.opened and expected == session.expected:
                return ()
            return (SessionOpened(**whose, expected=expected),)
        case RecordDuplicate():
            if command.upload in session.recent:
                return ()
            if session.closed:
                raise is_closed(command.session_id)
            return (
                DuplicateFound(
                    **whose,
                    upload=command.upload,
                    duplicate_of=command.duplicate_of,
                    original_filename=command.original_filename,
                ),
            )
        case CloseSession():
            return () if session.closed else (SessionClosed(**whose, reason=command.reason),)
        case CompleteSession():
            if not session.closed or command.seen != session.events:
                return ()
            return (SessionCompleted(**whose, totals=command.totals, upto=command.upto),)
        case ExpireSession():
            if session.closed or command.seen != session.events:
                return ()
            return (SessionExpired(**whose, totals=command.totals, upto=command.upto),)
        case _:
            assert_never(command)


def evolve(session: Session, event: SessionEvent) -> Session:
    """Return the session after ``event``."""
    session = msgspec.structs.replace(session, events=session.events + 1)
    replace = msgspec.structs.replace
    match event:
        case SessionOpened():
            return replace(session, opened=True, expected=event.expected)
        case SessionClosed():
            return replace(session, closed=True)
        case SessionExpired():
            return replace(session, opened=False)
        case DuplicateFound():
            return replace(session, recent=(*session.recent, event.upload)[-RECENT:])
        case SessionCompleted():
            return session
        case _:
            assert_never(event)


def is_at_rest(last: SessionEvent) -> bool:
    """Return whether a session with this last event changes only if it is used again."""
    return isinstance(last, SessionCompleted | SessionExpired)


def is_closed(session_id: str) -> SessionIsClosed:
    """Return the rejection of anything that would add to a closed session."""
    return SessionIsClosed(
        f"The session {session_id[:64]!r} is closed: it takes no more uploads.",
        advice="Upload the photo under another sessionId, or without one.",
    )
