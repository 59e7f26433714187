"""The position of an event in the log: ``<partition>:<ms>-<seq>``.

Positions of one partition are totally ordered; those of different partitions are not.
"""

import re
from typing import NamedTuple, Self

from store.errors import Unexpected

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
        try:
            ms, _, seq = entry_id.partition(b"-")
            # Half the time of ``cls(…)``, and it is called for every event.
            return tuple.__new__(cls, (partition, int(ms), int(seq)))  # pyright: ignore[reportUnknownMemberType]
        except (AttributeError, TypeError, ValueError) as error:
            raise Unexpected(
                f"Redis returned {entry_id!r:.60} as the id of a stream entry"
            ) from error

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
