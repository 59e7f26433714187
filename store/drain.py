"""Draining a stage: its waiting tasks fail by the operator's wish, each with its event."""

import uuid

from domain.commands import RecordStageFailed
from domain.events import Context
from domain.failures import Category
from domain.pipeline import Task, check_stage
from store.consumers import has_group
from store.errors import Lost
from store.lanes import Lanes
from store.log import Claim, Log

CODE = "drained"
AT_ONCE = 50


async def drain(log: Log, stage: str, *, reason: str, context: Context, most: int) -> int:
    """Take away up to ``most`` tasks of the stage that nobody has begun; how many jobs have failed.

    Those that wait for their time are among them. A task of a job that has ended meanwhile goes
    without an event. Should this break off, what it had claimed is taken over by a worker and runs.

    Raises:
        UnknownStage: no pipeline has the stage; erasures are not drained.
    """
    check_stage(stage)
    lanes = Lanes(log, f"drain-{uuid.uuid4().hex[:8]}", (stage,))
    taken = failed = 0
    for partition in range(log.partitions):
        if not await _is_prepared(log, partition, stage):
            continue
        while taken < most:
            claimed = await lanes.claim(partition, min(AT_ONCE, most - taken))
            if not claimed:
                moved, _ = await lanes.promote(partition, all_of=stage)
                if moved == 0:
                    break
            taken += len(claimed)
            for each in claimed:
                failed += await _fail(log, each.task, each.claim, reason, context)
        await lanes.leave(partition)
    return failed


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
    )
    try:
        outcome = await log.execute(command, client_id=task.client_id, context=context, claim=claim)
    except Lost:  # somebody took it over meanwhile, and runs it
        return False
    return bool(outcome.events)
