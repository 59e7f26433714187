"""A photo as the log has it, and what a command led to."""

from collections.abc import Callable

import msgspec

from domain.photo.events import FIRST_PREV, Event
from domain.photo.state import Photo
from store.log.position import Position


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A photo as its events leave it. ``digest`` is that of its last event."""

    photo: Photo | None = None
    version: int = 0
    digest: str = FIRST_PREV
    position: Position | None = None


Requirement = Callable[[Loaded], None]
"""Raises if the photo is not as the sender of a command wants it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command led to.

    ``position`` is that of the photo's last event, ``after`` the photo as it is then. Nothing was
    appended where ``repeat_of`` is the photo of an equal command done under the same idempotency
    key, ``duplicate_of`` the client's photo that has the same bytes, or ``reused`` says that the
    key found a photo of other bytes before.
    """

    events: tuple[Event, ...] = ()
    photo: Photo | None = None
    position: Position | None = None
    after: Loaded | None = None
    repeat_of: str | None = None
    duplicate_of: str | None = None
    reused: bool = False
