"""Log lines about misbehaving peers: one a minute for each source, with a count.

Anybody can send malformed requests, or open more connections than allowed, thousands of times a
second. Each must be seen by operators, and none may fill the log.
"""

import asyncio
import logging
from collections import Counter

logger = logging.getLogger("photolog.connections")

EVERY_S = 60.0
SOURCES_MAX = 32
"""Sources that have lines of their own within a minute; the others share one."""

OTHERS = "other addresses"


class Noise:
    """Of one gateway, for its event loop's thread."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._counts: dict[str, Counter[str]] = {}

    def note(self, source: str, code: str) -> None:
        """Log that ``source`` was refused with ``code``, or count it if that was just logged."""
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
