"""Log what a slow start waits for: calmly at first, as a warning if it takes long."""

import logging
import time

from ops.telemetry.logs import progress
from store.outage import Reminder

LONG_S = 60.0
"""A start that takes longer is logged as a warning."""


class SlowStart:
    """Logs a line every ``every_s`` seconds, the first after ``every_s``."""

    def __init__(self, every_s: float, *, long_s: float = LONG_S) -> None:
        self._reminder = Reminder(every_s, first_s=every_s)
        self._warns_at = time.monotonic() + long_s

    def waits(self, what: str) -> None:
        """Log that the start waits for ``what``, if a line is due."""
        if self._reminder.is_due():
            is_long = time.monotonic() >= self._warns_at
            progress.log(logging.WARNING if is_long else logging.INFO, "waiting for %s", what)
