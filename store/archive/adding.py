"""Adds entries to the streams of a log under the ids that they already have.

Those that a stream has already are left out, so that it can be done again after a crash.
"""

from collections.abc import Sequence

from store.archive.segment import Entry
from store.errors import Corrupt
from store.keys import Keys
from store.redis.connection import Client, translated

AT_ONCE = 200
"""Entries that one script adds."""

PARTS_MAX = 4_000
"""Fields and values that one entry may have: Lua passes about 8,000 arguments to a command."""


class Adder:
    """Adds entries to the partitions that hold ``mark`` in place of the log's id, or the id."""

    def __init__(self, redis: Client, keys: Keys, mark: str) -> None:
        self._keys = keys
        self._mark = mark
        self._script = redis.lua("archive/import")

    async def add(self, partition: int, entries: Sequence[Entry]) -> None:
        """Add the entries, at most ``AT_ONCE``, which are in order.

        Raises:
            Corrupt: the partition belongs to another log, or an entry has too many fields.
            Unavailable, Full: Redis does not answer, or has no room.
        """
        args: list[bytes | int | str] = [self._mark]
        for entry in entries:
            if len(entry.parts) > PARTS_MAX:
                raise Corrupt(
                    f"the entry {entry.entry_id.decode()} has {len(entry.parts) // 2:,} fields, "
                    "which no event has"
                )
            ms, _, seq = entry.entry_id.partition(b"-")
            args += [ms, seq, len(entry.parts), *entry.parts]
        with translated():
            keys = [self._keys.log(partition), self._keys.identity(partition)]
            if await self._script(keys=keys, args=args) == -1:
                raise Corrupt(f"partition {partition} belongs to another log")
