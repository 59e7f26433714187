"""A worker in a process of its own, with one slot, that holds one stage until it is told to go on.

It prints ``began <stage>`` for each stage that it runs, and ``idle`` once it has no task after it
was told to go on by a line on its standard input. Stages of ``QUICK`` end at once.
"""

import sys
from pathlib import Path

import anyio
from anyio import to_thread

from handlers.stage import Output
from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.handlers.workers import Scripted

QUICK = ("validation",)


class Holding(Scripted):
    """A pool that holds each stage that is not quick until ``go_on``."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = anyio.Event()

    async def run(self, *, stage: str, affinity: str, **options: object) -> Output:
        print("began", stage, flush=True)
        if stage not in QUICK:
            await self.go_on.wait()
        return await super().run(stage=stage, affinity=affinity, **options)


async def main(*arguments: str) -> None:
    url, prefix, folder, consumer, stalled_after_s = arguments
    redis, pool = connect(url), Holding()
    settings = WorkerSettings(concurrency=1, stalled_after_s=float(stalled_after_s))
    log = await Log.open(redis, prefix=prefix)
    blobs = FolderBlobs(Path(folder))
    worker = Worker(log, blobs, pool, consumer=consumer, settings=settings)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await to_thread.run_sync(sys.stdin.readline)
        pool.go_on.set()
        while worker.in_hand:
            await anyio.sleep(0.01)
        print("idle", flush=True)
        worker.stop()
    await redis.aclose()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
