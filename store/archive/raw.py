"""Reads entries of a stream exactly as they are stored, to seal or to compare them."""

from functools import partial

import msgspec

from store.archive.segment import Entry
from store.log.log import Log
from store.log.position import LAST_SEQ, Position
from store.redis.connection import translated

READ_COUNT = 500

_Reply = list[tuple[bytes, list[bytes]]]


class RawStream:
    """The entries of a log's streams, with repeated fields, and only those that are safe."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._read = log.redis.lua("archive/read")

    async def read(
        self, first: Position, upto: Position | None = None, *, count: int = READ_COUNT
    ) -> list[Entry]:
        """Return the entries from ``first`` on, up to and including ``upto``.

        Raises:
            Unavailable: no answer, or they are not known to be safe.
        """
        partition = first.partition
        with translated():
            reply = await self._read(
                keys=[self._log.keys.log(partition)],
                args=[first.entry_id, upto.entry_id if upto else "+", count],
                send=partial(self._log.durability.read, partition),
            )
            return [Entry(*each) for each in msgspec.convert(reply, _Reply)]

    async def all(self, first: Position, upto: Position) -> list[Entry]:
        """Return every entry from ``first`` to ``upto``, both included; raises as ``read``."""
        found: list[Entry] = []
        while page := await self.read(first, upto):
            found += page
            if len(page) < READ_COUNT:
                break
            first = after(Position.of_entry(first.partition, page[-1].entry_id))
        return found


def after(position: Position) -> Position:
    """Return the first possible position after this one."""
    if position.seq == LAST_SEQ:
        return position._replace(ms=position.ms + 1, seq=0)
    return position._replace(seq=position.seq + 1)
