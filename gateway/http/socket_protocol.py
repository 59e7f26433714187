"""Parse the bytes of a WebSocket into messages, no faster than they are answered.

Parsing runs in the event loop, so a peer that sends without pause could block all other
connections. Its bytes are therefore parsed in small pieces: other connections take their turn
between two pieces, and parsing pauses while a message waits for its answer. Frames that are not
messages (pings, pongs, continuations) have a limit of their own. After the gateway has sent its
close frame it reads only a little more from the peer.
"""

import asyncio
import secrets
import time
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from gateway.http.connections import SCOPE_KEY, Connection
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.http.raw_response import raw_response
from gateway.http.write_timeout import WriteTimeout
from store.clients.rate_limits import Bucket

NO_HANDSHAKE = (
    "malformed-request",
    "The WebSocket handshake has a body, or a header larger than 8 KB.",
)

INVALID_DATA = 1007  # RFC 6455, section 7.4.1
POLICY_VIOLATION = 1008

SOCKET_KEY = "photolog.socket"
"""The key of the ``WebSocketProtocol`` in the scope of a WebSocket."""

PIECE_BYTES = 1024
"""Bytes parsed in one turn of the event loop: at most 170 frames, a few milliseconds."""

FRAMES_WINDOW_S = 60


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that closes on a peer's mistake without logging it as an error of the server."""

    connection: Connection | None = None
    _limits: Limits
    _write_timeout: WriteTimeout
    _frames: Bucket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = bytearray()
        self._turn: asyncio.Handle | None = None
        self._after_close_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # TCP and Unix sockets only
        super().connection_made(transport)
        http: Any = transport.get_protocol()  # still the protocol that handled the handshake
        self.connection = http.connection
        self._limits = http.limits
        self._write_timeout = WriteTimeout(transport, self._limits.slow_reader_s)
        self._frames = Bucket("", 0, self._limits.frames_per_minute, FRAMES_WINDOW_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timeout.start()

    def resume_writing(self) -> None:
        self._write_timeout.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_unparsed()
        self._write_timeout.stop()
        if self.connection is not None:
            self.connection.leave()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        scope: Any = self.scope
        scope[SCOPE_KEY] = self.connection
        scope[SOCKET_KEY] = self
        await super().run_asgi()
        if self.connection is not None:
            self.connection.end()  # only the peer's close frame is left, which may never come
        self._write_timeout.start()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self._unparsed += data
            if self._turn is None:
                self._parse_piece()
            return
        super().data_received(data)
        # The first bytes are a whole head. If the library rejects it, uvicorn waits for more bytes.
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(raw_response(Refused(*NO_HANDSHAKE), secrets.token_hex(16)))
            self.transport.close()

    async def receive(self) -> Any:
        message = await super().receive()
        self._schedule_parsing()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent:
            self._schedule_parsing()  # the peer's close frame may be among the unparsed bytes

    async def send_frames(self, frames: bytes) -> None:
        """Send whole frames, made by :func:`text_frame`, in one write.

        Raises:
            ClientDisconnected: the WebSocket is closed, or closing.
        """
        await self.writable.wait()
        self._write(frames)

    def try_send_frames(self, frames: bytes) -> bool:
        """Do the same if the peer has room; return whether it had. Raises ClientDisconnected."""
        if not self.writable.is_set():
            return False
        self._write(frames)
        return True

    def _write(self, frames: bytes) -> None:
        if self.transport.is_closing() or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(frames)

    def _schedule_parsing(self) -> None:
        """Parse the next piece in a later turn, unless a message waits for its answer."""
        if not self._unparsed or self.read_paused:
            return
        self.transport.pause_reading()
        if self._turn is None:
            self._turn = self.loop.call_soon(self._parse_piece)

    def _parse_piece(self) -> None:
        self._turn = None
        if self.read_paused:
            return  # ``receive`` schedules the next piece
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
            self._schedule_parsing()
        elif not self.read_paused:
            self.transport.resume_reading()

    def _drop_unparsed(self) -> None:
        self._unparsed.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def handle_ping(self) -> None:
        if self._is_within_limit():
            super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        if self._is_within_limit():
            super().handle_pong(event)

    def handle_cont(self, event: Any) -> None:
        if self._is_within_limit():
            super().handle_cont(event)

    def _is_within_limit(self) -> bool:
        """Count a frame that is not a message; close the WebSocket if there are too many."""
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


def text_frame(text: bytes) -> bytes:
    """Return a message in UTF-8 as one frame of a server (RFC 6455, section 5.2).

    A server's frames carry no mask, so one frame serves every receiver.
    """
    length = len(text)
    if length < 126:
        return b"\x81%c%b" % (length, text)
    if length < 1 << 16:
        return b"\x81\x7e%b%b" % (length.to_bytes(2), text)
    return b"\x81\x7f%b%b" % (length.to_bytes(8), text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
