"""Count the tasks in the lanes, and those that ever entered and left."""

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, cast

import anyio
import msgspec

from store.concurrently import for_each
from store.errors import GroupGone, Unavailable, WrongType
from store.log.log import Log
from store.redis.connection import translated

ANSWER_S = 3.0
"""A partition that takes longer is left out, so that one server cannot block an inspection."""


TIMERS_READ = 10_000
"""The most delayed tasks of a partition that are counted."""


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks ever entered the lanes of a stage in one partition, and how many left.

    Of those that are there, workers hold ``in_progress``. The ``delayed`` tasks are in the timers.
    """

    came: int = 0
    left: int = 0
    in_progress: int = 0
    delayed: int = 0

    @property
    def waiting(self) -> int:
        return max(0, self.came - self.left - self.in_progress)


Passed = dict[int, dict[str, Passing]]
"""Counts by partition and stage."""


async def passed(log: Log, stages: tuple[str, ...]) -> Passed:
    """Count the tasks in the lanes of each stage, and those that ever entered and left.

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
        pipe.xinfo_groups(key)
    cast("Any", pipe).zrange(log.keys.timers(partition), 0, TIMERS_READ - 1)
    *replies, timers = map(none_if_gone, await pipe.execute(raise_on_error=False))
    found = dict.fromkeys(stages, Passing())
    for (_, stage), stream, groups in zip(named, replies[::2], replies[1::2], strict=True):
        if stream is not None:
            came, there = as_count(stream["entries-added"]), as_count(stream["length"])
            before = found[stage]
            found[stage] = msgspec.structs.replace(
                before,
                came=before.came + came,
                left=before.left + came - there,
                in_progress=before.in_progress
                + sum(as_count(each["pending"]) for each in groups or ()),
            )
    for stage, delayed in Counter(map(stage_of_timer, timers or ())).items():
        if stage in found:
            found[stage] = msgspec.structs.replace(found[stage], delayed=delayed)
    return found


def stage_of_timer(member: bytes) -> str:
    """Return the stage of a member of the timers; "" for the one that is always there."""
    stage, _, rest = member.partition(b":")
    return stage.decode("ascii", "replace") if rest else ""


async def lengths(log: Log, stages: tuple[str, ...]) -> dict[tuple[str, str], int]:
    """Count waiting and running tasks by stage and lane, over all partitions."""
    found: Counter[tuple[str, str]] = Counter()
    for each in await for_each(partial(_lengths, log, stages), range(log.partitions)):
        found.update(each)
    return dict(found)


async def _lengths(log: Log, stages: tuple[str, ...], partition: int) -> dict[tuple[str, str], int]:
    named = log.keys.lanes(partition, stages)
    with translated():
        pipe = log.redis.pipeline(transaction=False)
        for key, _ in named:
            pipe.xlen(key)
        replies = msgspec.convert(await pipe.execute(), list[int])
    return {
        (stage, log.keys.lane_of(key)): length
        for (key, stage), length in zip(named, replies, strict=True)
    }


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
