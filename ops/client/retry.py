"""Retry calls while a server is busy or unreachable."""

import time
from collections.abc import Callable

import anyio
import httpx

from ops.client.client import LONGEST_RETRY_AFTER_S, Problem, retry_after_s

PATIENCE_S = 60.0
"""A call is retried for at most this long."""

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
BUSY = frozenset({429, 503})


Waiting = Callable[[str], None]
"""Receives the reason for a wait before the next retry."""


def _ignore(reason: str) -> None:
    """Report nothing."""


class Retry:
    """Waits between the retries of one call, with back-off.

    Retries end ``PATIENCE_S`` after the first failure, or after ``at_most_s`` if that is less.
    """

    def __init__(self, *, at_most_s: float | None = None, waiting: Waiting = _ignore) -> None:
        self._patience_s = PATIENCE_S if at_most_s is None else min(at_most_s, PATIENCE_S)
        self._waiting = waiting
        self._until: float | None = None
        self._pause_s = FIRST_PAUSE_S

    async def after_loss(self, error: httpx.TransportError) -> None:
        """Wait before the next retry; raises ``error`` if the time is over."""
        if not await self._wait(self._pause_s, f"no answer: {error or type(error).__name__}"):
            raise error
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    async def after_busy(self, response: httpx.Response) -> bool:
        """Wait as long as the server asks for, within bounds; return False if the time is over."""
        pause_s = retry_after_s(response) or self._pause_s
        return await self._wait(min(pause_s, LONGEST_RETRY_AFTER_S), busy(response))

    async def _wait(self, pause_s: float, reason: str) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._patience_s
        if now + pause_s > self._until:
            return False
        self._waiting(reason)
        await anyio.sleep(pause_s)
        return True


def busy(response: httpx.Response) -> str:
    """Return the reason that a server gives with one of the ``BUSY`` statuses."""
    problem = Problem.of(response)
    reason = problem.detail or problem.title
    return f"{reason} ({problem.code})" if problem.code else reason
