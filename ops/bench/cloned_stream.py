"""A log on a server of its own that holds the events of one photo, cloned."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ops.bench.recorded import Clones, Entry
from store.log.log import Log
from store.log.stream import Recorded
from store.redis.connection import connect

PREFIX = "bench-clones"

PIPELINED = 2_000
"""Entries that are added to the stream at once."""


def fill(url: str, photos: int, model: Sequence[Recorded]) -> int:
    """Add the events of ``photos`` clones to the log at ``url``; return how many there are."""
    return asyncio.run(_fill(url, photos, model))


async def _fill(url: str, photos: int, model: Sequence[Recorded]) -> int:
    redis = connect(url)
    log = await Log.open(redis, prefix=PREFIX)
    count = 0
    pending: list[Entry] = []
    for each in Clones(model).entries(photos):
        pending.append(each)
        if len(pending) == PIPELINED:
            await _add(redis, log, pending)
            count += len(pending)
            pending = []
    await _add(redis, log, pending)
    await redis.aclose()
    return count + len(pending)


async def _add(redis: Any, log: Log, entries: list[Entry]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for type_, photo_id, version, body in entries:
        pipeline.xadd(log.keys.log(0), {"t": type_, "p": photo_id, "v": version, "b": body})
    await pipeline.execute()
