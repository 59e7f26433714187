"""Reads the log's entries as they are stored, undecoded, for audits."""

from collections.abc import AsyncIterator

import msgspec

from store.log.log import Log
from store.log.position import Position
from store.log.stream import READ_COUNT, Entries
from store.redis.connection import translated


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a partition's stream, with the bytes of its fields."""

    position: Position
    fields: dict[bytes, bytes]


async def entries(log: Log, upto: Position) -> AsyncIterator[StoredEntry]:
    """Yield every entry of the partition up to and including ``upto``, in order.

    Raises:
        Unavailable: Redis does not answer.
    """
    key, start = log.keys.log(upto.partition), "-"
    while True:
        with translated():
            page = msgspec.convert(
                await log.redis.xrange(key, start, upto.entry_id, READ_COUNT), Entries
            )
        for entry_id, fields in page:
            yield StoredEntry(position=Position.of_entry(upto.partition, entry_id), fields=fields)
        if not page:
            return
        start = f"({page[-1][0].decode()}"


async def length(log: Log, partition: int) -> int:
    """Return the number of entries in the partition; raises Unavailable."""
    with translated():
        return msgspec.convert(await log.redis.xlen(log.keys.log(partition)), int)
