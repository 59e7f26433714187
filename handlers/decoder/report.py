"""Report to the gateways, through Redis, what decoders lack: parts of their sandbox, or a start."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio

from handlers.decoder.pool import DecoderPool
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.queue import decoder_outages, liveness
from store.queue.decoder_outages import Reason


@asynccontextmanager
async def reporting(
    log: Log, pool: DecoderPool, consumer: str, background: Background, every_s: float
) -> AsyncGenerator[None]:
    """Report every ``every_s`` seconds, and each change at once, while the context lasts.

    ``consumer`` is the worker's name in the consumer groups.
    """
    async with anyio.create_task_group() as tasks:
        report = partial(_report, log, pool, consumer, every_s)
        tasks.start_soon(background.keep, "decoder report", report)
        yield
        tasks.cancel_scope.cancel()


async def _report(log: Log, pool: DecoderPool, consumer: str, every_s: float) -> None:
    before: Reason | None = None
    while True:
        reason = _reason(pool)
        with suppress(StoreError):  # the gateways' own checks report an outage of Redis
            await decoder_outages.report(log, consumer, reason, before)
            before = reason
            await liveness.report_unconfined(log, pool.confinement.missing)
        with anyio.move_on_after(every_s):
            while _reason(pool) == reason:
                await pool.changed()


def _reason(pool: DecoderPool) -> Reason | None:
    return None if pool.outage is None else pool.outage.reason
