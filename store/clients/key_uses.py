"""When each API key was last used.

| key | type | what |
|---|---|---|
| ``photolog:{00}:uses:<id>`` | string, expires | the time of the last use, in ms since 1970 |

It is not a fact and not in the log. A time is kept for ``KEPT_S``, so those of keys that have ended
disappear by themselves. Gateways bound how often they write.
"""

from collections.abc import Iterable, Mapping

import msgspec

from store.log.log import Log
from store.redis.connection import translated

KEPT_S = 366 * 86_400

CHUNK = 500
"""How many keys are written or read at once."""


async def note_uses(log: Log, uses: Mapping[str, int]) -> None:
    """Write the times of the last uses, in ms since 1970, by key id; raises Unavailable."""
    items = list(uses.items())
    for start in range(0, len(items), CHUNK):
        with translated():
            await log.redis.in_a_row(
                *(
                    ("SET", log.keys.key_use(0, key_id), at_ms, "EX", KEPT_S)
                    for key_id, at_ms in items[start : start + CHUNK]
                )
            )


async def read_uses(log: Log, key_ids: Iterable[str]) -> dict[str, int]:
    """Return the times of the last uses, in ms since 1970, of those keys that were used.

    Raises:
        Unavailable: Redis does not answer.
    """
    ids = list(key_ids)
    found: dict[str, int] = {}
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        with translated():
            replies = await log.redis.in_a_row(
                *(("GET", log.keys.key_use(0, each)) for each in part)
            )
            values = msgspec.convert(replies, list[bytes | None])
        for key_id, value in zip(part, values, strict=True):
            if value is not None and value.isdigit():
                found[key_id] = int(value)
    return found
