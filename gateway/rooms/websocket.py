"""``/ws``: rooms over a WebSocket. Messages are JSON objects, distinguished by ``type``.

| client message | reply |
|---|---|
| ``identify`` ``{sessionId?, clientId?, lastEventId?, batches?}``, once, first | ``identified`` |
| ``subscribe:photo`` ``{photoId, lastEventId?}`` | ``subscribed`` |
| ``unsubscribe:photo`` ``{photoId}`` | ``unsubscribed`` |
| ``ping`` | ``pong`` |

``identify`` enters the client's room, and the session's. ``event`` ``{rooms, event}`` delivers an
event of the rooms entered: each event once per socket, even if several of its rooms contain it; in
order within each room. Events in flight may still arrive after ``unsubscribed``. A client that asks
for ``batches`` gets ``events`` ``{events: [{rooms, event}, …]}`` instead, with all that are due, up
to 64 KB of them: so a reader that has fallen behind catches up sooner. ``error`` ``{code, detail}``
answers a message that cannot be processed; it changes nothing. From ``identified`` on, the server
sends ``ping`` every ``pingIntervalMs`` that it states, whether or not there are events: a client
that gets none for longer knows that the connection is dead. It need not answer.

| close code | why |
|---|---|
| 1008 | ``too-many-errors``: more than ``Limits.errors_per_socket``, ``rate-limited`` ones too |
| 1008 | ``too-many-frames``: pings, pongs and fragments beyond ``Limits.frames_per_minute`` |
| 1009 | a message of more than ``Limits.message_max_bytes``, rejected before it is received |
| 1012 | the server is stopping: reconnect |
| 1013 | ``slow-reader``: nothing was read for ``Limits.slow_reader_s``; reconnect and resume |
| 1013 | ``too-many-connections`` and similar (``gateway.http.connections``): retry later |
| 1013 | ``log-unavailable``, ``unavailable``: the token cannot be checked now; reconnect |
| 4401 | ``missing-token``, ``invalid-token`` or another code of status 401: immediately |
| 4401 | ``expired-token``, ``revoked-token``, ``expired-session``: when that happens |
| 4403 | ``cross-origin``: a cookie is accepted only from a page of the same host |
| 4403 | ``scope-required``: the API key lacks the scope ``events.read`` |

A client that may not enter learns it after the handshake, because a browser does not expose the
status of a failed one. A client or address that opens too many sockets gets 429 instead of a
handshake.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import anyio
import msgspec
from litestar import get, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from gateway.access import route_scopes
from gateway.access.access import Access
from gateway.access.security_log import SecurityLog
from gateway.dependencies import Dependencies, Socket
from gateway.http.auth import AuthError, Forbidden, Principal
from gateway.http.connections import SCOPE_KEY, Connection
from gateway.http.problems import Refused, shortened
from gateway.http.socket_protocol import SOCKET_KEY, WebSocketProtocol, text_frame
from gateway.http.wording import in_our_words
from gateway.limits.throttling import RateLimited, Throttle, refuse_handshake
from gateway.rooms.frames import frames
from gateway.rooms.hub import Hub, Subscriber
from gateway.rooms.messages import (
    PING_S,
    Error,
    Identified,
    Identify,
    Message,
    Ping,
    Pong,
    Request,
    Subscribed,
    SubscribePhoto,
    Unsubscribed,
    UnsubscribePhoto,
    read,
)
from gateway.rooms.rooms import (
    Admission,
    admit,
    join_positions,
    parse_positions,
    session_room,
)
from gateway.rooms.subscription import Start
from store.clients.rate_limits import Bucket
from store.errors import StoreError

logger = logging.getLogger("photolog.gateway")

CLOSE_PATIENCE_S = 1.0
"""How long to try to send the close frame: a client that reads nothing does not read it."""


@websocket("/ws", exclude_from_auth=True)
async def rooms(
    socket: Socket,
    deps: NamedDependency[Dependencies],
    access: NamedDependency[Access],
    hub: NamedDependency[Hub],
    throttle: NamedDependency[Throttle],
    security: NamedDependency[SecurityLog],
) -> None:
    try:
        asking = await _admitted(socket, access, throttle, security)
    except RateLimited as refused:
        await refuse_handshake(socket, refused)
        return
    await socket.accept()
    try:
        if isinstance(asking, _Ended):
            raise asking
        with _counted(socket, asking):
            budget = throttle.messages(asking)
            end = await _converse(socket, asking, access, deps, hub, security, budget)
    except _Ended as ended:
        end = ended
    if end is not None:
        with suppress(OSError, WebSocketDisconnect), anyio.move_on_after(CLOSE_PATIENCE_S):
            await socket.close(end.code, end.reason)


@get("/ws", exclude_from_auth=True, include_in_schema=False)
async def no_handshake() -> None:
    """Answer a request that is not a WebSocket handshake."""
    raise Refused(
        "upgrade-required",
        "This endpoint accepts only WebSocket handshakes.",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


class _Ended(Exception):
    """The conversation ends for a reason that the close frame gives."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def _admitted(
    socket: Socket, access: Access, throttle: Throttle, security: SecurityLog
) -> "Principal | _Ended":
    """Return the principal, or why the socket is closed; raises RateLimited."""
    try:
        principal = await access.authenticate(socket)
        socket.scope["user"] = principal
        route_scopes.check(principal, socket.scope)
    except (AuthError, Forbidden) as fault:
        security.refused(socket.scope, fault)
        await throttle.admit_stranger(socket.scope, fault)
        return _Ended(4401 if isinstance(fault, AuthError) else 4403, fault.code)
    except Refused as error:
        return _Ended(1013, error.code)
    except StoreError:
        return _Ended(1013, "unavailable")
    await throttle.admit_socket(socket.scope, principal)
    return principal


