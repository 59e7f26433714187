"""How the gateway is served: uvicorn, with the bounds that it lacks.

What is refused here never reaches the application, and is a problem document like all others.
"""

import asyncio
import logging
import secrets
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.connections import SCOPE_KEY, Connection, Connections
from gateway.http.limits import Limits
from gateway.http.peer import UNKNOWN, Proxies, source
from gateway.http.problems import Refused, body_incomplete
from gateway.http.socket_protocol import Messages
from gateway.http.stuck import Watch
from gateway.http.tracing import trace_id
from gateway.http.wire import wire

logger = logging.getLogger("photolog.gateway")

NO_HOST = ("malformed-request", "A request of HTTP/1.1 names its Host, once.")
NO_HTTP = ("malformed-request", "What was sent is not a request of HTTP/1.1.")

ACCEPTED_AT_ONCE = 128
"""Connections that wait in the socket's queue. They are all accepted before any can be refused."""

TURNED_AWAY_AT_ONCE = 64
"""Refused connections that are told why; more are reset, which needs no descriptor."""

TURNED_AWAY_S = 1.0
"""How long such a connection stays open for the peer to read the answer."""


class _Head:
    """A request line with its headers, or the trailers of a body, on the way."""

    def __init__(self) -> None:
        self.came_bytes = 0
        self.bytes = 0
        self.headers = 0


