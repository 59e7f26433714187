"""Run a stage over all photos, without letting tasks pile up."""

from collections import Counter
from collections.abc import Callable

import anyio
import msgspec

from ops.client.operations import Operations
from ops.client.queues import Queues

LOOK_S = 0.5


class Progress(msgspec.Struct, kw_only=True):
    """``passed`` photos of ``total`` are handled; ``waiting`` tasks are in the low lanes."""

    total: int = 0
    requested: int = 0
    already: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter[str])
    waiting: int = 0
    paused: bool = False

    @property
    def passed(self) -> int:
        return self.requested + self.already + self.skipped.total()


async def backfill(
    operations: Operations,
    stage: str,
    run: str,
    *,
    ahead: int,
    told: Callable[[Progress], None],
    reason: str | None = None,
) -> Progress:
    """Request the stage page by page, while no more than ``ahead`` tasks wait in the low lanes.

    ``told`` is called with the same, updated progress. An interrupted backfill continues when it
    is called again with the same ``run``: each photo is requested once.
    """
    progress, cursor = Progress(), None
    while True:
        await _wait_for_capacity(operations, stage, ahead, progress, told)
        page = await operations.backfill(stage, run, cursor, reason)
        progress.total = progress.total if page.total is None else page.total
        progress.requested += page.requested
        progress.already += page.already
        progress.skipped.update(each.code for each in page.skipped)
        told(progress)
        cursor = page.next_cursor
        if cursor is None:
            return progress


async def _wait_for_capacity(
    operations: Operations,
    stage: str,
    ahead: int,
    progress: Progress,
    told: Callable[[Progress], None],
) -> None:
    while True:
        queues = await operations.queues()
        progress.waiting, progress.paused = queues.waiting_low, _is_paused(queues, stage)
        told(progress)
        if progress.waiting <= ahead:
            return
        await anyio.sleep(LOOK_S)


def _is_paused(queues: Queues, stage: str) -> bool:
    return any(bool(each.paused) for each in queues.stages if each.stage == stage)
