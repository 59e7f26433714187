"""Content hashes move into buckets, and are found there, while the slot of a partition moves."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest

from domain.photo.events import PhotoUploaded
from store.errors import Unavailable
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.log.outcome import Appended, Duplicate
from tests.conftest import CONTEXT
from tests.store.commands import upload
from tests.system.clusters import Cluster
from tests.system.hosts import LOOK_EVERY_S
from tests.system.test_resharding import DEADLINE_S, Move, binary, log, servers, until, wait

__all__ = ("binary", "log", "servers", "wait")

PHOTOS = 24
T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until Redis answers for all keys."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                return await ask()
            except Unavailable:
                await anyio.sleep(LOOK_EVERY_S)


async def check(log: Log, held: dict[str, str]) -> None:
    """Check that all hashes are found, and that a duplicate is one."""
    assert await patiently(lambda: log.holders_of([*held], "alice")) == held
    sha256, photo_id = next(iter(held.items()))
    found = await patiently(lambda: log.holder_of(sha256, "alice"))
    assert found == photo_id


async def test_hashes_are_found_while_their_slot_moves(log: Log, servers: Cluster) -> None:
    photos = [upload(f"{each}") for each in range(PHOTOS)]
    for each in photos[: PHOTOS // 2]:
        await log.execute(each, client_id="alice", context=CONTEXT)
    partition = log.partition_of("alice")
    await HashSplitter(log, most=0).split(partition)
    held = {each.sha256: each.photo_id for each in photos[: PHOTOS // 2]}
    move = Move(servers, log.keys.log(partition))
    move.begin()

    while await anyio.to_thread.run_sync(move.step):
        await check(log, held)
    await check(log, held)
    await anyio.to_thread.run_sync(move.end)

    for each in range(PHOTOS // 2):
        outcome = await log.execute(upload(f"{each}"), client_id="alice", context=CONTEXT)
        assert isinstance(outcome, Duplicate)
    for each in photos[PHOTOS // 2 :]:
        outcome = await log.execute(each, client_id="alice", context=CONTEXT)
        assert isinstance(outcome, Appended)
        held[each.sha256] = each.photo_id
    await check(log, held)


@pytest.mark.parametrize("way", [Move.by_keys, Move.as_a_whole])
async def test_no_hash_is_lost_if_it_moves_into_its_bucket_meanwhile(
    log: Log, servers: Cluster, way: Callable[[Move], None]
) -> None:
    partition, sent = log.partition_of("alice"), list[str]()
    enough = anyio.Event()

    async def upload_twice() -> None:
        while not enough.is_set():
            first, second = upload(f"{len(sent)}"), upload(f"{len(sent)}")
            for photo in (first, second):
                await patiently(
                    lambda photo=photo: log.execute(photo, client_id="alice", context=CONTEXT)
                )
            sent.append(first.sha256)

    async def keep_splitting() -> None:
        while not enough.is_set():
            await patiently(lambda: HashSplitter(log, most=0).split(partition))
            await anyio.sleep(LOOK_EVERY_S)

    move = Move(servers, log.keys.log(partition))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload_twice)
        await until(lambda: len(sent) > 5)
        tasks.start_soon(keep_splitting)
        await anyio.to_thread.run_sync(way, move)
        await until(lambda: log.owner(partition) == f"127.0.0.1:{move.target.port}")
        moved = len(sent)
        await until(lambda: len(sent) > moved + 5)
        enough.set()

    uploaded = [each.event.data async for each in log.scan(partition)]
    assert [each.sha256 for each in uploaded if isinstance(each, PhotoUploaded)] == sent
