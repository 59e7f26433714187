"""Waiting for servers that a role needs at its start, and saying so."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from store.errors import Denied, Full, StoreError, Unavailable

logger = logging.getLogger("photolog")

RETRY_S = 0.5
REMIND_S = 30.0

T = TypeVar("T")


class Patience:
    """One wait for ``what``; ``waited_s`` counts from the first failure."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: float | None = None
        self._remind_at = 0.0

    @property
    def waited_s(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since

    async def wait(self, error: StoreError) -> None:
        """Pause before the next try; says why at the first and every ``REMIND_S`` seconds."""
        now = time.monotonic()
        self._since = self._since or now
        if now >= self._remind_at:
            logger.warning("waiting for %s: %s", self._what, error)
            self._remind_at = now + REMIND_S
        await anyio.sleep(max(RETRY_S, error.retry_after_s))


async def patiently(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Repeat the work, which must be safe to repeat, until the servers that it needs answer.

    Raises:
        Denied: a server does not let us in, which no wait changes.
    """
    patience = Patience(what)
    while True:
        try:
            return await work()
        except Denied:
            raise
        except (Unavailable, Full) as error:
            await patience.wait(error)
