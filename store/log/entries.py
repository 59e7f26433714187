"""Reads the log's entries as they are stored, undecoded, for audits."""

from collections.abc import AsyncIterator

import msgspec

from store.log.log import Log
from store.log.position import Position
from store.redis.connection import translated


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a partition's stream, with the bytes of its fields."""

    position: Position
    fields: dict[bytes, bytes]


async def entries(log: Log, upto: Position) -> AsyncIterator[StoredEntry]:
    """Yield every entry of the partition up to and including ``upto``, in order.

    Raises:
        Corrupt: the archive lacks some of them.
        Unavailable: Redis or the archive does not answer.
    """
    partition, start = upto.partition, Position.start(upto.partition)
    while start < upto and (page := await log.entries_after(partition, start.entry_id, safe=False)):
        for entry_id, fields in page:
            start = Position.of_entry(partition, entry_id)
            if start > upto:
                return
            yield StoredEntry(position=start, fields=fields)


async def length(log: Log, partition: int) -> int:
    """Return the number of entries in the partition's stream; raises Unavailable."""
    with translated():
        return msgspec.convert(await log.redis.xlen(log.keys.log(partition)), int)


async def body_at(log: Log, position: Position) -> bytes | None:
    """Return the stored body at the position, whatever it is; None if the log has no event there.

    Raises:
        Corrupt: the archive lacks the segment that has it.
        Unavailable: Redis or the archive does not answer, or the event is not known to be safe.
    """
    before, entry_id = position.before.entry_id, position.entry_id.encode()
    found = await log.entries_after(position.partition, before, count=1)
    return found[0][1].get(b"b") if found and found[0][0] == entry_id else None
