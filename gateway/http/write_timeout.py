"""Reset connections whose peers stop reading, whatever is still waiting to be sent.

Closing a transport first sends everything that it has buffered. A peer that reads nothing would
otherwise keep the connection and its file descriptor forever.
"""

import asyncio

FACTOR = 1.5
"""The server resets after this many times ``slow_reader_s``; the routes give up earlier."""


class WriteTimeout:
    """Watch one transport while it holds bytes that the peer has not read."""

    def __init__(self, transport: asyncio.WriteTransport, slow_reader_s: float) -> None:
        self._transport = transport
        self._patience_s = FACTOR * slow_reader_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Reset the connection if the peer reads none of the bytes buffered now for too long."""
        left = self._transport.get_write_buffer_size()
        if self._timer is None and left:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience_s, self._check, left)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, before: int) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= before:
            self._transport.abort()
        else:
            self.start()
