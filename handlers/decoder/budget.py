"""How much memory the decoders of a worker may use, and who may begin with how much.

Each decoder always has its share: what an idle one takes, its decoded pictures, and an allowance
that an ordinary photo fits in. What is left of the total is spare, for the few pictures that need
more; so these wait for each other, and an ordinary photo never waits for them.
"""

from handlers.imaging.cost import Cost

IDLE_BYTES = 80 << 20
"""What a decoder takes before its first picture. Measured 66 MB, of which 25 are shared."""

LARGEST_ALLOWANCE_BYTES = 192 << 20
"""The usual photo of 24 megapixels of any format but WebP; 50 as JPEG."""

SMALLEST_ALLOWANCE_BYTES = 96 << 20
"""What a JPEG of 24 megapixels takes."""

_ALLOWED_PART = 4
"""An allowance is at most this part of the total, shared out over the decoders."""


class Budget:
    """``total_bytes`` for ``count`` decoders that keep ``cache_bytes`` of pictures each.

    ``process_bytes`` is the most that any one of them may use.
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
        """Spare memory in use."""
        return sum(self._taken.values())

    def extra_bytes(self, cost: Cost | None) -> int:
        """What the picture needs beyond the allowance; one of unknown cost does with that."""
        return 0 if cost is None else max(0, cost.memory_bytes - self.allowance_bytes)

    def has_room(self, extra_bytes: int) -> bool:
        return self.taken_bytes + extra_bytes <= self.spare_bytes

    def take(self, owner: object, extra_bytes: int) -> None:
        self._taken[owner] = extra_bytes

    def give_back(self, owner: object) -> None:
        self._taken.pop(owner, None)


def allowance(total_bytes: int, count: int) -> int:
    """What one of ``count`` decoders may use for any picture."""
    part = total_bytes // (_ALLOWED_PART * count)
    return min(LARGEST_ALLOWANCE_BYTES, max(SMALLEST_ALLOWANCE_BYTES, part))


def affordable(total_bytes: int, most: int, cache_bytes: int) -> int:
    """How many decoders, from 1 up to ``most``, the total is enough for."""
    share = IDLE_BYTES + cache_bytes + SMALLEST_ALLOWANCE_BYTES
    return max(1, min(most, total_bytes // share))
