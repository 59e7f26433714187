"""A histogram of durations."""

from bisect import bisect_left


class Distribution:
    """Counts values by inclusive upper bound: one count for each of ``bounds``, one for the rest.

    Cheap enough for a hundred thousand values a second.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
