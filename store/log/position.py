"""The position of an event in the log: ``<partition>:<ms>-<seq>``.

Positions of one partition are totally ordered; those of different partitions are not.
"""

import re
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, NamedTuple, Self, cast

from store.errors import Unexpected

_new: Any = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

_FORM = re.compile(r"(\d{1,5}):(\d{1,16})-(\d{1,16})", re.ASCII)

LAST_SEQ = 2**64 - 1


class Position(NamedTuple):
    partition: int
    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError if ``text`` is not a position."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:40]!r} is not a position such as 0:1795300000000-0")
        return cls(*(int(part) for part in match.groups()))

    @classmethod
    def of_entry(cls, partition: int, entry_id: bytes) -> Self:
        """Raises Unexpected if ``entry_id`` is not a stream entry's id."""
        return cls.of_entries(partition, (entry_id,))[0]

    @classmethod
    def of_entries(cls, partition: int, entry_ids: Iterable[bytes]) -> list[Self]:
        """Return the positions of entries with these ids; raises as ``of_entry``."""
        new = cast("Callable[[type[Self], tuple[int, int, int]], Self]", _new)
        found: list[Self] = []
        for entry_id in entry_ids:
            try:
                ms, _, seq = entry_id.partition(b"-")
                # Half the time of ``cls(…)``: a rebuild does this for every event.
                found.append(new(cls, (partition, int(ms), int(seq))))
            except (AttributeError, TypeError, ValueError) as error:
                raise Unexpected(
                    f"Redis returned {entry_id!r:.60} as the id of a stream entry"
                ) from error
        return found

    @classmethod
    def of_numbers(cls, partition: int, ms: Iterable[int], seq: Iterable[int]) -> list[Self]:
        """Return the positions with these times and numbers, in order."""
        new = cast("Callable[[type[Self], tuple[int, int, int]], Self]", _new)
        return [new(cls, place) for place in zip(repeat(partition), ms, seq, strict=False)]

    @classmethod
    def start(cls, partition: int) -> Self:
        """The position before the partition's first event."""
        return cls(partition, 0, 0)

    @property
    def before(self) -> Self:
        """The last possible position before this one, which must not be a partition's start."""
        if self.seq:
            return self._replace(seq=self.seq - 1)
        return self._replace(ms=self.ms - 1, seq=LAST_SEQ)

    @property
    def entry_id(self) -> str:
        return f"{self.ms}-{self.seq}"

    def __str__(self) -> str:
        return f"{self.partition}:{self.ms}-{self.seq}"
