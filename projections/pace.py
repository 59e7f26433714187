"""How fast the projector commits."""

GATHER_S = 0.05
"""How long events gather into one commit while many come."""

AT_ONCE = 16
"""Commits that are made without delay before events gather: as many as one photo needs."""


class Pace:
    """Pace the commits of one partition: a few without delay, many at one each ``GATHER_S``.

    Each commit wakes the gateways and everyone who watches, which is the main cost of many commits.
    """

    def __init__(self) -> None:
        self._due = 0.0

    def pause_s(self, now: float) -> float:
        """Return how long to wait after a commit at ``now`` before the next one."""
        self._due = max(self._due, now - AT_ONCE * GATHER_S) + GATHER_S
        return max(0.0, self._due - now)
