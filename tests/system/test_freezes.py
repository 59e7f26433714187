"""Roles survive masters that freeze under load and return after the failover."""

import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers.worker.settings import WorkerSettings
from handlers.worker.worker import Worker
from projections.projector import Projector
from store.background import Background
from store.blobs.folder import FolderBlobs
from store.errors import StoreError
from store.log.doorbell import Doorbell, ring
from store.log.log import Log
from store.redis.connection import Client, connect
from store.sqlite.generations import Generations
from tests.handlers.conftest import blobs
from tests.handlers.workers import Scripted, history, uploaded
from tests.system.clusters import DEADLINE_S, MASTERS, Cluster, Clusters, Node

__all__ = ("blobs",)

# A warning raised as an error keeps uvloop from closing the connection that it is about, and
# its loop then waits for that connection for ever.
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")

FREEZES = 5
PARTITIONS = 16
CLIENTS = [f"client-{number}" for number in range(6)]
ROLES = 2
"""Workers, and projectors."""


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as the roles do."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def servers(clusters: Clusters) -> Generator[Cluster]:
    with clusters.one() as formed:
        for node in formed.nodes:  # no disk fails here; a slow one would only prolong the test
            node.ask("CONFIG", "SET", "appendfsync", "no")
        yield formed


@pytest.fixture
async def clients(servers: Cluster) -> AsyncGenerator[list[Client]]:
    """Open a log for each role, and one for the uploads."""
    made = [connect(servers.url) for _ in range(2 * ROLES + 1)]
    yield made
    for each in made:
        await each.aclose()


async def role_of(node: Node) -> str:
    info = await anyio.to_thread.run_sync(node.ask, "INFO replication")
    return "master" if "role:master" in info else info


async def fail_over(servers: Cluster, pair: int) -> None:
    """Freeze the master until its replica has taken its place, and wait for its return."""
    both = servers.nodes[pair], servers.nodes[pair + MASTERS]
    master, replica = both if await role_of(both[0]) == "master" else both[::-1]
    master.freeze()
    try:
        while await role_of(replica) != "master":
            await anyio.sleep(0.05)
    finally:
        master.go_on()
    while "master_link_status:up" not in await role_of(master):
        await anyio.sleep(0.05)


async def test_freezes_under_load_end_no_role(
    servers: Cluster, clients: list[Client], blobs: FolderBlobs, prefix: str, tmp_path: Path
) -> None:
    logs = [await Log.open(each, partitions=PARTITIONS, prefix=prefix) for each in clients]
    log, *theirs = logs
    background = Background()
    workers = [
        Worker(
            each,
            blobs,
            Scripted(),  # type: ignore[arg-type]
            consumer=f"worker-{number}",
            settings=WorkerSettings(stalled_after_s=2.0, drain_s=0.1),
            background=background,
        )
        for number, each in enumerate(theirs[:ROLES])
    ]
    projectors = [
        Projector(each, Generations(tmp_path / f"{number}"), background=background)
        for number, each in enumerate(theirs[ROLES:])
    ]
    ended: list[str] = []

    async def run(role: Any) -> None:
        await role.run()
        ended.append(type(role).__name__)

    async def completes(client_id: str) -> None:
        command = await uploaded(log, blobs, uuid.uuid4().bytes, client_id=client_id)
        types: list[str] = []
        while "photo.processing.completed" not in types:
            await anyio.sleep(0.1)
            events = await history(log, command.photo_id, client_id)
            types = [each.event.type for each in events]

    async def upload(client_id: str) -> None:
        while True:  # no more uploads than the workers can process, however busy the machine is
            with suppress(StoreError):
                await completes(client_id)

    async def listen() -> None:
        bell = Doorbell(log)
        while True:
            with suppress(StoreError):
                await ring(log)
                await bell.wait(0.1)
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as roles:
        for role in (*workers, *projectors):
            roles.start_soon(run, role)
        async with anyio.create_task_group() as load:
            load.start_soon(listen)
            for client_id in CLIENTS:
                load.start_soon(upload, client_id)
            for number in range(FREEZES):
                with anyio.fail_after(DEADLINE_S):
                    await fail_over(servers, number % MASTERS)
            load.cancel_scope.cancel()
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as checks:
                for client_id in CLIENTS:
                    checks.start_soon(completes, client_id)
        roles.cancel_scope.cancel()

    assert ended == []
    assert background.failures == {}
