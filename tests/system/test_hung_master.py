"""A cluster master that hangs: it accepts requests and does not answer."""

import uuid
from collections.abc import AsyncGenerator, Callable

import anyio
import pytest

from domain.photo.commands import UploadPhoto
from handlers.stage import Output
from handlers.worker.settings import WorkerSettings
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.handlers.conftest import blobs, working
from tests.handlers.workers import Scripted, Working, types_when_ended, uploaded
from tests.system.clusters import DEADLINE_S, Cluster, Node

__all__ = ("blobs", "working")

PARTITIONS = 16
CLIENTS = [f"client-{number}" for number in range(12)]
NEVER_S = 3600.0


@pytest.fixture
def children() -> None:
    """Start no decoders: these tests need none."""


@pytest.fixture
async def log(
    servers: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Log]:
    """Make time-outs so long that requests to a hung master last until the test ends."""
    monkeypatch.setattr("store.redis.connection.SOCKET_TIMEOUT_S", NEVER_S)
    client = connect(servers.url)
    yield await Log.open(client, partitions=PARTITIONS, prefix=prefix)
    await client.aclose()


def by_master(log: Log, servers: Cluster) -> dict[int, list[str]]:
    """Return the clients of each master, by its port."""
    found: dict[int, list[str]] = {}
    for client_id in CLIENTS:
        node = servers.master_of(log.keys.log(log.partition_of(client_id)))
        found.setdefault(node.port, []).append(client_id)
    return found


def victim_of(log: Log, servers: Cluster) -> Node:
    """Return a master with neither the pipeline's controls nor the log's identity."""
    spared = {servers.master_of(key).port for key in (log.keys.log(0), log.keys.meta)}
    victim = next(node for node in servers.nodes[:3] if node.port not in spared)
    servers.replica_of(victim).ask("CONFIG", "SET", "cluster-replica-no-failover", "yes")
    return victim


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.02)


async def ended(log: Log, blobs: FolderBlobs, client_id: str, count: int) -> None:
    """Process photos of the client, one after the other."""
    for _ in range(count):
        command = await uploaded(log, blobs, uuid.uuid4().bytes, client_id=client_id)
        types = await types_when_ended(log, command.photo_id, client_id=client_id)
        assert types[-1] == "photo.processing.completed"


async def test_the_partitions_of_the_others_go_on(
    log: Log, servers: Cluster, blobs: FolderBlobs, working: Working
) -> None:
    clients = by_master(log, servers)
    victim = victim_of(log, servers)
    stopped = clients.pop(victim.port)[0]

    async with working(pool=Scripted(), settings=WorkerSettings(drain_s=0.1)):
        for first, *_ in (*clients.values(), [stopped]):
            await ended(log, blobs, first, 1)
        victim.freeze()
        try:
            for others in clients.values():
                await ended(log, blobs, others[0], 5)
        finally:
            victim.go_on()
        await ended(log, blobs, stopped, 5)


async def test_tasks_of_a_hung_master_take_no_room_from_the_others_and_are_not_lost(
    log: Log, servers: Cluster, blobs: FolderBlobs, working: Working
) -> None:
    clients = by_master(log, servers)
    victim = victim_of(log, servers)
    stopped = clients.pop(victim.port)[0]
    full = anyio.Event()

    class Freezing(Scripted):
        """Freeze the master just before the first stage ends."""

        async def run(self, *, stage: str, affinity: str, **_: object) -> Output:
            if not full.is_set():
                victim.freeze()
                full.set()
            return await super().run(stage=stage, affinity=affinity)

    held = [await uploaded(log, blobs, b"%d" % n, client_id=stopped) for n in range(5)]
    settings = WorkerSettings(concurrency=2, drain_s=0.1)
    async with working(pool=Freezing(), settings=settings) as worker:
        await full.wait()
        try:
            for others in clients.values():
                await ended(log, blobs, others[0], 3)
        finally:
            victim.go_on()
        for each in held:
            types = await types_when_ended(log, each.photo_id, client_id=stopped)
            assert types[-1] == "photo.processing.completed"

        assert worker.taken_over == 0


async def test_an_upload_rides_out_a_moment_in_which_the_whole_cluster_is_down(
    log: Log, servers: Cluster, blobs: FolderBlobs
) -> None:
    clients = by_master(log, servers)
    first, *others = servers.nodes[:3]
    command: list[UploadPhoto] = []

    async def keep_on() -> None:
        command.append(await uploaded(log, blobs, b"one", client_id=clients[first.port][0]))

    async with anyio.create_task_group() as tasks:
        for other in others:
            other.freeze()
        try:
            await until(lambda: "cluster_state:fail" in first.ask("CLUSTER", "INFO"))
            tasks.start_soon(keep_on)
            await until(lambda: "errorstat_CLUSTERDOWN" in first.ask("INFO errorstats"))
        finally:
            for other in others:
                other.go_on()

    assert len(command) == 1
