"""Draining a stage: its waiting tasks fail by the operator's wish, each with its event."""

import uuid
from collections.abc import AsyncGenerator, Sequence

from domain.photo.commands import RecordStageFailed
from domain.photo.events import Context
from domain.pipeline.failures import Category
from domain.pipeline.stages import Task, check_stage
from store.errors import Lost
from store.log.log import Claim, Log
from store.log.outcome import Appended
from store.queue.consumers import has_group
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import Wish

CODE = "drained"
AT_ONCE = 50


async def drain(
    log: Log, stages: Sequence[str], *, reason: str, context: Context, most: int
) -> int:
    """Take away up to ``most`` tasks of the stages that nobody has begun; how many jobs failed.

    Those that wait for their time are among them. A task of a job that has ended meanwhile goes
    without an event. Should this break off, what it had claimed is taken over by a worker and runs.

    Raises:
        UnknownStage: no pipeline has the stage; erasures are not drained.
    """
    for stage in stages:
        check_stage(stage)
    consumer = f"drain-{uuid.uuid4().hex[:8]}"
    left, failed = most, 0
    for stage in stages:
        lanes = Lanes(log, consumer, (stage,))
        for partition in range(log.partitions):
            if left > 0 and await _is_prepared(log, partition, stage):
                async for each in _waiting(lanes, partition, stage, left):
                    failed += await _fail(log, each.task, each.claim, reason, context)
                    left -= 1
                await lanes.leave(partition)
    return failed


async def _waiting(lanes: Lanes, partition: int, stage: str, most: int) -> AsyncGenerator[Claimed]:
    """The tasks that wait, each claimed, those too that wait for their time."""
    while most > 0:
        wish = Wish(stages=lanes.stages, pays=False)
        claimed = await lanes.claim(partition, min(AT_ONCE, most), wish)
        if not claimed:
            moved, _ = await lanes.promote(partition, all_of=stage)
            if moved == 0:
                return
        most -= len(claimed)
        for each in claimed:
            yield each


async def _is_prepared(log: Log, partition: int, stage: str) -> bool:
    """Whether workers have prepared the lanes. Who prepares lanes looks for tasks that they lost,
    so it must not be done here."""
    lanes = log.keys.lanes(partition, (stage,))
    return all([await has_group(log.redis, key, stage) for key, _ in lanes])


async def _fail(log: Log, task: Task, claim: Claim, reason: str, context: Context) -> bool:
    command = RecordStageFailed(
        photo_id=task.photo_id,
        job_id=task.job_id,
        stage=task.stage,
        attempt=task.attempt,
        category=Category.CONFIGURATION,
        code=CODE,
        error=reason,
        begun=False,
    )
    try:
        outcome = await log.execute(command, client_id=task.client_id, context=context, claim=claim)
    except Lost:  # somebody took it over meanwhile, and runs it
        return False
    return isinstance(outcome, Appended)
