"""Rebuild the read models of this host when an operator has asked for it, and record the progress.

The events are seen in the room ``global``. A process that ends before it is done records nothing
more; asked again, it continues where it was.
"""

import logging
import platform
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from domain.photo.events import Context
from domain.pipeline.rebuilds import (
    RebuildCompleted,
    RebuildFailed,
    RebuildProgressed,
    RebuildStep,
    RecordRebuild,
)
from projections.fold import Tally
from projections.rebuild import RebuildReport, rebuild
from store.errors import StoreError
from store.log.control import ControlLog
from store.log.log import Log
from store.sqlite.generations import Generations

logger = logging.getLogger("photolog.projector")

SOURCE = "projector"

STEP_PERCENT = 10
"""How much of the log one event about progress stands for, at least."""

LOOK_S = 0.5

Objection = Callable[[Log], Awaitable[str | None]]
"""Returns why this log must not be folded again; None if it may."""


async def no_objection(_: Log) -> None:
    """Let every log be folded."""


async def rebuild_as_requested(log: Log, generations: Generations, objection: Objection) -> None:
    """Rebuild and record it; an error is recorded too, and leaves the read models as they are."""
    try:
        reason = await objection(log)
        if reason is not None:
            await _record(log, RebuildFailed(host=_host(), error=reason))
            return
        report = await _rebuild(log, generations)
    except StoreError as error:
        logger.warning("the requested rebuild has failed: %s", error)
        with suppress(StoreError):
            await _record(log, RebuildFailed(host=_host(), error=str(error)))
        return
    await _record(log, _completed(report))


async def _rebuild(log: Log, generations: Generations) -> RebuildReport:
    tally, progress = Tally(), _Progress()
    reports: list[RebuildReport] = []
    errors: list[StoreError] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell, log, tally, progress)
        try:
            reports.append(
                await rebuild(log, generations, progress.note, compare=True, tally=tally)
            )
        except StoreError as error:
            errors.append(error)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return reports[0]


class _Progress:
    """How far a rebuild has come in the time of the log, as it reports it."""

    def __init__(self) -> None:
        self.percent = 0

    def note(self, done: int, total: int) -> None:
        self.percent = 100 * done // max(total, 1)


async def _tell(log: Log, tally: Tally, progress: _Progress) -> None:
    """Record each further ``STEP_PERCENT``, until cancelled."""
    began, told = time.monotonic(), 0
    while True:
        await anyio.sleep(LOOK_S)
        percent, taken_s = progress.percent, time.monotonic() - began
        if percent < told + STEP_PERCENT or percent >= 100:
            continue
        told = percent
        step = RebuildProgressed(
            host=_host(),
            percent=percent,
            events=tally.events,
            events_per_s=int(tally.events / taken_s),
            seconds_left=int(taken_s * (100 - percent) / percent),
        )
        with suppress(StoreError):  # the rebuild itself waits for the log, or fails
            await _record(log, step)


def _completed(report: RebuildReport) -> RebuildCompleted:
    comparison = report.comparison
    return RebuildCompleted(
        host=_host(),
        generation=report.generation,
        events=report.events,
        duration_ms=int(report.duration_s * 1000),
        differing=None
        if comparison is None
        else tuple(table.table for table in comparison.tables if not table.equal),
    )


async def _record(log: Log, step: RebuildStep) -> None:
    context = Context(now=await log.now(), source=SOURCE, actor=SOURCE, trace_id=uuid.uuid4().hex)
    await ControlLog(log).execute(RecordRebuild(step=step), context)


def _host() -> str:
    return platform.node()
