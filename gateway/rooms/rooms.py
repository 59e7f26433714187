"""The rooms: which events each contains, and who may enter it.

| name | contains the events of | a client may enter it |
|---|---|---|
| ``client``, ``client:<id>`` | one client's photos | if it is that client |
| ``session:<id>`` | the photos uploaded in one session | always, but sees only its own there |
| ``photo:<id>`` | one photo | if it owns the photo |
| ``global`` | everything | never |

Operators and auditors may enter any room.
"""

from functools import lru_cache

import msgspec

from gateway.dependencies import Dependencies
from gateway.http.auth import Principal, Role
from gateway.http.problems import Refused
from gateway.http.session_ids import checked_session_id
from gateway.queries.reading import owner_to_change
from projections.models.history import HistoryEntry, Room
from store.log.log import Log
from store.log.position import Position

SHOWN = 64
"""Characters of an invalid name that the error repeats."""

KEPT = 1_000
"""Photos whose rooms are kept for their next event and for the other readers of this one."""

Positions = dict[int, Position]
"""A position in each partition of a room, by partition, in ascending order."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A room that may be entered, its full name, and the partitions of its events."""

    name: str
    room: Room
    partitions: tuple[int, ...]


async def admit(name: str, principal: Principal, deps: Dependencies) -> Admission:
    """Find the room and check that ``principal`` may enter it.

    Raises:
        Refused: ``invalid-room``; ``invalid-session``; ``forbidden``; ``photo-not-found``, both for
            an unknown photo and for another client's; ``read-model-behind``.
        Unavailable: the log or the read model does not answer.
    """
    kind, _, id_ = name.partition(":")
    match kind:
        case "client" if name == "client" or id_:
            client_id = id_ or principal.client_id
            if not principal.may_see(client_id):
                raise Refused("forbidden", "This room belongs to another client.")
            return client_room(client_id, deps.log)
        case "session" if id_:
            is_client = principal.role is Role.CLIENT
            return session_room(id_, principal.client_id if is_client else None, deps.log)
        case "photo" if id_:
            owner = await owner_to_change(deps, id_, principal)
            room = Room(kind="photo", id=id_, client_id=owner.client_id)
            return _admission(name, room, deps.log)
        case "global" if name == "global":
            if principal.role is Role.CLIENT:
                raise Refused("forbidden", "Only operators and auditors may enter this room.")
            return _admission(name, Room(kind="global", id="", client_id=None), deps.log)
        case _:
            raise Refused("invalid-room", f"There is no room {name[:SHOWN]!r}.")


def client_room(client_id: str, log: Log) -> Admission:
    """Return the admission to the client's room."""
    room = Room(kind="client", id=client_id, client_id=client_id)
    return _admission(f"client:{client_id}", room, log)


def session_room(session_id: str, client_id: str | None, log: Log) -> Admission:
    """Return the admission to the client's session; without a client, to those of all clients.

    Raises:
        Refused: ``invalid-session``.
    """
    session_id = checked_session_id(session_id)
    room = Room(kind="session", id=session_id, client_id=client_id)
    return _admission(f"session:{session_id}", room, log)


def _admission(name: str, room: Room, log: Log) -> Admission:
    if room.client_id is None:
        partitions = tuple(range(log.partitions))
    else:
        partitions = (log.partition_of(room.client_id),)
    return Admission(name=name, room=room, partitions=partitions)


def rooms_of(entry: HistoryEntry) -> tuple[Room, ...]:
    """Return every room that contains the entry, equal to the rooms of admissions."""
    return _rooms(entry.client_id, entry.photo_id, entry.session_id)


@lru_cache(KEPT)
def _rooms(client_id: str, photo_id: str, session_id: str | None) -> tuple[Room, ...]:
    rooms = (
        Room(kind="global", id="", client_id=None),
        Room(kind="client", id=client_id, client_id=client_id),
        Room(kind="photo", id=photo_id, client_id=client_id),
    )
    if session_id is None:
        return rooms
    return (
        *rooms,
        Room(kind="session", id=session_id, client_id=client_id),
        Room(kind="session", id=session_id, client_id=None),
    )


def parse_positions(text: str) -> Positions:
    """Parse positions joined by commas; raises Refused, ``invalid-position``."""
    try:
        positions = [Position.parse(part) for part in text.split(",")]
    except ValueError as error:
        advice = "Send the id of the last event that you received, unchanged."
        raise Refused("invalid-position", str(error), advice=advice) from error
    return {position.partition: position for position in positions}


def join_positions(positions: Positions) -> str:
    """Join the positions with commas: one for each partition of the room."""
    return ",".join(str(position) for position in positions.values())
