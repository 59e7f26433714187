"""Peers that do not read what is on its way to them: the connection ends, whatever waits for them.

A transport that is told to close first sends all it has. A peer that takes nothing would keep the
connection, and its descriptor, for ever.
"""

import asyncio

FACTOR = 1.5
"""The server gives a reader up after so many times ``slow_reader_s``; the routes do it earlier."""


class Watch:
    """Over one transport, as soon as something is written that the peer has not taken yet."""

    def __init__(self, transport: asyncio.WriteTransport, slow_reader_s: float) -> None:
        self._transport = transport
        self._patience_s = FACTOR * slow_reader_s
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Reset the connection if the peer takes nothing of what is written now for too long."""
        left = self._transport.get_write_buffer_size()
        if self._timer is None and left:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience_s, self._look_again, left)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, before: int) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= before:
            self._transport.abort()
        else:
            self.look()
