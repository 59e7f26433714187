"""How the gateway is served: uvicorn, with the bounds that it lacks.

What is refused here never reaches the application, and is a problem document like all others.
"""

import asyncio
import secrets
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.envelope import HEADERS
from gateway.limits import Limits
from gateway.problems import MEDIA_TYPE, RETRY_AFTER_S, Refused, body_incomplete, document
from gateway.tracing import HEADER, trace_id

TOO_MANY = ("too-many-connections", "This gateway has as many connections as it may have.")
NO_HOST = ("malformed-request", "A request of HTTP/1.1 names its Host, once.")
NO_HTTP = ("malformed-request", "What was sent is not a request of HTTP/1.1.")
NO_HANDSHAKE = ("malformed-request", "The handshake has a body, or a header beyond 8 KB.")

INVALID_DATA = 1007  # RFC 6455, section 7.4.1


class _Head:
    """A request line with its headers, or the trailers of a body, on the way."""

    def __init__(self) -> None:
        self.came_bytes = 0
        self.bytes = 0
        self.headers = 0


class Bounded(HttpToolsProtocol):
    """HTTP/1.1 that bounds the time, the size and the number of what comes before a body.

    uvicorn waits without end for it, and keeps all of it: a few peers could hold all connections,
    or all memory.
    """

    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _head: _Head | None = None
    _fault: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as its parent does
        super().connection_made(transport)
        self._close_after(self.limits.header_patience_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep_open()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return  # it has been refused
        head = self._head
        super().data_received(data)
        # The parser keeps a header until it is whole, so what came of it is counted here.
        if head is not None and head is self._head:
            head.came_bytes += len(data)
            if head.came_bytes > self.limits.max_header_bytes:
                self._refuse(self._too_large())

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
        # uvicorn asks this of requests alone.
        upgrades = parser.should_upgrade() and self._should_upgrade()
        if upgrades and len(self.connections) >= self.limits.connections:
            raise self._faulty(Refused(*TOO_MANY))
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._head = _Head()  # trailers follow, unless bytes do

    def on_body(self, body: bytes) -> None:
        self._head = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 # ours says more
        self._refuse(self._fault or Refused(*NO_HTTP))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        async def cutting(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if cycle.response_started and not cycle.response_complete:
                await self._cut(receive)

        super()._start_asgi_task(cycle, _too_many if app is service_unavailable else cutting)

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

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if self._fault is not None and is_last and not self.transport.is_closing():
            self._say(self._fault)

    def _refuse(self, fault: Refused) -> None:
        """Say why and close; what still comes is dropped.

        The answer to a whole request that came before goes first. A request that is refused while
        its body comes has ended for the application.
        """
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
        self.transport.write(_wire(fault, trace or secrets.token_hex(16)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _close_after(self, seconds: float) -> None:
        self._keep_open()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _keep_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Messages(WebSocketsSansIOProtocol):
    """WebSockets that end when the peer makes a mistake, and do not call that an error of ours."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The first bytes are a whole head. uvicorn waits for more when the library takes no such.
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(_wire(Refused(*NO_HANDSHAKE), secrets.token_hex(16)))
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        if self.close_sent or self.curr_msg_data_type != "text" or _is_utf8(b"".join(self.frames)):
            super().send_receive_event_to_app()
            return
        self.frames = []
        self.conn.send_close(INVALID_DATA)
        self.handle_parser_exception()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def protocol(bounds: Limits) -> type[HttpToolsProtocol]:
    """The protocol with these bounds; uvicorn wants a class."""

    class Protocol(Bounded):
        limits = bounds

    return Protocol


def configuration(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
    """uvicorn's settings for the gateway; ``options`` are further ones: host, port, uds, fd."""
    return uvicorn.Config(
        app,
        http=protocol(limits),
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
        forwarded_allow_ips=limits.trusted_proxies,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.drain_s,
        limit_concurrency=limits.connections,
        **options,
    )


async def _too_many(scope: Any, _receive: Any, send: Any) -> None:
    """An application that refuses everything, as uvicorn's own does in plain text."""
    status, headers, body = _answer(Refused(*TOO_MANY), trace_id(scope))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _wire(fault: Refused, trace: str) -> bytes:
    status, headers, body = _answer(fault, trace)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body)


def _answer(fault: Refused, trace: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    problem = document(fault.code, fault.detail, trace)
    body = msgspec.json.encode(problem)
    headers = HEADERS | {
        b"content-type": MEDIA_TYPE.encode(),
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
        HEADER.lower().encode(): trace.encode(),
    }
    if problem.status == 503:
        headers[b"retry-after"] = str(RETRY_AFTER_S).encode()
    return problem.status, list(headers.items()), body
