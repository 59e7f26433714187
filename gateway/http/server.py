"""Serve the gateway with uvicorn, and add the limits that uvicorn lacks.

Requests rejected here never reach the application; the answer is a problem document like any other.
"""

import asyncio
import logging
import secrets
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.connections import SCOPE_KEY, Connection, Connections
from gateway.http.cors import Cors
from gateway.http.interim import KEY
from gateway.http.limits import Limits
from gateway.http.peer import UNKNOWN, Proxies, source
from gateway.http.problems import Refused, body_incomplete
from gateway.http.raw_response import raw_response
from gateway.http.socket_protocol import WebSocketProtocol
from gateway.http.tracing import trace_id
from gateway.http.write_timeout import WriteTimeout

logger = logging.getLogger("photolog.gateway")

NO_HOST = ("malformed-request", "An HTTP/1.1 request must have exactly one Host header.")
TWO_TOKENS = ("malformed-request", "A request can have only one Authorization header.")
NO_HTTP = ("malformed-request", "The bytes received are not an HTTP/1.1 request.")

ACCEPTED_AT_ONCE = 128
"""The size of the socket's queue; all its connections are accepted before any is rejected."""

TURNED_AWAY_AT_ONCE = 64
"""The most rejected connections that get an answer; more are reset, to free descriptors."""

TURNED_AWAY_S = 1.0
"""How long a rejected connection stays open for the peer to read the answer."""


class _Head:
    """The size so far of an arriving request line with its headers, or of a body's trailers."""

    def __init__(self) -> None:
        self.came_bytes = 0
        self.bytes = 0
        self.headers = 0


UNREAD_S = 0.05
"""How long a server that ends waits for requests that are on their way; uvicorn waits for 0.1 s."""

CHUNK_FRAME_BYTES = 24
"""The most that the frame of a chunk takes without extensions: its size, and two line breaks."""


