"""Turns of a client's streams: one client with hundreds of them does not hold up everybody else.

An event that comes to all streams of a client would be sent to all of them in one go, which takes
the event loop a tenth of a second for some hundreds. Instead, ``AT_ONCE`` streams of a client may
send within ``WINDOW_S``, or more of a long line, so that each has its turn within ``WINDOWS`` of
them; the others wait in line, and events that come meanwhile go with the next batch of each. A
client with a few streams notices nothing.
"""

import asyncio
from collections import deque

AT_ONCE = 16
WINDOW_S = 0.02
WINDOWS = 6


class Turns:
    """Hands out turns by client, first come, first served, for the tasks of one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    async def take(self, client: str) -> None:
        """Wait until a stream of the client may send."""
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = _Line()
            self._open(client, line)
        if line.free > 0:
            line.free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            await turn
        finally:
            turn.cancel()  # a stream that has ended leaves its turn to the next

    def _open(self, client: str, line: "_Line") -> None:
        """Begin a window; forget the client if nobody used the last one."""
        needed = -(-len(line.waiting) // WINDOWS)
        line.turns = max(AT_ONCE, needed, line.turns if line.waiting else 0)
        line.free = line.turns
        while line.waiting and line.free > 0:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                line.free -= 1
        asyncio.get_running_loop().call_later(WINDOW_S, self._close, client, line)

    def _close(self, client: str, line: "_Line") -> None:
        if line.free == line.turns:
            del self._lines[client]
        else:
            self._open(client, line)


class _Line:
    """``free`` of the ``turns`` of this window are left; those in ``waiting`` wait for the next."""

    def __init__(self) -> None:
        self.turns = 0
        self.free = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
