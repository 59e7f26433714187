"""Build the archiver from settings, for its role and for ``photolog log archive``."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ops.config.settings import Settings
from ops.runtime import wiring
from ops.telemetry import gauges
from ops.telemetry.failed_tasks import reporting
from ops.telemetry.telemetry import Telemetry
from store.archive.archive import Archive
from store.archive.archiver import Archiver
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.interface import Blobs
from store.keys import DEFAULT_PREFIX
from store.log.log import Log


@asynccontextmanager
async def open_archiver(
    settings: Settings, owner: str, telemetry: Telemetry, *, prefix: str = DEFAULT_PREFIX
) -> AsyncGenerator[Archiver]:
    """Open the archiver; waits for Redis and the blobs. Raises as ``open_blobs``."""
    async with (
        wiring.open_log(settings, patient=True, prefix=prefix) as log,
        wiring.open_blobs(settings, log, owner, observe=telemetry.operated) as blobs,
        reporting(log, owner, telemetry.background),
    ):
        archiver = archiver_of(settings, log, blobs, owner, telemetry)
        telemetry.watch(lambda: gauges.of_archiver(archiver))
        yield archiver


def archiver_of(
    settings: Settings, log: Log, blobs: Blobs, owner: str, telemetry: Telemetry
) -> Archiver:
    """Return the archiver of an open log and its blobs."""
    return Archiver(
        log,
        blobs,
        Archive(blobs, log.log_id),
        sealing=wiring.bounds(SealingSettings, settings),
        trimming=wiring.bounds(TrimmingSettings, settings),
        name=owner,
        background=telemetry.background,
        observe=telemetry.archived,
    )
