"""``GET /api/events``: the events of one or more rooms as Server-Sent Events.

| frame | when |
|---|---|
| ``event: ready``, ``id: <position>``, ``data: Ready`` as JSON | first |
| ``id: <position>``, ``data: <event>`` | for each event, in order |
| ``event: ping``, ``data: {}`` | every ``PING_S``, whether or not there are events |

With ``named=true`` each event has its type as the name of its frame (``event: photo.uploaded``), so
that a browser can listen to some types alone. An event of several of the rooms comes once.

A ping keeps the connection open in proxies, and a reader that gets none for longer than the first
frame states knows that the gateway does not answer: browsers do not show comments to a page.

Every ``id`` is a position to resume from: a browser sends the last one as ``Last-Event-ID`` when it
reconnects. Without a position to resume from, the id of the first frame is that of the last event
of the room's client, so that a client never sees a position of another client's event. If the rooms
span several partitions, the id has a position in each, joined by commas. The stream ends when
the token expires or is revoked; reconnecting without a new token returns 401. If the host's history
has not reached the requested position, the answer is 503 ``read-model-behind``: no event is known
to be lost, and the position stays valid.

A position that the log does not have, in the past or in the future, is not an error: the first
frame says ``recovered: false`` immediately, and the stream continues from the last event before it.
The reason: after a loss of events, a well-behaved reader holds a position that the log does not
have, and it must learn that it has to reload. A browser never reconnects after a 4xx. The same
holds for ``/ws``. A single read with ``?after=`` returns 409, because its caller handles the error.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import anyio
import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError

from gateway.access.access import Access
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Principal
from gateway.http.envelope import is_head
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from gateway.limits.throttling import STREAM
from gateway.rooms.frames import KEPT
from gateway.rooms.hub import Hub, Subscriber
from gateway.rooms.messages import PING_S
from gateway.rooms.rooms import Admission, Positions, admit, join_positions, parse_positions
from gateway.rooms.subscription import Entrance, Start
from store.log.position import Position

logger = logging.getLogger("photolog.gateway")

RETRY_MS = 1_000
"""How long a browser waits before it reconnects."""

GRACE_S = 2.0
"""How long a stream may take to end when the server stops, before it is aborted."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``recovered``: no event is missing between the requested position and the first event.

    ``ping_interval_ms`` is the time between two pings.
    """

    recovered: bool
    position: str
    ping_interval_ms: int = PING_S * 1_000


@get(
    "/api/events",
    guards=[only("room", "lastEventId", "named", "ticket", repeated="room")],
    security=[{"bearer": []}, {"cookie": []}, {"ticket": []}],
    opt=STREAM,
    responses={
        200: ResponseSpec(
            str,
            description="A stream of events",
            media_type="text/event-stream",
            generate_examples=False,
        ),
        **problems(
            *("invalid-room", "too-many-rooms", "invalid-session", "invalid-position"),
            *("missing-token", "forbidden", "photo-not-found", "read-model-behind"),
            "invalid-stream-ticket",
        ),
    },
    tags=["events"],
    summary="Follow rooms",
)
async def room_events(
    request: Asked,
    deps: NamedDependency[Dependencies],
    hub: NamedDependency[Hub],
    rooms: Annotated[
        list[str],
        QueryParameter(
            name="room",
            min_items=1,
            description=(
                "`client` (your own), `client:<id>`, `session:<id>`, `photo:<id>` or `global`; "
                "repeat it to follow several rooms."
            ),
        ),
    ],
    last_event_id: Annotated[
        str | None,
        QueryParameter(
            name="lastEventId",
            description="Resume after this event. The `Last-Event-ID` header takes precedence.",
        ),
    ] = None,
    named: Annotated[
        bool,
        QueryParameter(description="Give each frame the type of its event as `event:`."),
    ] = False,
) -> EventSourceResponse:
    """Stream the events of one or more rooms as Server-Sent Events, each event once.

    The stream starts now, or after the event to resume from. The first frame, `ready`, tells
    whether all events since then follow (`recovered`), and each frame's `id` is the position to
    resume from. After `recovered: false`, reload what you show. A `ping` follows every
    `pingIntervalMs` that the first frame states; without it, the server does not answer."""
    if len(rooms) > deps.limits.rooms_per_socket:
        raise Refused("too-many-rooms", f"At most {deps.limits.rooms_per_socket} rooms.")
    admissions = {each.name: each for each in [await admit(n, request.user, deps) for n in rooms]}
    # A browser that reconnects sends the header, but to its original URL.
    resume = request.headers.get("last-event-id") or last_event_id
    asked = parse_positions(resume) if resume else None
    replacements, own = hub.replacements, request.user.own
    after = await hub.reached(asked, own)
    entrances = [
        Entrance(
            admission=each,
            after=_of_room(each, after, admissions),
            begin=await hub.begin(each, _of_room(each, asked, admissions), own),
        )
        for each in admissions.values()
    ]
    return _Stream(hub, _Entry(entrances, replacements, named), request.user, request.auth)


def _of_room(
    room: Admission, positions: Positions | None, rooms: Mapping[str, Admission]
) -> Positions | None:
    """Return the positions of the room's partitions, if they are those of all ``rooms``."""
    if positions is None or positions.keys() != {
        p for each in rooms.values() for p in each.partitions
    }:
        return positions
    return {partition: positions[partition] for partition in room.partitions}


