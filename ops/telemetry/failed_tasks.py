"""Background tasks in which a role reports problems to the rest of the system.

Each process reports its recently failed tasks through Redis, for the gateways' health checks. It
also records the loss of events whose append the log had confirmed to it.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio

from projections.data_loss import watch
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.queue import liveness

EVERY_S = 2.0


@asynccontextmanager
async def reporting(log: Log, name: str, background: Background) -> AsyncGenerator[None]:
    """Report failed tasks while the block runs; processes of the same name stay distinct."""
    process = f"{name}:{uuid.uuid4().hex[:8]}"
    async with anyio.create_task_group() as tasks:
        report = partial(_report, log, process, background)
        tasks.start_soon(background.keep, "failure report", report)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def recording_losses(
    log: Log, source: str, background: Background, every_s: float
) -> AsyncGenerator[None]:
    """Record lost events while the block runs, see ``projections.data_loss``."""
    async with anyio.create_task_group() as tasks:
        watching = partial(watch, log, source=source, every_s=every_s)
        tasks.start_soon(background.keep, "loss watch", watching)
        yield
        tasks.cancel_scope.cancel()


async def _report(log: Log, process: str, background: Background) -> None:
    while True:
        if failing := background.failing:
            with suppress(StoreError):  # the gateways' health checks report that
                await liveness.report_failing(log, process, failing.keys())
        await anyio.sleep(EVERY_S)
