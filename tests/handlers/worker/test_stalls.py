"""Only tasks that a worker has begun count as stalled when it is killed or freezes."""

import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from domain.pipeline.stages import all_stages
from handlers.worker.settings import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.queue.consumers import pending
from tests.conftest import home
from tests.handlers.workers import DEADLINE_S, Scripted, Working, types_when_ended, uploaded

STALLED_AFTER_S = 0.4


class Holder:
    """A worker of ``holding_worker``."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._output = BufferedByteReceiveStream(process.stdout)

    async def line(self) -> str:
        """Return the next line that it prints."""
        with anyio.fail_after(DEADLINE_S):
            return (await self._output.receive_until(b"\n", 100)).decode()

    async def begins(self) -> str:
        """Return the first stage that it holds."""
        while (stage := (await self.line()).removeprefix("began ")) == "validation":
            pass
        return stage

    async def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        await self.process.stdin.send(b"\n")


@asynccontextmanager
async def holding(log: Log, blobs: FolderBlobs, url: str, consumer: str) -> AsyncGenerator[Holder]:
    """Run a worker that is killed at the end of the block."""
    command = [sys.executable, "-m", "tests.handlers.worker.holding_worker"]
    options = url, log.keys.prefix, str(blobs.root), consumer, f"{STALLED_AFTER_S}"
    async with await anyio.open_process([*command, *options], stderr=None) as process:
        try:
            yield Holder(process)
        finally:
            if process.returncode is None:
                process.kill()


async def counted(log: Log, consumer: str) -> Counter[str]:
    """Return how often each stage was begun, of the tasks that the consumer holds."""
    found: Counter[str] = Counter()
    for key, stage in log.keys.lanes(home(log), all_stages()):
        for _, _, deliveries in await pending(log.redis, key, stage, consumer):
            found[stage] = deliveries
    return found


async def test_a_task_that_no_worker_has_begun_does_not_stall(
    log: Log, blobs: FolderBlobs, valkey_url: str, working: Working
) -> None:
    command = await uploaded(log, blobs, b"one")
    async with holding(log, blobs, valkey_url, "killed") as killed:
        first = await killed.begins()
        killed.process.kill()
        await killed.process.wait()
    held = await counted(log, "killed")

    async with holding(log, blobs, valkey_url, "frozen") as frozen:
        second = await frozen.begins()
        frozen.process.send_signal(signal.SIGSTOP)
        held_then = await counted(log, "frozen")
        quick = WorkerSettings(stalled_after_s=STALLED_AFTER_S, max_stalls=1)
        async with working("heir", pool=Scripted(), settings=quick):
            types = await types_when_ended(log, command.photo_id)

    assert held == {"metadata": 0, "thumbnails": 0, "optimization": 0} | {first: 1}
    assert first != second
    assert held_then == dict.fromkeys(held, 0) | {first: 1, second: 1}
    assert types[-1] == "photo.processing.completed"


async def test_a_worker_that_was_frozen_begins_none_of_the_tasks_that_others_took_over(
    log: Log, blobs: FolderBlobs, valkey_url: str, working: Working
) -> None:
    command = await uploaded(log, blobs, b"one")
    async with holding(log, blobs, valkey_url, "frozen") as frozen:
        await frozen.begins()
        frozen.process.send_signal(signal.SIGSTOP)
        quick = WorkerSettings(stalled_after_s=STALLED_AFTER_S)
        async with working("heir", pool=Scripted(), settings=quick):
            types = await types_when_ended(log, command.photo_id)
        await frozen.go_on()
        said = await frozen.line()

    assert types[-1] == "photo.processing.completed"
    assert said == "idle"


@pytest.mark.parametrize("stalls", [0, 1])
async def test_a_task_that_was_begun_stalls_with_each_worker(
    log: Log, blobs: FolderBlobs, valkey_url: str, working: Working, stalls: int
) -> None:
    command = await uploaded(log, blobs, b"one")
    async with holding(log, blobs, valkey_url, "killed") as killed:
        await killed.begins()
    quick = WorkerSettings(stalled_after_s=STALLED_AFTER_S, max_stalls=stalls)
    async with working("heir", pool=Scripted(), settings=quick):
        types = await types_when_ended(log, command.photo_id)

    ends = "photo.processing.completed" if stalls else "photo.processing.failed"
    assert types[-1] == ends
