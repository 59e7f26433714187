"""Asking a server again while it is busy or away."""

import time

import anyio
import httpx

PATIENCE_S = 60.0
"""How long one thing is tried again."""

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
LONGEST_RETRY_AFTER_S = 30.0
BUSY = frozenset({429, 503})


class Trying:
    """How often and how long to try again; the time runs from the first failure on."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._pause_s = FIRST_PAUSE_S

    async def after_loss(self, error: httpx.TransportError) -> None:
        """Wait for the next try; raises ``error`` when there is none."""
        if not await self._wait(self._pause_s):
            raise error
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    async def after_busy(self, response: httpx.Response) -> bool:
        """Wait as long as the server asks for, within bounds; whether to try again."""
        asked = response.headers.get("retry-after", "")
        pause_s = float(asked) if asked.isascii() and asked.isdigit() else self._pause_s
        return await self._wait(min(pause_s, LONGEST_RETRY_AFTER_S))

    async def _wait(self, pause_s: float) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + PATIENCE_S
        if now + pause_s > self._until:
            return False
        await anyio.sleep(pause_s)
        return True
