"""Which stages workers run, and stages with tasks that no worker runs.

| key | type | what |
|---|---|---|
| ``photolog:{07}:stages`` | sorted set | stages, scored by when a worker last reported them |

Roles of several versions may work on one log. A dispatcher plans the stages that a job's events
name, including those that its own version lacks: such a stage has the score 0 until a worker
reports it. Its tasks wait, at no cost of attempts, since workers claim only from the lanes of
stages that they run. Workers of versions before these reports run the first stages.
"""

from collections.abc import Collection
from functools import partial
from typing import Any

import msgspec

from domain.pipeline.job_stages import FIRST_TREE
from domain.pipeline.stages import ERASURE
from store.concurrently import for_each
from store.log.log import Log
from store.queue import losses
from store.queue.consumers import create_group, has_group
from store.queue.counters import lengths, stage_of_timer
from store.queue.turns import LOOKED_AT
from store.redis.connection import translated

FIRST_STAGES = frozenset({*FIRST_TREE, ERASURE})

STAGES_MAX = 1_000
"""The maximum number of stages read at once."""


async def report(log: Log, partition: int, stages: Collection[str]) -> None:
    """Report that a live worker runs these stages, for the tasks of the partition."""
    script = log.redis.lua("queue/report_stages")
    with translated():
        await script(keys=[log.keys.stages(partition)], args=list(stages))


async def note_planned(log: Log, partition: int, stages: Collection[str]) -> None:
    """Remember stages that are planned in the partition, and prepare their lanes.

    Then lanes that are lost before a worker runs the stage are noticed like all others.
    """
    redis: Any = log.redis
    seen = await seen_in(log, partition)
    lanes = log.keys.lanes(partition, tuple(stages))
    missing = [each for each in lanes if not await has_group(redis, *each)]
    if any(stage in seen for _, stage in missing):
        await losses.note(log, partition)
    for key, stage in missing:
        await create_group(redis, key, stage)
    with translated():
        await redis.zadd(log.keys.stages(partition), dict.fromkeys(stages, 0), nx=True)


async def are_new(log: Log, partition: int, stages: Collection[str]) -> frozenset[str]:
    """Return those of the stages that were never planned or run in the partition.

    They had no lanes, so they have lost no tasks. If no worker has ever reported, all may have been
    of earlier versions, or the reports are lost: then none of the stages counts as new.
    """
    seen = await _last_reports(log, partition)
    return frozenset(stages) - seen.keys() if any(seen.values()) else frozenset()


async def seen_in(log: Log, partition: int) -> frozenset[str]:
    """Return the stages that were ever planned or run in the partition, as far as is known."""
    return frozenset(await _last_reports(log, partition))


async def unserved(log: Log, expected: Collection[str], within_ms: int) -> dict[str, int]:
    """Return the stages that no live worker runs, with the number of their tasks that wait.

    A stage that is not ``expected`` is left out if none of its tasks waits. Live workers have
    reported within ``within_ms``. If no report is that new, the live workers count as workers of
    an earlier version, which run the first stages.
    """
    last: dict[str, float] = dict.fromkeys(expected, 0.0)
    reports = await for_each(partial(_last_reports, log), range(log.partitions))
    for each in reports:
        for stage, at_ms in each.items():
            last[stage] = max(at_ms, last.get(stage, 0.0))
    since_ms = (await log.now()).timestamp() * 1000 - within_ms
    served = {stage for stage, at_ms in last.items() if at_ms >= since_ms} or FIRST_STAGES
    missing = tuple(sorted(last.keys() - served))
    if not missing:
        return {}
    waiting = await _waiting(log, missing)
    return {stage: waiting[stage] for stage in missing if waiting[stage] or stage in expected}


async def _waiting(log: Log, stages: tuple[str, ...]) -> dict[str, int]:
    """Count the tasks in the lanes and timers; of timers, the first ``LOOKED_AT`` a partition."""
    found = dict.fromkeys(stages, 0)
    for (stage, _), count in (await lengths(log, stages)).items():
        found[stage] += count
    for timers in await for_each(partial(_first_timers, log), range(log.partitions)):
        for stage in map(stage_of_timer, timers):
            if stage in found:
                found[stage] += 1
    return found


async def _first_timers(log: Log, partition: int) -> list[bytes]:
    redis: Any = log.redis
    with translated():
        reply = await redis.zrange(log.keys.timers(partition), 0, LOOKED_AT - 1)
        return msgspec.convert(reply, list[bytes])


async def _last_reports(log: Log, partition: int) -> dict[str, float]:
    """Return when each stage was last reported, in ms since 1970; 0 if it was only planned."""
    redis: Any = log.redis
    with translated():
        reply = await redis.zrange(log.keys.stages(partition), -STAGES_MAX, -1, withscores=True)
        found = msgspec.convert(reply, list[tuple[bytes, float]])
    return {name.decode("utf-8", "replace"): at_ms for name, at_ms in found}
