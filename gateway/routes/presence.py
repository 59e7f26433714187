"""``GET /api/ops/presence``: who follows which rooms through this gateway."""

import heapq
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from litestar import get
from litestar.di import NamedDependency

from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.rooms.hub import Hub
from projections.models.history import Kind

MOST = 100
"""The most rooms, and the most senders, of one answer."""

T = TypeVar("T")


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class RoomPresence(_Shape, frozen=True, kw_only=True):
    """A room and its readers. ``client_id`` is null for ``global``, and for the room of an operator
    or auditor that has the sessions of this id of all clients."""

    kind: Kind
    id: str
    client_id: str | None
    readers: int


class SenderPresence(_Shape, frozen=True, kw_only=True):
    """The open streams and WebSockets of one ``sender``: its role, a colon and its client id."""

    sender: str
    connections: int


class Presence(_Shape, frozen=True, kw_only=True):
    """The readers of the gateway that answers.

    ``connections`` are the open ones by transport; ``readers`` count a connection in each of its
    rooms. ``rooms`` and ``senders`` are the ones with the most, up to 100, of ``room_count`` and
    ``sender_count``.
    """

    connections: dict[str, int]
    readers: dict[str, int]
    room_count: int
    rooms: list[RoomPresence]
    sender_count: int
    senders: list[SenderPresence]


@get(
    "/api/ops/presence",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden"),
    tags=["operations"],
    summary="Count readers of rooms",
)
async def show_presence(hub: NamedDependency[Hub]) -> Presence:
    """Return who follows which rooms through the gateway that answers, the busiest first.

    The metrics `photolog_room_readers` and `photolog_room_connections` have the sums of each
    gateway."""
    rooms, senders = hub.readers_by_room(), hub.readers_by_sender()
    return Presence(
        connections={**hub.connections},
        readers={**hub.readers},
        room_count=len(rooms),
        rooms=[
            RoomPresence(kind=room.kind, id=room.id, client_id=room.client_id, readers=count)
            for room, count in _busiest(rooms)
        ],
        sender_count=len(senders),
        senders=[
            SenderPresence(sender=sender, connections=count) for sender, count in _busiest(senders)
        ],
    )


def _busiest(counts: Mapping[T, int]) -> list[tuple[T, int]]:
    return heapq.nlargest(MOST, counts.items(), key=lambda item: item[1])


ROUTES = (show_presence,)
