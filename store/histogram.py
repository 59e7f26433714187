"""Durations, counted by how long they were."""

from bisect import bisect_left


class Distribution:
    """``counts`` has one entry for each of ``bounds``, up to and with it, and one for the rest.

    A hundred thousand values a second must not cost much.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
