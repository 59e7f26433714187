"""Where an event stands in the log: ``<partition>:<ms>-<seq>``.

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
        """Raises Unexpected if ``entry_id`` is not what a server gives to an entry."""
        try:
            ms, _, seq = entry_id.partition(b"-")
            return cls(partition, int(ms), int(seq))
        except (AttributeError, TypeError, ValueError) as error:
            raise Unexpected(f"Redis names an entry of a stream {entry_id!r:.60}") from error

    @classmethod
    def start(cls, partition: int) -> Self:
        """Before the first event of the partition."""
        return cls(partition, 0, 0)

    @property
    def before(self) -> Self:
        """The last position that could come before this one; not of the start of a partition."""
        if self.seq:
            return self._replace(seq=self.seq - 1)
        return self._replace(ms=self.ms - 1, seq=LAST_SEQ)

    @property
    def entry_id(self) -> str:
        return f"{self.ms}-{self.seq}"

    def __str__(self) -> str:
        return f"{self.partition}:{self.ms}-{self.seq}"
