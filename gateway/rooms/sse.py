"""``GET /api/events``: the events of one room as Server-Sent Events.

| frame | when |
|---|---|
| ``event: ready``, ``id: <position>``, ``data: {"recovered", "position"}`` | first |
| ``id: <position>``, ``data: <event>`` | for each event, in order |
| a comment | every ``PING_S``, to keep the connection open in proxies and to detect dead ones |

Every ``id`` is a position to resume from: a browser sends the last one as ``Last-Event-ID`` when it
reconnects. Without a position to resume from, the id of the first frame is that of the last event
of the room's client, so that a client never sees a position of another client's event. In a room
that spans several partitions, the id has a position in each, joined by commas. The stream ends when
the token expires or is revoked; reconnecting without a new token returns 401. If the host's history
has not reached the requested position, the answer is 503 ``read-model-behind``: no event is known
to be lost, and the position stays valid.

A position that the log does not have, in the past or in the future, is not an error: the first
frame says ``recovered: false`` immediately, and the stream continues from the last event before it.
The reason: after a loss of events, a well-behaved reader holds a position that the log does not
have, and it must learn that it has to reload. A browser never reconnects after a 4xx. The same
holds for ``/ws``. A single read with ``?after=`` returns 409, because its caller handles the error.
"""

import logging
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import anyio
import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError

from gateway.access.access import Access
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Principal
from gateway.http.envelope import is_head
from gateway.http.problems import problems
from gateway.http.query_guards import only
from gateway.limits.throttling import STREAM
from gateway.rooms.hub import Hub, Subscriber
from gateway.rooms.rooms import Admission, Positions, admit, join_positions, parse_positions
from gateway.rooms.subscription import Delivery

logger = logging.getLogger("photolog.gateway")

PING_S = 15
RETRY_MS = 1_000
"""How long a browser waits before it reconnects."""

GRACE_S = 2.0
"""How long a stream may take to end when the server stops, before it is aborted."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """``recovered``: no event is missing between the requested position and the first event."""

    recovered: bool
    position: str


@get(
    "/api/events",
    guards=[only("room", "lastEventId")],
    opt=STREAM,
    responses={
        200: ResponseSpec(
            str,
            description="A stream of events",
            media_type="text/event-stream",
            generate_examples=False,
        ),
        **problems(
            *("invalid-room", "invalid-session", "invalid-position", "missing-token", "forbidden"),
            *("photo-not-found", "read-model-behind"),
        ),
    },
    tags=["events"],
    summary="Follow a room",
)
async def room_events(
    request: Asked,
    deps: NamedDependency[Dependencies],
    hub: NamedDependency[Hub],
    room: Annotated[
        str,
        QueryParameter(
            description=(
                "`client` (your own), `client:<id>`, `session:<id>`, `photo:<id>` or `global`."
            )
        ),
    ],
    last_event_id: Annotated[
        str | None,
        QueryParameter(
            name="lastEventId",
            description="Resume after this event. The `Last-Event-ID` header takes precedence.",
        ),
    ] = None,
) -> EventSourceResponse:
    """Stream the events of a room as Server-Sent Events.

    The stream starts now, or after the event to resume from. The first frame, `ready`, tells
    whether all events since then follow (`recovered`), and each frame's `id` is the position to
    resume from. After `recovered: false`, reload what you show."""
    admission = await admit(room, request.user, deps)
    # A browser that reconnects sends the header, but to its original URL.
    resume = request.headers.get("last-event-id") or last_event_id
    asked = parse_positions(resume) if resume else None
    replacements = hub.replacements
    after = await hub.reached(asked, request.user.own)
    begin = await hub.begin(admission, asked, request.user.own)
    entrance = _Entrance(admission=admission, after=after, begin=begin, replacements=replacements)
    return _Stream(hub, entrance, request.user, request.auth)


class _Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of ``Subscriber.enter``."""

    admission: Admission
    after: Positions | None
    begin: Positions | None
    replacements: int


class _Stream(EventSourceResponse):
    """A response that ends cleanly when the server stops or the token is revoked.

    It is closed when its client reads nothing for ``Limits.slow_reader_s``.

    The subscription lasts as long as the body: a response that never starts leaves nothing behind.
    """

    def __init__(
        self,
        hub: Hub,
        entrance: _Entrance,
        principal: Principal,
        access: Access,
    ) -> None:
        self._hub = hub
        self._access = access
        self._subscriber: Subscriber | None = None
        self._stopping = anyio.Event()
        super().__init__(  # pyright: ignore[reportUnknownMemberType] # types of the library
            self._frames(entrance, principal),
            ping=PING_S,
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

    async def _frames(self, entrance: _Entrance, principal: Principal) -> AsyncGenerator[bytes]:
        with (
            self._hub.subscribe("sse", principal.actor) as subscriber,
            self._access.staying(principal, lambda _: self._stopping.set()),
        ):
            self._subscriber = subscriber
            start = subscriber.enter(**msgspec.structs.asdict(entrance))
            positions = dict(start.positions)
            yield _ready(start.recovered, join_positions(positions))
            while batch := await _next_batch(subscriber, principal.expires):
                frames: list[bytes] = []
                for _, entry in batch:
                    positions[entry.position.partition] = entry.position
                    frames.append(_frame(join_positions(positions), entry.body))
                yield b"".join(frames)


async def _next_batch(subscriber: Subscriber, expires: float) -> list[Delivery]:
    """Return the next events; none when the server or hub stops, or the token expires."""
    with anyio.move_on_after(expires - time.time()):
        return await subscriber.next_batch()
    return []


def _ready(recovered: bool, position: str) -> bytes:
    data = msgspec.json.encode(Ready(recovered=recovered, position=position))
    return b"event: ready\nretry: %d\n%b" % (RETRY_MS, _frame(position, data))


def _frame(position: str, data: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (position.encode(), data)


ROUTES = (room_events,)
