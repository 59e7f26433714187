"""Count the tasks in the lanes, and those that ever entered and left."""

from contextlib import suppress
from typing import Any

import anyio
import msgspec

from store.errors import GroupGone, Unavailable, WrongType
from store.log.log import Log
from store.redis.connection import translated

ANSWER_S = 3.0
"""A partition that takes longer is left out, so that one server cannot block an inspection."""


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks ever entered the lanes of a stage in one partition, and how many left."""

    came: int = 0
    left: int = 0


Passed = dict[int, dict[str, Passing]]
"""Counts by partition and stage."""


async def passed(log: Log, stages: tuple[str, ...]) -> Passed:
    """Count the tasks that ever entered and left the lanes of each stage, by partition.

    Partitions that do not answer are left out. A lost lane starts counting again.
    """
    found: Passed = {}

    async def count_partition(partition: int) -> None:
        with suppress(Unavailable), translated(), anyio.fail_after(ANSWER_S):
            found[partition] = await _passed(log, partition, stages)

    async with anyio.create_task_group() as tasks:
        for partition in range(log.partitions):
            tasks.start_soon(count_partition, partition)
    return found


async def _passed(log: Log, partition: int, stages: tuple[str, ...]) -> dict[str, Passing]:
    named = log.keys.lanes(partition, stages)
    pipe = log.redis.pipeline(transaction=False)
    for key, _ in named:
        pipe.xinfo_stream(key)
    found = dict.fromkeys(stages, Passing())
    for (_, stage), reply in zip(named, await pipe.execute(raise_on_error=False), strict=True):
        if (stream := none_if_gone(reply)) is not None:
            came, there = as_count(stream["entries-added"]), as_count(stream["length"])
            before = found[stage]
            found[stage] = Passing(came=before.came + came, left=before.left + came - there)
    return found


async def lengths(log: Log, stages: tuple[str, ...]) -> dict[tuple[str, str], int]:
    """Count waiting and running tasks by stage and lane, over all partitions."""
    found: dict[tuple[str, str], int] = {}
    for partition in range(log.partitions):
        named = log.keys.lanes(partition, stages)
        with translated():
            pipe = log.redis.pipeline(transaction=False)
            for key, _ in named:
                pipe.xlen(key)
            replies = msgspec.convert(await pipe.execute(), list[int])
            for (key, stage), length in zip(named, replies, strict=True):
                name = stage, log.keys.lane_of(key)
                found[name] = found.get(name, 0) + length
    return found


def none_if_gone(reply: Any) -> Any:
    """Return the reply, None if the stream or group does not exist; raise any other error."""
    if not isinstance(reply, Exception):
        return reply
    try:
        with translated():
            raise reply
    except (GroupGone, WrongType):
        return None


def as_count(reply: Any) -> int:
    """Return the reply as a number; raises ValueError for another kind of reply."""
    return msgspec.convert(reply, int)
