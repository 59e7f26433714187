"""Asking a server again while it is busy or away."""

import time
from collections.abc import Callable

import anyio
import httpx

from ops.client.client import LONGEST_RETRY_AFTER_S, Problem, retry_after_s

PATIENCE_S = 60.0
"""How long one thing is tried again."""

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
BUSY = frozenset({429, 503})


Waiting = Callable[[str], None]
"""Told why there is a wait before the next try."""


def _in_silence(why: str) -> None:
    """Tell nobody."""


class Trying:
    """How often and how long to try again; the time runs from the first failure on.

    It is ``PATIENCE_S``, or ``at_most_s`` where that is less.
    """

    def __init__(self, *, at_most_s: float | None = None, waiting: Waiting = _in_silence) -> None:
        self._patience_s = PATIENCE_S if at_most_s is None else min(at_most_s, PATIENCE_S)
        self._waiting = waiting
        self._until: float | None = None
        self._pause_s = FIRST_PAUSE_S

    async def after_loss(self, error: httpx.TransportError) -> None:
        """Wait for the next try; raises ``error`` when there is none."""
        if not await self._wait(self._pause_s, f"no answer: {error or type(error).__name__}"):
            raise error
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    async def after_busy(self, response: httpx.Response) -> bool:
        """Wait as long as the server asks for, within bounds; whether to try again."""
        pause_s = retry_after_s(response) or self._pause_s
        return await self._wait(min(pause_s, LONGEST_RETRY_AFTER_S), busy(response))

    async def _wait(self, pause_s: float, why: str) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._patience_s
        if now + pause_s > self._until:
            return False
        self._waiting(why)
        await anyio.sleep(pause_s)
        return True


def busy(response: httpx.Response) -> str:
    """What a server says that answers with one of ``BUSY``."""
    problem = Problem.of(response)
    said = problem.detail or problem.title
    return f"{said} ({problem.code})" if problem.code else said
