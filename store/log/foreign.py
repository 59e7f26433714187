"""Entries in the log's streams that are no events: readers pass them over, here they are told of.

| key | type | what |
|---|---|---|
| ``photolog:{07}:foreign`` | string | position of the last such entry that a dispatcher came upon |

It is for health alone, and may be lost: an audit reads the log itself, and names each.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from store.log.log import Log
from store.log.position import Position
from store.redis.connection import translated

logger = logging.getLogger("photolog.log")


async def note(log: Log, partition: int, entry_ids: Sequence[bytes]) -> None:
    """Say that these entries are no events; raises Unavailable."""
    first, last = (Position.of_entry(partition, each) for each in (entry_ids[0], entry_ids[-1]))
    with translated():
        await log.redis.set(log.keys.foreign(partition), str(last))
    logger.error(
        "others have written into the log what is no event: %d entries are passed over, %s to %s",
        *(len(entry_ids), first, last),
    )


async def noted(log: Log) -> Position | None:
    """One such entry that stands in the log yet, if any was come upon; raises Unavailable."""
    for partition in range(log.partitions):
        key = log.keys.log(partition)
        with translated():
            reply = await log.redis.get(log.keys.foreign(partition))
            said: bytes | None = msgspec.convert(reply, bytes | None)
            if said is None:
                continue
            with suppress(ValueError):  # it is no position where others write here too
                found = Position.parse(said.decode())
                if await log.redis.xrange(key, found.entry_id, found.entry_id):
                    return found
    return None
