"""Wait while a server or a disk is unavailable, and say so once."""

import logging
import math
import time

import anyio

from store.errors import StoreError

PAUSE_S = 0.5
"""The usual pause before another try."""

START_S = 10.0
"""How long the projector of a system that starts may take to create the read model."""


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


class Outage:
    """What one loop goes through from its first failure until it succeeds again.

    ``waits`` is logged with the first error after ``patient_s``, and again every ``remind_s``;
    ``continues``, if given, is logged at the end. The pauses of one outage double, beginning with
    ``first_s``.
    """

    def __init__(
        self,
        logger: logging.Logger,
        waits: str,
        continues: str = "",
        *,
        first_s: float = PAUSE_S,
        remind_s: float = math.inf,
        patient_s: float = 0.0,
    ) -> None:
        self._logger = logger
        self._patient_s = patient_s
        self._waits = waits
        self._continues = continues
        self._first_s = first_s
        self._remind_s = remind_s
        self._since: float | None = None
        self._pause_s = 0.0

    @property
    def waited_s(self) -> float:
        """The time since the first failure; 0 while nothing fails."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def note(self, error: StoreError) -> None:
        """Note a failure, and log it if it is the first one or a reminder is due."""
        if self._since is None:
            self._since = time.monotonic()
            self._reminder = Reminder(self._remind_s, first_s=self._patient_s)
        if self._reminder.is_due():
            self._logger.warning("%s: %s", self._waits, error)

    async def wait(
        self, error: StoreError, *, longest_s: float = 0.0, least_s: float = 0.0
    ) -> None:
        """Note a failure, and pause before the next try.

        The pause is at most ``longest_s``, by default ``first_s``, and at least ``least_s``.
        """
        self.note(error)
        longest_s = max(longest_s, self._first_s)
        self._pause_s = min(max(2 * self._pause_s, self._first_s), longest_s)
        await anyio.sleep(max(self._pause_s, least_s))

    def over(self) -> None:
        """End the outage, if there is one."""
        if self._since is not None and self._continues:
            self._logger.info("%s", self._continues)
        self._since, self._pause_s = None, 0.0
