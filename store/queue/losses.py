"""Notes that tasks of a partition may be missing, until a worker has refilled them from the log.

| key | type | what |
|---|---|---|
| ``photolog:{07}:losses`` | sorted set | notes, scored by when a worker last dealt with them |

A note is written before whatever would hide the loss, such as the new group of a lane, and removed
after the refill. So a worker that dies in between leaves the note to another one.
"""

import uuid
from collections.abc import Collection
from typing import Any

import msgspec

from store.log.log import Log
from store.redis.connection import translated


async def note(log: Log, partition: int) -> None:
    """Note that lanes or timers of the partition may have lost tasks."""
    redis: Any = log.redis
    with translated():
        await redis.zadd(log.keys.losses(partition), {uuid.uuid4().hex: 0})


async def are_noted(log: Log, partition: int) -> bool:
    """Return whether tasks may be missing that no worker has refilled yet."""
    with translated():
        return await log.redis.zcard(log.keys.losses(partition)) > 0


async def claim(log: Log, partition: int, lease_s: float) -> list[bytes]:
    """Claim and return the notes that no worker has dealt with for ``lease_s``, in seconds."""
    script = log.redis.lua("queue/claim_losses")
    with translated():
        reply = await script(keys=[log.keys.losses(partition)], args=[int(lease_s * 1000)])
        return msgspec.convert(reply, list[bytes])


async def renew(log: Log, partition: int, notes: Collection[bytes]) -> None:
    """Say that the caller still deals with the notes."""
    redis: Any = log.redis
    now_ms = (await log.now()).timestamp() * 1000
    with translated():
        await redis.zadd(log.keys.losses(partition), dict.fromkeys(notes, now_ms), xx=True)


async def forget(log: Log, partition: int, notes: Collection[bytes]) -> None:
    """Remove the notes, because the tasks are back. Notes of later losses stay."""
    redis: Any = log.redis
    with translated():
        await redis.zrem(log.keys.losses(partition), *notes)
