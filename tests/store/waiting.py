"""Waiting tasks, for tests of lanes and dispatch."""

import msgspec

from domain.photo.commands import UploadPhoto
from domain.photo.plan import plan
from domain.pipeline.stages import LANES
from store.log.log import Log
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from tests.conftest import CONTEXT, home
from tests.store.commands import upload

STAGES = ("metadata", "validation")
NEVER_IDLE_MS = 3_600_000


async def dispatched(log: Log, consumer: str = "one") -> Dispatch:
    """Return a dispatcher that has planned every event in the log."""
    dispatch = Dispatch(log, consumer)
    await dispatch.prepare(home(log))
    events = await dispatch.read(home(log), count=100, block_ms=10)
    await dispatch.commit([(r.position, plan(r.event, str(r.position))) for r in events])
    return dispatch


async def lanes_of(log: Log, consumer: str = "one") -> Lanes:
    lanes = Lanes(log, consumer, STAGES)
    for partition in range(log.partitions):
        await lanes.prepare(partition)
    return lanes


async def uploaded(log: Log, priority: int = 5) -> UploadPhoto:
    command = msgspec.structs.replace(upload(), priority=priority)
    await log.execute(command, client_id="alice", context=CONTEXT)
    return command


async def depth(log: Log) -> int:
    """Return the number of entries in all lanes of ``STAGES``, waiting or held."""
    keys = [log.keys.lane(home(log), stage, lane) for stage in STAGES for lane in LANES]
    return sum([await log.redis.xlen(key) for key in keys])
