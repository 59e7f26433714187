"""Events with their places in the log, and how they stand in the entries of a stream.

An entry with all of ``FIELDS`` is an event; any other one is foreign. What only unpacks or folds
events needs no connection, so this imports none.
"""

from collections.abc import Sequence
from itertools import chain

import msgspec

from domain.photo.events import Event
from store.errors import Corrupt
from store.log import codec
from store.log.archived import Entries, Page
from store.log.position import Position

FIELDS = frozenset((b"t", b"p", b"v", b"b"))
"""The fields of every event's entry: type, photo, version and body."""

_ORDER = [b"t", b"p", b"v", b"b"]
"""The fields in the order in which an append writes them."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event with its place in the log and its stored bytes."""

    position: Position
    event: Event
    body: bytes


def is_foreign(fields: dict[bytes, bytes]) -> bool:
    """Return whether an entry with these fields is not an event."""
    return not fields.keys() >= FIELDS


def body_of(parts: Sequence[bytes]) -> bytes | None:
    """Return the body of the event in an entry; None if the entry is foreign."""
    if parts[::2] == _ORDER:
        return parts[-1]
    fields = fields_of(parts)
    return None if is_foreign(fields) else fields[b"b"]


def sift(partition: int, entries: Entries) -> tuple[list[Recorded], list[bytes]]:
    """Split the entries into events and the ids of foreign entries; raises Corrupt."""
    return _sift(partition, [(id_, [*chain.from_iterable(f.items())]) for id_, f in entries])


def fields_of(parts: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the fields of an entry with their values, which ``parts`` has in turn."""
    return dict(zip(parts[::2], parts[1::2], strict=False))


def _sift(partition: int, page: Page) -> tuple[list[Recorded], list[bytes]]:
    """Split the entries into events and the ids of foreign entries; raises Corrupt."""
    foreign: list[bytes] = []
    ids: list[bytes] = []
    bodies: list[bytes] = []
    for entry_id, parts in page:
        body = parts[-1] if parts[::2] == _ORDER else body_of(parts)
        if body is None:
            foreign.append(entry_id)
        else:
            ids.append(entry_id)
            bodies.append(body)
    return recorded_of(Position.of_entries(partition, ids), bodies), foreign


def events_in(partition: int, page: Page) -> list[Recorded]:
    """Return the events among the entries; raises Corrupt."""
    return _sift(partition, page)[0]


def recorded_of(positions: Sequence[Position], bodies: Sequence[bytes]) -> list[Recorded]:
    """Decode the events at these positions; raises Corrupt, which names the position."""
    try:
        events = codec.decode_events(bodies)
    except Corrupt:
        for position, body in zip(positions, bodies, strict=True):
            _check(position, body)
        raise
    return [
        Recorded(position=position, event=event, body=body)
        for position, event, body in zip(positions, events, bodies, strict=True)
    ]


def _check(position: Position, body: bytes) -> None:
    try:
        codec.decode_event(body)
    except Corrupt as error:
        raise Corrupt(f"{position}: {error}") from error
