"""The slot of a partition moves to another master during uploads and processing."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from domain.photo.commands import DeletePhoto, UploadPhoto
from store.blobs.folder import FolderBlobs
from store.errors import Unavailable
from store.log.log import Log
from store.log.outcome import Appended
from store.log.position import Position
from store.log.recorded import Recorded
from store.redis.connection import Wait, connect
from tests.conftest import CONTEXT, unavailable
from tests.handlers.conftest import blobs, working
from tests.handlers.workers import Scripted, Working, types_when_ended, uploaded
from tests.ops.systems import wait_until
from tests.servers import DEBIAN_REDIS
from tests.system.clusters import DEADLINE_S, MASTERS, Cluster, Clusters, Node

__all__ = ("blobs", "working")

PARTITIONS = 16
KEYS_AT_ONCE = 5


@pytest.fixture
def binary() -> str | None:
    """The server; None is the bundled one."""
    return None


@pytest.fixture
def servers(clusters: Clusters, binary: str | None) -> Generator[Cluster]:
    if binary is not None and not Path(binary).exists():
        unavailable(f"no {binary}: apt-get install redis-server")
    with clusters.one(binary) as formed:
        yield formed


@pytest.fixture
def children() -> None:
    """Start no decoders: these tests need none."""


@pytest.fixture
def wait() -> Wait | None:
    """The durability that an append waits for."""
    return None


@pytest.fixture
async def log(servers: Cluster, prefix: str, wait: Wait | None) -> AsyncGenerator[Log]:
    client = connect(servers.url)
    yield await Log.open(client, partitions=PARTITIONS, prefix=prefix, wait=wait)
    await client.aclose()


class Move:
    """Move the slot of the key to the next master."""

    def __init__(self, servers: Cluster, key: str) -> None:
        masters = servers.nodes[:MASTERS]
        self._slot = int(masters[0].ask("CLUSTER", "KEYSLOT", key))
        self.source = servers.master_of(key)
        self.target = masters[(masters.index(self.source) + 1) % MASTERS]
        self._masters = masters

    def begin(self) -> None:
        """Begin: from now on the target, which does not know the scripts, creates new keys."""
        self.target.ask("SCRIPT", "FLUSH")
        self._set(self.target, "IMPORTING", self.source)
        self._set(self.source, "MIGRATING", self.target)

    def step(self) -> bool:
        """Move a few keys, and return whether there were any left."""
        keys = self.source.reply("CLUSTER", "GETKEYSINSLOT", self._slot, KEYS_AT_ONCE)
        if keys:
            to = "127.0.0.1", self.target.port, "", 0, 5_000
            self.source.ask("MIGRATE", *to, "KEYS", *keys)
        return bool(keys)

    def end(self) -> None:
        for node in (self.target, *(n for n in self._masters if n is not self.target)):
            self._set(node, "NODE", self.target)

    def by_keys(self) -> None:
        """Move the slot key by key, as every server can."""
        self.begin()
        while self.step():
            pass
        wait_until(
            lambda: "errorstat_ASK" in self.source.ask("INFO errorstats"),
            "an upload meets the moving slot",
        )
        self.end()

    def as_a_whole(self) -> None:
        """Move the slot at once, as Valkey can since 9.0."""
        to = "NODE", self.target.ask("CLUSTER", "MYID")
        self.target.ask("SCRIPT", "FLUSH")
        self.source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", self._slot, self._slot, *to)

    def _set(self, node: Node, state: str, other: Node) -> None:
        name = other.ask("CLUSTER", "MYID")
        node.ask("CLUSTER", "SETSLOT", self._slot, state, name)


OF_A_PHOTO = {
    "photo.uploaded": 1,
    "photo.processing.started": 1,
    "photo.processing.stage.completed": 5,
    "photo.thumbnail.generated": 1,
    "photo.processing.completed": 1,
}


async def listen(log: Log, partition: int, heard: list[Recorded]) -> None:
    position = Position.start(partition)
    while True:
        with suppress(Unavailable):
            for each in await log.read(position, block_ms=1_000):
                heard.append(each)
                position = each.position


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("binary", "way", "wait"),
    [
        (None, Move.by_keys, None),
        (None, Move.by_keys, Wait()),
        (None, Move.as_a_whole, None),
        (None, Move.as_a_whole, Wait()),
        (DEBIAN_REDIS, Move.by_keys, None),  # Redis 7.0 has no other way, and no WAITAOF
    ],
)
async def test_nothing_is_lost_or_duplicated(
    log: Log,
    servers: Cluster,
    blobs: FolderBlobs,
    working: Working,
    way: Callable[[Move], None],
) -> None:
    partition = log.partition_of("alice")
    move = Move(servers, log.keys.log(partition))
    commands: list[UploadPhoto] = []
    heard: list[Recorded] = []

    enough = anyio.Event()

    async def keep_uploading() -> None:
        while not enough.is_set():
            commands.append(await uploaded(log, blobs, b"%d" % len(commands)))

    async with working(pool=Scripted()), anyio.create_task_group() as tasks:
        tasks.start_soon(listen, log, partition, heard)
        async with anyio.create_task_group() as uploading:
            uploading.start_soon(keep_uploading)
            await until(lambda: len(commands) > 5)
            await anyio.to_thread.run_sync(way, move)
            await until(lambda: log.owner(partition) == f"127.0.0.1:{move.target.port}")
            moved = len(commands)
            await until(lambda: len(commands) > moved + 5)
            enough.set()
        for command in commands:
            assert Counter(await types_when_ended(log, command.photo_id)) == OF_A_PHOTO
        await until(lambda: len(heard) >= len(commands) * sum(OF_A_PHOTO.values()))
        tasks.cancel_scope.cancel()

    assert heard == [each async for each in log.scan(partition)]
    redirections = move.source.ask("INFO errorstats")
    assert "errorstat_ASK" in redirections or way is Move.as_a_whole


@pytest.mark.parametrize(("binary", "wait"), [(None, None), (None, Wait()), (DEBIAN_REDIS, None)])
async def test_moved_keys_are_found_at_the_target_before_the_slot_has_moved(
    log: Log, servers: Cluster, blobs: FolderBlobs
) -> None:
    command = await uploaded(log, blobs, b"one")
    move = Move(servers, log.keys.log(log.partition_of("alice")))
    move.begin()
    while move.step():
        pass

    delete = DeletePhoto(photo_id=command.photo_id)
    outcome = await log.execute(delete, client_id="alice", context=CONTEXT, patience_s=0.0)

    assert isinstance(outcome, Appended)
    assert [each.type for each in outcome.events] == ["photo.deleted"]
