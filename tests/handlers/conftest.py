"""Fixtures: workers with real decoders, a log and a blob store."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from domain.pipeline.retries import Strategies
from handlers.decoder.pool import DecoderPool
from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from tests.handlers.workers import Frozen, Scripted, Working


@pytest.fixture(scope="package")
async def children() -> AsyncGenerator[DecoderPool]:
    """A pool of two decoders of each test process, for tests that leave both alive."""
    async with DecoderPool(count=2) as pool:
        yield pool


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


@pytest.fixture
def working(log: Log, blobs: FolderBlobs, children: DecoderPool) -> Working:
    """Return a function that runs a worker while its context lasts."""

    @asynccontextmanager
    async def work(
        consumer: str = "one",
        *,
        dead: str | None = None,
        pool: DecoderPool | Scripted | Frozen = children,
        settings: WorkerSettings | None = None,
        strategies: Strategies | None = None,
    ) -> AsyncGenerator[Worker]:
        worker = Worker(
            log,
            blobs,
            pool,  # type: ignore[arg-type]
            consumer=consumer,
            dead=dead,
            settings=settings,
            strategies=strategies,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            yield worker
            worker.stop()

    return work
