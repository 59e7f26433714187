"""The events of an upload session.

A session belongs to the client that uses its id, and its events are in the partition of that
client's photos, in one order with theirs. They form a chain of their own, named ``chain_of``. The
uploads of a session are events of photos: their metadata names the session.
"""

import uuid
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

CHAINS = uuid.UUID("5c3b86cd-7a70-4f0b-9d0a-2f0d1b9b7c44")
"""Namespace of the names of chains."""

CHAIN = "session-"
"""How the names of chains begin, which tells them from the ids of photos."""

EXPECTED_MAX = 1_000_000

Expected = Annotated[int, Meta(ge=1, le=EXPECTED_MAX)]
"""How many photos a client says that it will upload in a session."""


def chain_of(client_id: str, session_id: str) -> str:
    """Return the name of the session's chain: 44 characters, none of them a space."""
    return f"{CHAIN}{uuid.uuid5(CHAINS, client_id + chr(10) + session_id)}"


class Totals(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of a session.

    ``received`` counts uploads of new bytes; they are now ``completed``, ``failed`` or ``deleted``.
    ``duplicates`` counts uploads of bytes that the client had already. ``expected`` is None if the
    client has not said how many photos it would upload.
    """

    received: int
    duplicates: int
    completed: int
    failed: int
    deleted: int
    expected: int | None = None


class SessionData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The base of all events of a session."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    client_id: str
    session_id: str

    @property
    def photo_id(self) -> str:
        """The name of the session's chain, which stands where the events of photos have an id."""
        return chain_of(self.client_id, self.session_id)


class SessionOpened(SessionData, frozen=True, kw_only=True):
    """The client has opened the session, opened it again, or changed how much it expects."""

    TYPE: ClassVar[str] = "session.opened"

    expected: int | None = None


class DuplicateFound(SessionData, frozen=True, kw_only=True):
    """An upload into the session had the bytes of the client's photo ``duplicate_of``.

    ``upload`` identifies the upload, so that one that is repeated counts once.
    """

    TYPE: ClassVar[str] = "session.duplicate.found"

    upload: str
    duplicate_of: str
    original_filename: str


class SessionClosed(SessionData, frozen=True, kw_only=True, omit_defaults=True):
    """The session takes no more uploads. Photos in it may still be processed."""

    TYPE: ClassVar[str] = "session.closed"

    reason: str | None = None


class SessionCompleted(SessionData, frozen=True, kw_only=True):
    """All photos of a closed session have been processed; ``totals`` say what came of it.

    They include all events up to the position ``upto``. If photos are processed again, the event
    comes again, with the totals that follow.
    """

    TYPE: ClassVar[str] = "session.completed"

    totals: Totals
    upto: str


class SessionExpired(SessionData, frozen=True, kw_only=True):
    """Nothing was uploaded into the open session for a long time; the last was at ``upto``.

    The next upload opens it again. An upload later than ``upto``, even if it comes before this
    event, has kept it open.
    """

    TYPE: ClassVar[str] = "session.expired"

    totals: Totals
    upto: str


SessionEvent = SessionOpened | DuplicateFound | SessionClosed | SessionCompleted | SessionExpired
