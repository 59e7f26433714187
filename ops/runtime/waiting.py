"""Wait for a server that a role needs at its start, and log why."""

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


class Reminder:
    """Space out log lines about something that lasts: one every ``every_s`` seconds.

    The first is due after ``first_s``.
    """

    def __init__(self, every_s: float, *, first_s: float = 0.0) -> None:
        self._every_s = every_s
        self._due_at = time.monotonic() + first_s

    def is_due(self) -> bool:
        """Return whether to log a line now; if so, the next one is due ``every_s`` later."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + self._every_s
        return True


class Waiting:
    """Wait for one server, ``what`` in the log lines, between failed attempts to use it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: float | None = None
        self._reminder = Reminder(REMIND_S)

    @property
    def waited_s(self) -> float:
        """The time since the first failure; 0 before it."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    async def pause(self, error: StoreError) -> None:
        """Pause before the next attempt; log why, at first and then every ``REMIND_S`` seconds."""
        if self._since is None:
            self._since = time.monotonic()
        if self._reminder.is_due():
            logger.warning("waiting for %s: %s", self._what, error)
        await anyio.sleep(max(RETRY_S, error.retry_after_s))


async def until_available(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``work``, which must be idempotent, until the servers that it needs answer.

    Raises:
        Denied: a server rejects our credentials, which waiting does not change.
    """
    waiting = Waiting(what)
    while True:
        try:
            return await work()
        except Denied:
            raise
        except (Unavailable, Full) as error:
            await waiting.pause(error)
