"""Background tasks of a role that tell others what it has noticed.

Gateways learn through Redis which tasks of a process have failed of late. What the log has lost is
told by whoever was answered for it.
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
    """Report for as long as the block lasts; a process is told apart from others of its name."""
    process = f"{name}:{uuid.uuid4().hex[:8]}"
    async with anyio.create_task_group() as tasks:
        report = partial(_report, log, process, background)
        tasks.start_soon(background.keep, "failure report", report)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def naming_losses(
    log: Log, source: str, background: Background, every_s: float
) -> AsyncGenerator[None]:
    """Name lost answers for as long as the block lasts, see ``projections.data_loss``."""
    async with anyio.create_task_group() as tasks:
        watching = partial(watch, log, source=source, every_s=every_s)
        tasks.start_soon(background.keep, "loss watch", watching)
        yield
        tasks.cancel_scope.cancel()


async def _report(log: Log, process: str, background: Background) -> None:
    while True:
        if failing := background.failing:
            with suppress(StoreError):  # which the checks of the gateways say
                await liveness.report_failing(log, process, failing.keys())
        await anyio.sleep(EVERY_S)