class _Entry(NamedTuple):
    """The arguments of ``Subscriber.enter_together``, and whether frames are named."""

    entrances: list[Entrance]
    replacements: int
    named: bool


class _Stream(EventSourceResponse):
    """A response that ends cleanly when the server stops or the token is revoked.

    It is closed when its client reads nothing for ``Limits.slow_reader_s``.

    The subscription lasts as long as the body: a response that never starts leaves nothing behind.
    """

    def __init__(
        self,
        hub: Hub,
        entry: _Entry,
        principal: Principal,
        access: Access,
    ) -> None:
        self._hub = hub
        self._access = access
        self._subscriber: Subscriber | None = None
        self._stopping = anyio.Event()
        super().__init__(  # pyright: ignore[reportUnknownMemberType] # types of the library
            self._frames(entry, principal),
            ping=PING_S,
            ping_message_factory=_ping,
            send_timeout=hub.limits.slow_reader_s,
            shutdown_event=self._stopping,
            shutdown_grace_period=GRACE_S,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if is_head(scope):  # headers need no subscription
            status, headers = self.status_code, self.raw_headers
            await send({"type": "http.response.start", "status": status, "headers": headers})
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_when_stopping)
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                self._hub.slow_readers += 1
                logger.info("closed an event stream: the client read nothing")
            tasks.cancel_scope.cancel()

    async def _end_when_stopping(self) -> None:
        await self._stopping.wait()
        if self._subscriber is not None:
            self._subscriber.end()

    async def _frames(self, entry: _Entry, principal: Principal) -> AsyncGenerator[bytes]:
        with (
            self._hub.subscribe("sse", principal.subject) as subscriber,
            self._access.staying(principal, lambda _: self._stopping.set()),
            _ending_at(principal.expires, subscriber),
        ):
            self._subscriber = subscriber
            starts = subscriber.enter_together(entry.entrances, entry.replacements)
            positions = _earliest(starts)
            recovered = all(start.recovered for start in starts)
            yield _ready(recovered, join_positions(positions))
            while batch := await subscriber.next_batch():
                frames: list[bytes] = []
                for _, each in batch:
                    positions[each.position.partition] = each.position
                    name = each.type if entry.named else ""
                    frames.append(_event(name, tuple(positions.items()), each.body))
                yield b"".join(frames)


def _earliest(starts: list[Start]) -> Positions:
    """Return the position in each partition from which all rooms can be resumed."""
    found: Positions = {}
    for start in starts:
        for partition, position in start.positions.items():
            found[partition] = min(found.get(partition, position), position)
    return dict(sorted(found.items()))


@contextmanager
def _ending_at(expires: float, subscriber: Subscriber) -> Generator[None]:
    """End the subscriber when its token expires, in seconds since 1970, if the block still runs."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(max(0.0, expires - time.time()), subscriber.end)
    try:
        yield
    finally:
        timer.cancel()


def _ping() -> ServerSentEvent:
    return ServerSentEvent(event="ping", data="{}", sep="\n")


def _ready(recovered: bool, position: str) -> bytes:
    data = msgspec.json.encode(Ready(recovered=recovered, position=position))
    return b"event: ready\nretry: %d\n%b" % (RETRY_MS, _frame(position, data))


@lru_cache(KEPT)
def _event(name: str, positions: tuple[tuple[int, Position], ...], body: bytes) -> bytes:
    """Encode an event once for all readers; without a ``name``, the frame has none."""
    named = b"event: %b\n" % name.encode() if name else b""
    return named + _frame(join_positions(dict(positions)), body)


def _frame(position: str, data: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (position.encode(), data)


ROUTES = (room_events,)
