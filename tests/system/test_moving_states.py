"""States of photos at rest leave Redis, and come back, while the slot of their partition moves."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from domain.photo.commands import DeletePhoto
from store.blobs.folder import FolderBlobs
from store.errors import Unavailable
from store.log.log import Log
from store.queue.dispatch import Dispatch
from tests.conftest import CONTEXT
from tests.store.archive.segments import archiver_of, rest, trim_all
from tests.store.archive.test_eviction import check_chains
from tests.system.clusters import Cluster
from tests.system.hosts import LOOK_EVERY_S
from tests.system.test_resharding import Move, binary, log, servers, until, wait

__all__ = ("binary", "log", "servers", "wait")

PHOTOS = 24


class Use:
    """Use the partition of alice as gateways, workers and archivers do, until told to stop.

    While a slot moves, Redis may not answer for some keys: whoever asks is told to try again later.
    Anything else is a failure.
    """

    def __init__(self, log: Log, blobs: FolderBlobs, resting: list[str]) -> None:
        self._log = log
        self._partition = log.partition_of("alice")
        self._archiver = archiver_of(log, blobs, keep_s=0.0, keep_states_s=0.0)
        self._resting = resting
        self._chance = random.Random(len(resting))
        self.uploaded: list[str] = []
        self.deleted: list[str] = []
        self.evicted = 0
        self.refused = 0
        self.looked = 0

    async def until(self, end: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            for work in (self._upload, self._dispatch, self._archive, self._read, self._delete):
                tasks.start_soon(self._repeat, work, end)

    async def _repeat(self, work: Callable[[], Awaitable[None]], end: anyio.Event) -> None:
        while not end.is_set():
            try:
                await work()
            except Unavailable:
                self.refused += 1
            await anyio.sleep(LOOK_EVERY_S)

    async def _upload(self) -> None:
        if len(self.uploaded) > 4 * self.looked + 8:
            return  # the archiver goes on until it has everything
        erased, resting = await rest(self._log, 2)
        self.uploaded += [erased.photo_id, resting.photo_id]

    async def _dispatch(self) -> None:
        dispatch = Dispatch(self._log, "w1")
        await dispatch.prepare(self._partition)
        events = await dispatch.recall(self._partition)  # a commit may have failed
        events = events or await dispatch.read(self._partition, count=100, block_ms=1)
        if events:
            await dispatch.commit([(each.position, ()) for each in events])

    async def _archive(self) -> None:
        self.looked += 1
        self.evicted += (await self._archiver.archive(self._partition, now=True)).evicted

    async def _read(self) -> None:
        photo_id = self._chance.choice(self._resting)
        assert (await self._log.load(photo_id, "alice")).photo is not None

    async def _delete(self) -> None:
        """A state that has left Redis is put back by the command."""
        left = [each for each in self._resting if each not in self.deleted]
        if not left:
            return
        command = DeletePhoto(photo_id=self._chance.choice(left))
        await self._log.execute(command, client_id="alice", context=CONTEXT, patience_s=0.5)
        self.deleted.append(command.photo_id)


async def by_keys(move: Move, use: Use) -> None:
    """Move the slot key by key, and stop for some time when it is half moved."""
    move.begin()
    for _ in range(2):
        assert move.step()
    half, refused = use.looked, use.refused
    await until(lambda: use.looked > half + 2 and use.refused > refused + 2)
    await anyio.to_thread.run_sync(move_rest, move)
    move.end()


def move_rest(move: Move) -> None:
    while move.step():
        pass


async def as_a_whole(move: Move, use: Use) -> None:
    await anyio.to_thread.run_sync(move.as_a_whole)


@pytest.mark.parametrize("way", [by_keys, as_a_whole])
async def test_no_state_is_lost_and_nobody_is_told_anything_but_to_try_again(
    log: Log, servers: Cluster, tmp_path: Path, way: Callable[[Move, Use], Awaitable[None]]
) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    commands = await rest(log, PHOTOS)
    await trim_all(log, blobs, keep_states_s=0.0)
    resting = [each.photo_id for number, each in enumerate(commands) if number % 3]
    partition = log.partition_of("alice")
    assert not any([await log.redis.exists(log.keys.photo(partition, each)) for each in resting])
    move, use, end = Move(servers, log.keys.log(partition)), Use(log, blobs, resting), anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use.until, end)
        await until(lambda: len(use.deleted) > 1)
        await way(move, use)
        await until(lambda: log.owner(partition) == f"127.0.0.1:{move.target.port}")
        moved = len(use.uploaded), use.evicted
        await until(lambda: len(use.uploaded) > moved[0] + 5 and use.evicted > moved[1])
        end.set()

    await check_chains(log)
    for photo_id in resting:
        loaded = await log.load(photo_id, "alice")
        assert loaded.photo is not None
        assert loaded.photo.deleted == (photo_id in use.deleted)
