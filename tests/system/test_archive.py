"""Archiving a log on a cluster, through the failure of a master."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

from ops.maintenance.audit import audit
from store.archive.archive import Archive
from store.archive.archiver import Archiver
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.errors import StoreError
from store.log.log import Log
from store.queue.dispatch import Dispatch
from store.redis.acl import ON_A_CLUSTER, TO_WAIT, acl
from store.redis.connection import Wait, connect
from tests.store.archive.segments import fill
from tests.system.clusters import Cluster

PARTITIONS = 8
CLIENTS = [f"client-{number}" for number in range(8)]
DEADLINE_S = 60.0
LOOK_EVERY_S = 0.1

T = TypeVar("T")


async def test_an_archived_log_is_whole_after_a_failover(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    for node in servers.nodes:
        rules = acl(prefix, *ON_A_CLUSTER, *TO_WAIT)
        node.ask("ACL", "SETUSER", "photolog", "on", ">secret", *rules)
    redis = connect(servers.url.replace("://", "://photolog:secret@"))
    log = await Log.open(redis, prefix=prefix, partitions=PARTITIONS, wait=Wait(replicas=1))
    blobs = FolderBlobs(tmp_path)
    log.archive = Archive(blobs, log.log_id)
    archiver = Archiver(
        *(log, blobs, Archive(blobs, log.log_id)),
        sealing=SealingSettings(archive_segment_entries=4),
        trimming=TrimmingSettings(archive_keep_s=0.0),
    )
    for client_id in CLIENTS:
        await fill(log, 4, client_id=client_id)
    await dispatch_all(log)
    passed = [await archiver.archive(each, now=True) for each in range(PARTITIONS)]
    assert sum(each.trimmed for each in passed) > 0
    before = await audit(log)

    master = servers.master_of(log.keys.log(log.partition_of(CLIENTS[0])))
    master.kill()
    await servers.promoted(servers.replica_of(master))

    after = await repeated(lambda: audit(log))
    assert after == before
    servers.start(master)  # as a replica: until then, nothing new is known to be safe
    await repeated(lambda: log.settle(log.partition_of(CLIENTS[0])))
    await fill(log, 4, client_id=CLIENTS[0])
    await dispatch_all(log)
    again = await archiver.archive(log.partition_of(CLIENTS[0]), now=True)
    assert (len(again.sealed), again.trimmed > 0) == (2, True)
    assert (await audit(log)).events == before.events + 8
    await redis.aclose()


async def repeated(work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of the work once the servers that it needs answer."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                return await work()
            except StoreError:
                await anyio.sleep(LOOK_EVERY_S)


async def dispatch_all(log: Log) -> None:
    dispatch = Dispatch(log, "w1")
    for partition in range(PARTITIONS):
        await dispatch.prepare(partition)
        while events := await dispatch.read(partition, count=100, block_ms=1):
            await dispatch.commit([(each.position, ()) for each in events])
