"""A photo as the log has it, and what a command led to."""

from collections.abc import Callable

import msgspec

from domain.photo.events import FIRST_PREV, Event
from domain.photo.state import Photo, evolve
from store.log import codec
from store.log.position import Position
from store.log.recorded import Recorded


class Loaded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A photo as its events leave it.

    ``position`` and ``digest`` are those of its last event. ``evicted`` says that Redis has no
    state of the photo, because it is at rest: an append has to put it back first.
    """

    photo: Photo | None = None
    version: int = 0
    digest: str = FIRST_PREV
    position: Position | None = None
    evicted: bool = False


Requirement = Callable[[Loaded], None]
"""Raises if the photo is not in the state that the sender of a command requires."""


Expectation = Callable[[Loaded], None]
"""Takes note of a photo as an append under way is to leave it; it has no position."""


class Appended(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The command's ``events``, at least one, are in the log; they leave the photo ``after``.

    ``entry_ids`` are theirs. ``task_ids`` are those of the tasks that the same step has dispatched,
    empty for a task that waits in its lane.
    """

    events: tuple[Event, ...]
    after: Loaded
    entry_ids: tuple[bytes, ...] = ()
    task_ids: tuple[bytes, ...] = ()

    @property
    def position(self) -> Position | None:
        return self.after.position


class Unchanged(msgspec.Struct, frozen=True, kw_only=True):
    """The photo already is as the command wants it, which may be the command's own doing."""

    after: Loaded

    @property
    def position(self) -> Position | None:
        return self.after.position


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """A command with the same idempotency key was done before.

    It made the photo ``photo_id``; ``position`` is that of the last event it appended.
    """

    photo_id: str
    position: Position


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """The client has a photo with the same bytes; ``position`` is that of its last event."""

    photo: Photo
    position: Position


class KeyReused(msgspec.Struct, frozen=True):
    """An upload of other bytes with the same idempotency key met a duplicate before."""

    @property
    def position(self) -> None:
        return None


Outcome = Appended | Unchanged | Repeated | Duplicate | KeyReused
"""The outcome of a command. Only an upload leads to ``Duplicate``, and only a command with an
idempotency key to ``Repeated`` or ``KeyReused``."""


def with_event(loaded: Loaded, recorded: Recorded) -> Loaded:
    """Return the photo with its next event."""
    return Loaded(
        photo=evolve(loaded.photo, recorded.event),
        version=recorded.event.metadata.photo_version,
        digest=codec.digest(recorded.body),
        position=recorded.position,
    )