class Bounded(HttpToolsProtocol):
    """HTTP/1.1 that bounds the time, the size and the number of what comes before a body.

    uvicorn waits without end for it, and keeps all of it: a few peers could hold all connections,
    or all memory. It also waits without end for a peer that does not read its answer.
    """

    limits: Limits
    all_connections: Connections
    turned_away: "set[Bounded]"

    connection: Connection | None = None
    _timer: asyncio.TimerHandle | None = None
    _watch: Watch
    _head: _Head | None = None
    _fault: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as its parent does
        super().connection_made(transport)
        self._watch = Watch(transport, self.limits.slow_reader_s)
        address = self.client[0] if self.client else None
        try:
            self.connection = self.all_connections.enter(address, self._make_room)
        except Refused as fault:
            self._turn_away(fault)
            return
        self._close_after(self.limits.header_patience_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep_open()
        self._watch.end()
        self.turned_away.discard(self)
        if self.connection is not None:
            self.connection.leave()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch.look()

    def resume_writing(self) -> None:
        self._watch.end()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        self._watch.end()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """As its parent does, but without a line in the log for each mistake of a peer."""
        if self._fault is not None:
            return  # it has been refused
        head = self._head
        self._unset_keepalive_if_required()
        try:
            parser: Any = self.parser
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError:
            self._refuse(self._fault or Refused(*NO_HTTP))
        # The parser keeps a header until it is whole, so what came of it is counted here.
        if head is not None and head is self._head:
            head.came_bytes += len(data)
            if head.came_bytes > self.limits.max_header_bytes:
                self._refuse(self._too_large())

    def timeout_keep_alive_handler(self) -> None:
        self._hang_up()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = _Head()
        self._close_after(self.limits.header_patience_s)

    def on_url(self, url: bytes) -> None:
        self._count(len(url), headers=0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value), headers=1)
        # RFC 9110, section 5.5: blanks around a value are not part of it. The parser leaves those
        # behind it; everything that reads headers comes after this.
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        self._keep_open()
        self._head = None
        parser: Any = self.parser
        # RFC 9112, section 3.2
        hosts = sum(name == b"host" for name, _ in self.headers)
        if parser.get_http_version() == "1.1" and hosts != 1:
            raise self._faulty(Refused(*NO_HOST))
        untyped: Any = self.scope
        untyped[SCOPE_KEY] = self.connection
        if self.connection is not None:
            self.connection.begin()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head = _Head()  # trailers follow, unless bytes do

    def on_body(self, body: bytes) -> None:
        self._head = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self.connection is not None:
            self.connection.end()
        if self._fault is not None and is_last and not self.transport.is_closing():
            self._say(self._fault)
        self._watch.look()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        async def cutting(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if cycle.response_started and not cycle.response_complete:
                await self._cut(receive)

        super()._start_asgi_task(cycle, cutting)

    async def _cut(self, receive: Any) -> None:
        """An application that ends in the middle of its answer has given its reader up.

        uvicorn would call that a mistake, and wait until the reader took what is on its way.
        """
        self.transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass

    def _count(self, size: int, *, headers: int) -> None:
        head, limits = self._head, self.limits
        if head is None:
            return
        head.bytes += size
        head.headers += headers
        if head.bytes > limits.max_header_bytes or head.headers > limits.max_headers:
            raise self._faulty(self._too_large())

    def _too_large(self) -> Refused:
        limits = self.limits
        return Refused(
            "headers-too-large",
            f"Request line and headers have more than {limits.max_header_bytes} bytes, or there "
            f"are more than {limits.max_headers} headers.",
        )

    def _faulty(self, fault: Refused) -> Refused:
        """The fault, for the parser to end with."""
        self._fault = fault
        return fault

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] # its type
        """A sender that ends its half of the connection gets an answer all the same.

        True keeps our half open. An answer that has begun is not waited for: a reader that has left
        a stream ends it like this, too.
        """
        cycle: Any = self.cycle
        if self._fault is not None or cycle is None or cycle.response_complete:
            if self._fault is None and self._head is not None:
                self._refuse(Refused(*NO_HTTP))
        elif cycle.more_body:
            self._refuse(body_incomplete())
        elif not cycle.response_started:
            cycle.keep_alive = False
            self._close_after(self.limits.linger_s)
            return True
        return False

    def _refuse(self, fault: Refused) -> None:
        """Say why and close; what still comes is dropped.

        The answer to a whole request that came before goes first. A request that is refused while
        its body comes has ended for the application.
        """
        self.all_connections.noise.note(_source_of(self), fault.code)
        self._fault = fault
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()  # the faulty request: its application has not begun
            return
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self._say(fault)
        elif cycle.more_body and not cycle.response_started:
            self._say(fault, trace_id(cycle.scope))
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle.more_body:
            self.transport.close()  # in the middle of another answer nothing can be said

    def _say(self, fault: Refused, trace: str = "") -> None:
        """Answer. The rest is read for a while: a reset would take the answer away."""
        self._close_after(self.limits.linger_s)
        if self.transport.is_closing():
            return
        self.transport.write(wire(fault, trace or secrets.token_hex(16)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _turn_away(self, fault: Refused) -> None:
        """Refuse a connection of which nothing has been read."""
        self._fault = fault
        self._say(fault)
        if len(self.turned_away) >= TURNED_AWAY_AT_ONCE:
            self.transport.abort()
            return
        self.turned_away.add(self)
        self._close_after(TURNED_AWAY_S)

    def _make_room(self) -> None:
        self._keep_open()
        cycle: Any = self.cycle
        is_idle = cycle is None or cycle.response_complete
        if is_idle and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()  # else it would keep its descriptor for a while

    def _close_after(self, seconds: float) -> None:
        self._keep_open()
        self._timer = self.loop.call_later(seconds, self._hang_up)

    def _hang_up(self) -> None:
        """Close; a peer that does not read what is on its way to it may not delay that for ever."""
        self.transport.close()
        self._watch.look()

    def _keep_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _source_of(protocol: HttpToolsProtocol) -> str:
    return source(protocol.client[0]) if protocol.client else UNKNOWN


def protocol(bounds: Limits, connections: Connections) -> type[HttpToolsProtocol]:
    """The protocol with these bounds; uvicorn wants a class."""

    class Protocol(Bounded):
        limits = bounds
        all_connections = connections
        turned_away = set[Bounded]()  # noqa: RUF012 # of all connections together

    return Protocol


def configuration(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
    """uvicorn's settings for the gateway; ``options`` are further ones: host, port, uds, fd.

    Connections are counted by ``app.connections``, if the application has that.
    """
    connections = getattr(app, "connections", None) or Connections(limits)
    return uvicorn.Config(
        app,
        http=protocol(limits, connections),
        ws=Messages,
        ws_max_size=limits.message_max_bytes,
        # Sixteen kilobytes of a compressed message can unfold to sixteen megabytes.
        ws_per_message_deflate=False,
        lifespan="on",
        server_header=False,
        access_log=False,
        log_config=None,
        # Without trusted proxies nobody's X-Forwarded-For is believed; uvicorn believes 127.0.0.1.
        proxy_headers=bool(limits.trusted_proxies),
        forwarded_allow_ips=str(Proxies(limits.trusted_proxies)),
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.drain_s,
        backlog=ACCEPTED_AT_ONCE,
        **options,
    )
