"""Log misbehaving peers in one line a minute for each source, with a count.

Anybody can send malformed requests, or open too many connections, thousands of times a second.
Operators must see every such source, and none may fill the log.
"""

import asyncio
import logging
from collections import Counter

logger = logging.getLogger("photolog.connections")

EVERY_S = 60.0
SOURCES_MAX = 32
"""The most sources with lines of their own within a minute; all others share one."""

OTHERS = "other addresses"


class RejectionLog:
    """The log lines of one gateway; use it only in the event loop's thread."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._counts: dict[str, Counter[str]] = {}

    def note(self, source: str, code: str) -> None:
        """Log that ``source`` was rejected with ``code``, or count it if it was just logged."""
        if source not in self._counts and len(self._counts) >= SOURCES_MAX:
            source = OTHERS
        counts = self._counts.get(source)
        if counts is not None:
            counts[code] += 1
            return
        logger.warning("connections from %s: %s", source, code)
        self._counts[source] = Counter()
        asyncio.get_running_loop().call_later(self._every_s, self._sum_up, source)

    def _sum_up(self, source: str) -> None:
        counts = self._counts.pop(source)
        if not counts:
            return
        listed = ", ".join(f"{code} {n:,} times" for code, n in counts.most_common())
        logger.warning("connections from %s: %s in the last %g s", source, listed, self._every_s)
        self._counts[source] = Counter()
        asyncio.get_running_loop().call_later(self._every_s, self._sum_up, source)