@contextmanager
def _counted(socket: Socket, principal: Principal) -> Generator[None]:
    connection: Connection | None = cast("Any", socket.scope).get(SCOPE_KEY)
    if connection is None:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(connection.serving(socket.scope, principal))
        except Refused as refusal:
            raise _Ended(1013, refusal.code) from refusal
        yield


async def _converse(
    socket: Socket,
    principal: Principal,
    access: Access,
    deps: Dependencies,
    hub: Hub,
    security: SecurityLog,
    budget: Bucket | None,
) -> _Ended | None:
    """Receive messages and send events until either ends, or the token expires or is revoked."""
    end: _Ended | None = None
    refused = anyio.Event()

    def refuse(code: str) -> None:
        nonlocal end
        end = end or _Ended(4401, code)
        refused.set()

    async def until_refused() -> None:
        await refused.wait()
        tasks.cancel_scope.cancel()

    async def until_ended(part: Callable[[], Awaitable[None]]) -> None:
        nonlocal end
        try:
            await part()
        except _Ended as ended:
            end = end or ended
        except (OSError, WebSocketDisconnect):
            logger.debug("the peer closed a socket")
        tasks.cancel_scope.cancel()

    with (
        hub.subscribe("websocket", principal.subject) as subscriber,
        access.staying(principal, refuse),
    ):
        conversation = _Conversation(socket, principal, deps, hub, subscriber, security, budget)
        with anyio.move_on_after(principal.expires - time.time()) as lifetime:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(until_ended, conversation.receive)
                tasks.start_soon(until_ended, conversation.deliver)
                tasks.start_soon(until_ended, conversation.ping)
                tasks.start_soon(until_refused)
    return _Ended(4401, "expired-token") if lifetime.cancelled_caught else end


