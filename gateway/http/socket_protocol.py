"""How the bytes of a WebSocket become messages, at the pace at which they are answered.

Parsing happens in the event loop, so a peer that sends without a pause could hold up everybody
else. What it sends is therefore parsed piece by piece: other connections have their turn between
two pieces, and nothing is parsed while a message waits for its answer. Frames that are no messages
(pings, pongs, continuations) have a limit of their own, and little is read of a peer that has been
told that the conversation is over.
"""

import asyncio
import secrets
import time
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.http.connections import SCOPE_KEY, Connection
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.http.stuck import Watch
from gateway.http.wire import wire
from store.clients.rate_limits import Bucket

NO_HANDSHAKE = ("malformed-request", "The handshake has a body, or a header beyond 8 KB.")

INVALID_DATA = 1007  # RFC 6455, section 7.4.1
POLICY_VIOLATION = 1008

PIECE_BYTES = 1024
"""Parsed in one turn of the event loop: at most 170 frames, which take some milliseconds."""

FRAMES_WINDOW_S = 60


class Messages(WebSocketsSansIOProtocol):
    """WebSockets that end when the peer makes a mistake, and do not call that an error of ours."""

    connection: Connection | None = None
    _limits: Limits
    _watch: Watch
    _frames: Bucket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = bytearray()
        self._turn: asyncio.Handle | None = None
        self._after_close_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # only such come
        super().connection_made(transport)
        before: Any = transport.get_protocol()  # which it takes the connection over from
        self.connection = before.connection
        self._limits = before.limits
        self._watch = Watch(transport, self._limits.slow_reader_s)
        self._frames = Bucket("", 0, self._limits.frames_per_minute, FRAMES_WINDOW_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch.look()

    def resume_writing(self) -> None:
        self._watch.end()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_unparsed()
        self._watch.end()
        if self.connection is not None:
            self.connection.leave()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        scope: Any = self.scope
        scope[SCOPE_KEY] = self.connection
        await super().run_asgi()
        if self.connection is not None:
            self.connection.end()  # what is left is the peer's farewell, which may never come
        self._watch.look()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self._unparsed += data
            if self._turn is None:
                self._parse_piece()
            return
        super().data_received(data)
        # The first bytes are a whole head. uvicorn waits for more when the library takes no such.
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(wire(Refused(*NO_HANDSHAKE), secrets.token_hex(16)))
            self.transport.close()

    async def receive(self) -> Any:
        message = await super().receive()
        self._go_on()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent:
            self._go_on()  # the peer's own close may be among what waits

    def _go_on(self) -> None:
        """Parse what waits, in a turn of its own, unless a message waits for its answer."""
        if not self._unparsed or self.read_paused:
            return
        self.transport.pause_reading()
        if self._turn is None:
            self._turn = self.loop.call_soon(self._parse_piece)

    def _parse_piece(self) -> None:
        self._turn = None
        if self.read_paused:
            return  # ``receive`` goes on
        piece = bytes(self._unparsed[:PIECE_BYTES])
        del self._unparsed[:PIECE_BYTES]
        if self.close_sent:
            self._after_close_bytes += len(piece)
        if self._after_close_bytes > self._limits.message_max_bytes:
            self._drop_unparsed()
            self.transport.abort()
            return
        super().data_received(piece)
        if self.transport.is_closing():
            self._drop_unparsed()
        elif self._unparsed:
            self._go_on()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _drop_unparsed(self) -> None:
        self._unparsed.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def handle_ping(self) -> None:
        if self._counted():
            super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        if self._counted():
            super().handle_pong(event)

    def handle_cont(self, event: Any) -> None:
        if self._counted():
            super().handle_cont(event)

    def _counted(self) -> bool:
        """Count a frame that is no message; end the conversation if there are too many."""
        if self.close_sent or self.transport.is_closing():
            return False
        if self._frames.spend(1, time.monotonic()):
            return True
        self._fail(POLICY_VIOLATION, "too-many-frames")
        return False

    def _fail(self, code: int, reason: str = "") -> None:
        self.frames = []
        self.conn.send_close(code, reason)
        self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        if self.close_sent or self.curr_msg_data_type != "text" or _is_utf8(b"".join(self.frames)):
            super().send_receive_event_to_app()
            return
        self._fail(INVALID_DATA)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
