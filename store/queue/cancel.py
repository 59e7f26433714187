"""Cancel the waiting tasks of a stage for an operator: each fails, with an event."""

import uuid
from collections.abc import AsyncGenerator, Sequence

from domain.photo.commands import RecordStageFailed
from domain.photo.decide import CANCELLED
from domain.photo.events import Context
from domain.pipeline.failures import Category
from domain.pipeline.stages import Task, check_stage
from store.errors import Lost
from store.log.log import Claim, Log
from store.log.outcome import Appended
from store.queue.consumers import has_group
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import ClaimRequest

AT_ONCE = 50


async def cancel(
    log: Log, stages: Sequence[str], *, reason: str, context: Context, most: int
) -> int:
    """Remove up to ``most`` tasks that no worker has begun; return how many jobs failed.

    Delayed tasks are included. A task whose job has ended meanwhile is removed without an event. If
    this is interrupted, a worker takes over and runs the tasks that were claimed.

    Raises:
        UnknownStage: no pipeline has the stage; erasures cannot be cancelled.
    """
    for stage in stages:
        check_stage(stage)
    consumer = f"cancel-{uuid.uuid4().hex[:8]}"
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
    """Claim and yield the waiting tasks, including delayed ones."""
    while most > 0:
        request = ClaimRequest(stages=lanes.stages, pays=False)
        claimed = await lanes.claim(partition, min(AT_ONCE, most), request)
        if not claimed:
            moved, _ = await lanes.promote(partition, all_of=stage)
            if moved == 0:
                return
        most -= len(claimed)
        for each in claimed:
            yield each


async def _is_prepared(log: Log, partition: int, stage: str) -> bool:
    """Return whether workers have prepared the lanes.

    Whoever prepares lanes must recover the tasks that they lost, so it must not happen here.
    """
    lanes = log.keys.lanes(partition, (stage,))
    return all([await has_group(log.redis, key, stage) for key, _ in lanes])


async def _fail(log: Log, task: Task, claim: Claim, reason: str, context: Context) -> bool:
    command = RecordStageFailed(
        photo_id=task.photo_id,
        job_id=task.job_id,
        stage=task.stage,
        attempt=task.attempt,
        category=Category.CONFIGURATION,
        code=CANCELLED,
        error=reason,
        begun=False,
    )
    try:
        outcome = await log.execute(command, client_id=task.client_id, context=context, claim=claim)
    except Lost:  # a worker has taken it over meanwhile, and runs it
        return False
    return isinstance(outcome, Appended)
