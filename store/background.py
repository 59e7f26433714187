"""Runs long-running tasks that never end silently.

A task that ends by an unexpected exception is logged with its traceback, counted, and restarted
with back-off. Until it has run steadily again, ``failing`` names it for the health check. A task
that keeps failing ends its process, which the supervisor restarts.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import cast

import anyio

from store.observing import ignore

logger = logging.getLogger("photolog.background")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
STEADY_S = 30.0
"""A task that has run this long since its last failure counts as recovered."""

RESTARTS = 20
"""How often in a row a task is restarted before its process is ended instead."""


class Background:
    """The long-running tasks of one process.

    ``observe`` is called with the task's name at each failure. ``failures`` counts failures since
    the start, by task. ``gave_up`` is the error of a task that failed too often: its process must
    end, and restarts no task any more.
    """

    def __init__(self, observe: Callable[[str], None] = ignore) -> None:
        self.failures: Counter[str] = Counter()
        self.gave_up: Exception | None = None
        self._observe = observe
        self._failed: dict[str, tuple[float, str]] = {}
        self._over: list[anyio.Event] = []

    @property
    def failing(self) -> dict[str, str]:
        """The tasks that failed within the last ``STEADY_S`` seconds, each with its last error."""
        now = time.monotonic()
        return {name: why for name, (at, why) in self._failed.items() if now - at < STEADY_S}

    async def keep(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        part: str = "",
        restarts: int = RESTARTS,
    ) -> None:
        """Run ``work`` until it returns or is cancelled, restarting it whenever it raises.

        ``part`` distinguishes tasks of the same name in log lines.

        Raises:
            Exception: the last error of a task that failed more than ``restarts`` times in a row.
        """
        in_a_row, pause_s = 0, FIRST_PAUSE_S
        label = f"{name} of {part}" if part else name
        while True:
            began = time.monotonic()
            try:
                return await work()
            except Exception as error:  # any kind: no task may end unnoticed
                if self.gave_up is not None:
                    raise
                if time.monotonic() - began > STEADY_S:
                    in_a_row, pause_s = 0, FIRST_PAUSE_S
                in_a_row += 1
                self._note(name, error)
                if in_a_row > restarts:
                    logger.exception("%s: giving up; failures in a row: %d", label, in_a_row)
                    self._give_up(error)
                    raise
                logger.exception("%s failed, restarting it in %.1f s", label, pause_s)
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def failed(self, name: str, error: Exception, *, part: str = "") -> None:
        """Log and count an unexpected error of a task that goes on, or is no longer needed.

        Call it where the error is handled, so that the line has its traceback.
        """
        self._note(name, error)
        logger.error("%s failed", f"{name} of {part}" if part else name, exc_info=error)

    async def over(self) -> None:
        """Return as soon as a task has failed too often."""
        if self.gave_up is None:
            event = anyio.Event()
            self._over.append(event)
            await event.wait()

    def _note(self, name: str, error: Exception) -> None:
        self.failures[name] += 1
        self._failed[name] = time.monotonic(), _reason(error)
        self._observe(name)

    def _give_up(self, error: Exception) -> None:
        self.gave_up = error
        for event in self._over:
            event.set()


def _reason(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return f"{type(error).__name__}: {error}"
