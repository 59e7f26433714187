"""A worker's claims of partitions, and what clients pay for them."""

import anyio
import pytest

from domain.pipeline.stages import all_stages
from handlers.worker.dispatcher import Dispatcher
from handlers.worker.held_tasks import HeldTask, HeldTasks
from handlers.worker.partitions import Partitions
from handlers.worker.stage_limits import StageLimits
from handlers.worker.wakeup import Wakeup
from store.background import Background
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.queue.lanes import Claimed, Lanes
from tests.handlers.workers import DEADLINE_S, uploaded
from tests.system.photos import jpeg


async def account(log: Log) -> float | None:
    return await log.redis.zscore(log.keys.accounts(0, "normal"), "alice")


async def until_claimed(partitions: Partitions) -> tuple[int, Claimed]:
    with anyio.fail_after(DEADLINE_S):
        while not (found := await partitions.claim({"validation": 1}, 1)):
            await anyio.sleep(0.01)
    return found[0]


async def test_a_task_that_ends_while_tasks_are_recalled_is_not_taken_again(
    log: Log, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await uploaded(log, blobs, jpeg("one"))
    held, lanes = HeldTasks(None), Lanes(log, "one", all_stages())
    partitions = Partitions(log, lanes, held, StageLimits(log), Wakeup(), Background())
    recall, found, looked = Lanes.recall, list[HeldTask](), anyio.Event()

    async def recall_and_end(self: Lanes, partition: int) -> list[Claimed]:
        recalled = await recall(self, partition)
        for each in found:
            await log.acknowledge(each.task, each.claimed.claim)
            held.release(each)
            looked.set()
        return recalled

    monkeypatch.setattr(Lanes, "recall", recall_and_end)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Dispatcher(log, consumer="x", dead=None, stalled_after_s=30).run)
        partitions.begin(tasks)
        running = held.hold(*await until_claimed(partitions))
        assert running is not None
        held.start(running)
        found.append(running)

        partitions.look_again(0)
        with anyio.fail_after(DEADLINE_S):
            await looked.wait()
        await anyio.wait_all_tasks_blocked()

        assert held.ready() == []
        tasks.cancel_scope.cancel()


async def test_a_task_that_is_put_back_is_paid_for_once(log: Log, blobs: FolderBlobs) -> None:
    await uploaded(log, blobs, jpeg("one"))
    held, lanes = HeldTasks(None), Lanes(log, "one", all_stages())
    partitions = Partitions(log, lanes, held, StageLimits(log), Wakeup(), Background())

    async def claim() -> HeldTask:
        claimed = held.hold(*await until_claimed(partitions))
        assert claimed is not None
        return claimed

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Dispatcher(log, consumer="x", dead=None, stalled_after_s=30).run)
        partitions.begin(tasks)
        first = await claim()
        paid = await account(log)

        partitions.put_back(first)
        again = await claim()

        assert again.task == first.task
        assert await account(log) == paid
        tasks.cancel_scope.cancel()
