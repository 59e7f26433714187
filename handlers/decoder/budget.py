"""Divide the memory of a worker's decoders between them.

Each decoder always has its share: the memory of an idle decoder, its decoded pictures, and an
allowance that an ordinary photo fits in. The rest of the total is spare memory for the few pictures
that need more. So these wait for each other, and an ordinary photo never waits for them.
"""

from handlers.imaging.cost import Cost

IDLE_BYTES = 80 << 20
"""The memory of a decoder before its first picture. Measured: 66 MB, of which 25 are shared."""

LARGEST_ALLOWANCE_BYTES = 192 << 20
"""Enough for 24 megapixels in any format except WebP, and for 50 as JPEG."""

SMALLEST_ALLOWANCE_BYTES = 96 << 20
"""Enough for a JPEG of 24 megapixels."""

_ALLOWED_PART = 4
"""The allowances of all decoders together are at most one part in this many of the total."""


class Budget:
    """The budget of ``count`` decoders, each with a cache of ``cache_bytes`` for pictures.

    ``total_bytes`` bounds all of them together, ``process_bytes`` each of them.
    """

    def __init__(
        self, total_bytes: int, count: int, *, cache_bytes: int, process_bytes: int
    ) -> None:
        self.total_bytes = total_bytes
        self._resting = IDLE_BYTES + cache_bytes
        self.allowance_bytes = allowance(total_bytes, count)
        share = self._resting + self.allowance_bytes
        self.spare_bytes = max(0, total_bytes - count * share)
        self.largest_bytes = min(
            self.allowance_bytes + self.spare_bytes, max(0, process_bytes - self._resting)
        )
        self._taken: dict[object, int] = {}

    @property
    def taken_bytes(self) -> int:
        """The spare memory in use."""
        return sum(self._taken.values())

    def extra_bytes(self, cost: Cost | None) -> int:
        """Return the memory needed beyond the allowance; 0 while the cost is unknown."""
        return 0 if cost is None else max(0, cost.memory_bytes - self.allowance_bytes)

    def has_room(self, extra_bytes: int) -> bool:
        return self.taken_bytes + extra_bytes <= self.spare_bytes

    def take(self, owner: object, extra_bytes: int) -> None:
        self._taken[owner] = extra_bytes

    def give_back(self, owner: object) -> None:
        self._taken.pop(owner, None)


def allowance(total_bytes: int, count: int) -> int:
    """Return the memory that each of ``count`` decoders may use for any picture."""
    part = total_bytes // (_ALLOWED_PART * count)
    return min(LARGEST_ALLOWANCE_BYTES, max(SMALLEST_ALLOWANCE_BYTES, part))


def affordable(total_bytes: int, most: int, cache_bytes: int) -> int:
    """Return how many decoders, from 1 to ``most``, the total is enough for."""
    share = IDLE_BYTES + cache_bytes + SMALLEST_ALLOWANCE_BYTES
    return max(1, min(most, total_bytes // share))
