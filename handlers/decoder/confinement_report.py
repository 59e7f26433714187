"""Report to the gateways, through Redis, what is missing from the sandbox around decoders."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio

from handlers.decoder.pool import DecoderPool
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.queue import liveness


@asynccontextmanager
async def reporting(
    log: Log, children: DecoderPool, background: Background, every_s: float
) -> AsyncGenerator[None]:
    """Report every ``every_s`` seconds while the context lasts."""
    async with anyio.create_task_group() as tasks:
        report = partial(_report, log, children, every_s)
        tasks.start_soon(background.keep, "confinement report", report)
        yield
        tasks.cancel_scope.cancel()


async def _report(log: Log, children: DecoderPool, every_s: float) -> None:
    while True:
        with suppress(StoreError):  # the gateways' own checks report an outage of Redis
            await liveness.report_unconfined(log, children.confinement.missing)
        await anyio.sleep(every_s)
