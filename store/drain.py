"""Draining a stage: its waiting tasks fail by the operator's wish, each with its event."""

import uuid

from domain.commands import RecordStageFailed
from domain.events import Context
from domain.failures import Category
from domain.pipeline import Task
from store.errors import Lost
from store.lanes import Lanes
from store.log import Claim, Log

CODE = "drained"
AT_ONCE = 50


async def drain(log: Log, stage: str, *, reason: str, context: Context, most: int) -> int:
    """Fail up to ``most`` tasks of the stage that nobody has begun; how many there were.

    Those that wait for their time are among them. Should this break off, what it had claimed is
    taken over by a worker and runs.
    """
    lanes = Lanes(log, f"drain-{uuid.uuid4().hex[:8]}", (stage,))
    await lanes.prepare()
    failed = 0
    for partition in range(log.partitions):
        while failed < most:
            claimed = await lanes.claim(partition, min(AT_ONCE, most - failed))
            if not claimed:
                moved, _ = await lanes.promote(partition, all_of=stage)
                if moved == 0:
                    break
            for each in claimed:
                await _fail(log, each.task, each.claim, reason, context)
                failed += 1
        await lanes.leave(partition)
    return failed


async def _fail(log: Log, task: Task, claim: Claim, reason: str, context: Context) -> None:
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
        await log.execute(command, client_id=task.client_id, context=context, claim=claim)
    except Lost:  # somebody took it over meanwhile, and runs it
        return