class _Conversation:
    """One socket. The reply that confirms a room is sent before the room's first event."""

    def __init__(
        self,
        socket: Socket,
        principal: Principal,
        deps: Dependencies,
        hub: Hub,
        subscriber: Subscriber,
        security: SecurityLog,
        budget: Bucket | None,
    ) -> None:
        self._security = security
        self._socket = socket
        self._principal = principal
        self._deps = deps
        self._hub = hub
        self._subscriber = subscriber
        self._sending = anyio.Lock(fast_acquire=True)
        self._errors = 0
        self._budget = budget
        self._identified = anyio.Event()
        self._batches = False
        self._protocol: WebSocketProtocol = cast("Any", socket.scope)[SOCKET_KEY]

    async def receive(self) -> None:
        """Answer the messages one by one; return when the peer disconnects."""
        while (text := await self._receive()) is not None:
            try:
                self._pay()
                await self._answer(read(text))
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                await self._refuse("malformed-message", shortened(in_our_words(str(error))))
            except Refused as error:
                self._security.refused(self._socket.scope, error)
                await self._refuse(error.code, error.detail)
            except StoreError:
                await self._refuse(
                    "unavailable", "A part of the system does not answer. Try again later."
                )

    async def deliver(self) -> None:
        """Send the events of the rooms until the hub stops."""
        while batch := await self._subscriber.next_batch():
            for written in frames(batch, batches=self._batches):
                # Of a thousand sockets, nearly all have room: they need no lock and no timeout.
                if self._sending.locked() or not self._protocol.try_send_frames(written):
                    async with self._sending:
                        await self._write(written)
        raise _Ended(1012, "stopping")

    async def ping(self) -> None:
        """Send a ping every ``PING_S`` to a client that knows of it."""
        await self._identified.wait()
        written = text_frame(msgspec.json.encode(Ping()))
        while True:
            await anyio.sleep(PING_S)
            async with self._sending:
                await self._write(written)

    def _pay(self) -> None:
        if self._budget is not None and not self._budget.spend(1, time.monotonic()):
            self._deps.limited("messages")
            raise Refused("rate-limited", "This client sends too many messages.")

    async def _receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        return (message.get("bytes") if text is None else text) or ""

    async def _answer(self, request: Request) -> None:
        match request:
            case Identify():
                await self._identify(request)
            case SubscribePhoto():
                await self._subscribe(request)
            case UnsubscribePhoto(photo_id=photo_id):
                if not self._subscriber.leave(f"photo:{photo_id}"):
                    raise Refused("not-subscribed", f"Not subscribed to photo {photo_id[:64]!r}.")
                await self._say(Unsubscribed(photo_id=photo_id))
            case Ping():
                await self._say(Pong())

    async def _identify(self, request: Identify) -> None:
        if self._identified.is_set():
            raise Refused(
                "already-identified",
                "This socket is already identified. Open another socket for another session.",
            )
        own = f"client:{request.client_id}" if request.client_id is not None else "client"
        admissions = [await admit(own, self._principal, self._deps)]
        client_id = admissions[0].room.id
        if request.session_id:  # as in an upload, an empty id means no session
            admissions.append(session_room(request.session_id, client_id, self._deps.log))

        def answer(start: Start) -> Identified:
            return Identified(
                client_id=client_id,
                session_id=request.session_id or None,
                position=join_positions(start.positions),
                recovered=start.recovered,
            )

        self._batches = request.batches
        await self._enter(admissions, request.last_event_id, answer)
        self._identified.set()

    async def _subscribe(self, request: SubscribePhoto) -> None:
        if not self._identified.is_set():
            raise Refused("not-identified", "Send identify first.")
        admission = await admit(f"photo:{request.photo_id}", self._principal, self._deps)

        def answer(start: Start) -> Subscribed:
            return Subscribed(
                photo_id=request.photo_id,
                position=join_positions(start.positions),
                recovered=start.recovered,
            )

        await self._enter([admission], request.last_event_id, answer)

    async def _enter(
        self,
        admissions: list[Admission],
        last_event_id: str | None,
        answer: Callable[[Start], Message],
    ) -> None:
        """Enter all rooms at the same point in the history; reply with the start of the first."""
        asked = parse_positions(last_event_id) if last_event_id else None
        replacements, own = self._hub.replacements, self._principal.own
        after = await self._hub.reached(asked, own)
        # The other admissions are of the same client.
        begin = await self._hub.begin(admissions[0], asked, own)
        added = {admission.room for admission in admissions} - set(self._subscriber.rooms)
        if len(self._subscriber.rooms) + len(added) > self._deps.limits.rooms_per_socket:
            raise Refused("too-many-rooms", "Leave a room before you enter another.")
        async with self._sending:
            enter = self._subscriber.enter
            starts = [enter(each, after, begin, replacements) for each in admissions]
            await self._write(text_frame(msgspec.json.encode(answer(starts[0]))))
        for admission in admissions:
            self._security.entered(self._socket.scope, f"/ws {admission.name}")

    async def _refuse(self, code: str, detail: str) -> None:
        self._errors += 1
        if self._errors > self._deps.limits.errors_per_socket:
            raise _Ended(1008, "too-many-errors")
        await self._say(Error(code=code, detail=detail))

    async def _say(self, message: Message) -> None:
        async with self._sending:
            await self._write(text_frame(msgspec.json.encode(message)))

    async def _write(self, written: bytes) -> None:
        """Write whole frames."""
        with anyio.move_on_after(self._deps.limits.slow_reader_s) as patience:
            await self._protocol.send_frames(written)
        if patience.cancelled_caught:
            self._hub.slow_readers += 1
            raise _Ended(1013, "slow-reader")


ROUTES = (rooms, no_handshake)