class _Framing:
    """Counts the frames of a chunked body, which the parser does not report."""

    def __init__(self) -> None:
        self.came_bytes = 0
        self.body_bytes = 0
        self.chunks = 1  # one may have begun before

    @property
    def excess_bytes(self) -> int:
        """The extensions and trailers so far; less if the chunks are many, never more."""
        return self.came_bytes - self.body_bytes - CHUNK_FRAME_BYTES * self.chunks


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on the time, size and number of headers.

    uvicorn waits forever for the head of a request and keeps all of it, so a few peers could hold
    all connections or all memory. It also waits forever for a peer that does not read its answer.
    """

    limits: Limits
    all_connections: Connections
    turned_away: "set[HttpProtocol]"
    cors: Cors

    connection: Connection | None = None
    _timer: asyncio.TimerHandle | None = None
    _write_timeout: WriteTimeout
    _head: _Head | None = None
    _framing: _Framing | None = None
    _fault: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as in the parent class
        super().connection_made(transport)
        self._write_timeout = WriteTimeout(transport, self.limits.slow_reader_s)
        address = self.client[0] if self.client else None
        try:
            self.connection = self.all_connections.enter(address, self._make_room)
        except Refused as fault:
            self._turn_away(fault)
            return
        self._close_after(self.limits.header_patience_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep_open()
        self._write_timeout.stop()
        self.turned_away.discard(self)
        if self.connection is not None:
            self.connection.leave()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timeout.start()

    def resume_writing(self) -> None:
        self._write_timeout.stop()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        self._write_timeout.stop()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse like the parent class, without logging a line for each mistake of a peer."""
        if self._fault is not None:
            return  # the request has been rejected
        head, framing = self._head, self._framing
        self._unset_keepalive_if_required()
        try:
            parser: Any = self.parser
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError:
            self._refuse(self._fault or Refused(*NO_HTTP))
        # The parser buffers a header until it is complete, so its bytes are counted here.
        if head is not None and head is self._head:
            head.came_bytes += len(data)
            if head.came_bytes > self.limits.max_header_bytes and self._fault is None:
                self._refuse(self._too_large())
        if self._framing is not None and framing is not self._framing:
            self._framing = _Framing()  # count only what comes after the headers
        elif framing is not None and framing is self._framing:
            framing.came_bytes += len(data)
            if framing.excess_bytes > self.limits.max_header_bytes and self._fault is None:
                self._refuse(self._too_large("extensions and trailers of the chunks"))

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
        # RFC 9110, section 5.5: whitespace around a value is not part of it, but the parser leaves
        # what follows the value. All other code reads the headers after this.
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        self._keep_open()
        self._head = None
        self._framing = _Framing()
        parser: Any = self.parser
        # RFC 9112, section 3.2
        hosts = sum(name == b"host" for name, _ in self.headers)
        if parser.get_http_version() == "1.1" and hosts != 1:
            raise self._record_fault(Refused(*NO_HOST))
        if sum(name == b"authorization" for name, _ in self.headers) > 1:
            raise self._record_fault(Refused(*TWO_TOKENS))
        untyped: Any = self.scope
        untyped[SCOPE_KEY] = self.connection
        if self.connection is not None:
            self.connection.begin()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head = _Head()  # trailers follow, unless bytes of the body do
        if self._framing is not None:
            self._framing.chunks += 1

    def on_body(self, body: bytes) -> None:
        self._head = None
        if self._framing is not None:
            self._framing.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = self._framing = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self.connection is not None:
            self.connection.end()
        if self._fault is not None and is_last and not self.transport.is_closing():
            self._answer(self._fault)
        self._write_timeout.start()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        def write(interim: bytes) -> None:
            ended = cycle.response_started or cycle.disconnected or self.transport.is_closing()
            if not ended:
                self.transport.write(interim)

        async def cutting(scope: Any, receive: Any, send: Any) -> None:
            scope[KEY] = write
            await app(scope, receive, send)
            if cycle.response_started and not cycle.response_complete:
                await self._cut(receive)

        super()._start_asgi_task(cycle, cutting)

    async def _cut(self, receive: Any) -> None:
        """Reset the connection of an application that gave up its reader in mid-answer.

        uvicorn would log an error, and wait until the reader took the buffered bytes.
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
            raise self._record_fault(self._too_large())

    def _too_large(self, what: str = "request line and headers") -> Refused:
        limits = self.limits
        return Refused(
            "headers-too-large",
            f"The {what} exceed {limits.max_header_bytes} bytes or {limits.max_headers} headers.",
        )

    def _record_fault(self, fault: Refused) -> Refused:
        """Record the fault and return it, to be raised through the parser."""
        self._fault = fault
        return fault

    def shutdown(self) -> None:
        """End the connection with the answer to the request that is under way, or soon without.

        A request may have arrived that was not read yet: closing at once would reset it.
        """
        self.loop.call_later(UNREAD_S, super().shutdown)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] # the parent returns None
        """Answer a sender that has closed its half of the connection.

        True keeps the server's half open. An answer that has begun is cut off, because a reader
        that leaves a stream closes its half in the same way.
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
        """Answer with the fault and close; drop all further bytes.

        The answers to complete earlier requests go first. For the application, a request that is
        rejected while its body arrives is disconnected.
        """
        self.all_connections.rejections.note(_source_of(self), fault.code)
        self._fault = fault
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()  # the faulty request, which the application has not seen
            return
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self._answer(fault)
        elif cycle.more_body and not cycle.response_started:
            self._answer(fault, trace_id(cycle.scope))
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle.more_body:
            self.transport.close()  # another answer is half sent

    def _answer(self, fault: Refused, trace: str = "") -> None:
        """Answer, and keep reading for a while: a reset would discard the answer."""
        self._close_after(self.limits.linger_s)
        if self.transport.is_closing():
            return
        # A page of another origin may read why, if its header has arrived.
        cors = self.cors.headers({"headers": self.headers or []})
        self.transport.write(raw_response(fault, trace or secrets.token_hex(16), cors))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _turn_away(self, fault: Refused) -> None:
        """Reject a connection before reading from it."""
        self._fault = fault
        self._answer(fault)
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
            self.transport.abort()  # closing would keep its descriptor for a while

    def _close_after(self, seconds: float) -> None:
        self._keep_open()
        self._timer = self.loop.call_later(seconds, self._hang_up)

    def _hang_up(self) -> None:
        """Close; a peer that does not read the buffered bytes cannot delay this forever."""
        self.transport.close()
        self._write_timeout.start()

    def _keep_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _source_of(protocol: HttpToolsProtocol) -> str:
    return source(protocol.client[0]) if protocol.client else UNKNOWN


def protocol(bounds: Limits, connections: Connections, origins: Cors) -> type[HttpToolsProtocol]:
    """Return a protocol class with these bounds and origins, as uvicorn requires."""

    class Protocol(HttpProtocol):
        limits = bounds
        all_connections = connections
        turned_away = set[HttpProtocol]()  # noqa: RUF012 # shared by all connections
        cors = origins

    return Protocol


def configuration(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for the gateway; ``options`` adds host, port, uds or fd.

    ``app.connections`` counts the connections, if the application has that attribute.
    """
    connections = getattr(app, "connections", None) or Connections(limits)
    return uvicorn.Config(
        app,
        http=protocol(limits, connections, Cors(limits.cors_origins)),
        ws=WebSocketProtocol,
        ws_max_size=limits.message_max_bytes,
        # A compressed message of 16 kilobytes can expand to 16 megabytes.
        ws_per_message_deflate=False,
        lifespan="on",
        server_header=False,
        access_log=False,
        log_config=None,
        # Without trusted proxies, X-Forwarded-For is ignored; uvicorn would trust 127.0.0.1.
        proxy_headers=bool(limits.trusted_proxies),
        forwarded_allow_ips=str(Proxies(limits.trusted_proxies)),
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.drain_s,
        backlog=ACCEPTED_AT_ONCE,
        **options,
    )
