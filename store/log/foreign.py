"""Reports foreign entries: entries of the log's streams that are not events, which readers skip.

| key | type | what |
|---|---|---|
| ``photolog:{07}:foreign`` | string | position of the last such entry that a dispatcher found |

Only health reads it, and it may be lost: an audit reads the log itself and lists each entry.
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
    """Record and log that these entries are not events; raises Unavailable."""
    first, last = (Position.of_entry(partition, each) for each in (entry_ids[0], entry_ids[-1]))
    with translated():
        await log.redis.set(log.keys.foreign(partition), str(last))
    logger.error(
        "another program has written to the log: skipped %d entries that are not events, %s to %s",
        *(len(entry_ids), first, last),
    )


async def noted(log: Log) -> Position | None:
    """Return a noted entry that is still in the log, if there is one; raises Unavailable."""
    for partition in range(log.partitions):
        key = log.keys.log(partition)
        with translated():
            reply = await log.redis.get(log.keys.foreign(partition))
            said: bytes | None = msgspec.convert(reply, bytes | None)
            if said is None:
                continue
            with suppress(ValueError):  # another program may have written to this key too
                found = Position.parse(said.decode())
                if await log.redis.xrange(key, found.entry_id, found.entry_id):
                    return found
    return None
