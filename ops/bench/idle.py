"""Run a worker whose stages do nothing, so that only the orchestration is measured.

Run as ``python -m ops.bench.idle URL PREFIX FOLDER NAME``, until SIGTERM.
"""

import signal
import sys
from pathlib import Path
from typing import Any, cast

import anyio

from domain.photo.results import Result
from handlers.decoder.pool import DecoderPool
from handlers.registry import STAGES, Stage
from handlers.stage import Output
from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect

CONCURRENCY = 8
"""More than a real worker has: here decoders are not the limit."""

ORIGINAL = "originals/00/nothing"
NOTHING = Output(result=Result())


class _Nothing:
    """Replaces the decoders."""

    outage = None

    async def run(self, **_: Any) -> Output:
        return NOTHING


def _run(*_: object) -> Output:
    return NOTHING


async def work(url: str, prefix: str, folder: Path, name: str) -> None:
    redis = connect(url)
    log = await Log.open(redis, prefix=prefix)
    worker = Worker(
        log,
        FolderBlobs(folder, name),
        cast("DecoderPool", _Nothing()),
        consumer=name,
        settings=WorkerSettings(concurrency=CONCURRENCY),
        stages={stage: Stage(result=Result, run=_run) for stage in STAGES},
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        print("ready", flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
        worker.stop()
    await redis.aclose()


if __name__ == "__main__":
    _, URL, PREFIX, FOLDER, NAME = sys.argv
    anyio.run(work, URL, PREFIX, Path(FOLDER), NAME, backend_options={"use_uvloop": True})
