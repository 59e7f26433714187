"""Logs that Redis has lost, and their recovery, for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.pipeline.recoveries import LogRecovered
from ops.maintenance import log_ownership
from ops.maintenance.log_recover import Recovered, Recovery
from ops.maintenance.log_recover_findings import Findings
from projections.projector import Projector
from store.archive.archive import Archive
from store.archive.settings import TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.keys import Keys
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.store.archive.segments import everything, fill
from tests.store.commands import upload

CLIENTS = ("alice", "bob", "carol", "dave")

PARTITIONS = 4
"""How many partitions the log has, some of which the tests lose."""

OTHER = 3
"""One of these with a client that is not that of the controls."""


async def worked(log: Log, blobs: FolderBlobs, photos: int = 4) -> list[tuple[str, str]]:
    """Let clients upload photos, one of each with its original; return their client and id."""
    await log_ownership.check(log, blobs, setting="PHOTOLOG_DATA")
    found: list[tuple[str, str]] = []
    for client_id in CLIENTS:
        command = upload(client_id=client_id)
        await blobs.put(command.key, client_id.encode())
        await log.execute(command, client_id=client_id, context=CONTEXT)
        ids = [command.photo_id, *await fill(log, photos, client_id=client_id)]
        found += [(client_id, each) for each in ids]
    return found


async def project(log: Log, generations: Generations) -> Path:
    """Fold the log into the read model; return its file."""
    await Projector(log, generations).catch_up()
    path = generations.current()
    assert path is not None
    return path


async def lose(redis: Client, prefix: str) -> None:
    """Delete every key of the log, as a server that has come back empty."""
    if keys := await keys_of(redis, prefix):
        await redis.unlink(*keys)


async def lose_partition(redis: Client, keys: Keys, partition: int) -> None:
    """Delete every key of the partition, as a server of a cluster that has come back empty."""
    await lose(redis, f"{keys.prefix}:{{{partition:02d}}}")


async def keys_of(redis: Client, prefix: str) -> list[str]:
    untyped: Any = redis
    return [key.decode() async for key in untyped.scan_iter(f"{prefix}:*", count=1_000)]


async def recover(
    redis: Client,
    prefix: str,
    blobs: FolderBlobs,
    read_models: Sequence[Path] = (),
    *,
    keep_s: float | None = None,
    partitions: int | None = None,
) -> Recovered:
    asked: list[Findings] = []
    recovery = Recovery(
        *(redis, Keys(prefix), blobs, read_models), trimming=TrimmingSettings(archive_keep_s=keep_s)
    )
    return await recovery.run(partitions, asked.append)


async def reopened(redis: Client, prefix: str, blobs: FolderBlobs) -> Log:
    """Return the log of the server, with its archive."""
    log = await Log.find(redis, prefix=prefix)
    assert log is not None
    log.archive = Archive(blobs, log.log_id)
    return log


def client_of(log: Log, partition: int) -> str:
    return next(each for each in CLIENTS if log.partition_of(each) == partition)


async def stored(log: Log, partition: int) -> list[tuple[Position, bytes]]:
    """Return the events of the partition, except the recoveries themselves."""
    return [
        (each.position, each.body)
        for each in await everything(log, partition)
        if not isinstance(each.event.data, LogRecovered)
    ]


async def events(log: Log) -> dict[int, list[tuple[Position, bytes]]]:
    """Return ``stored`` of each partition."""
    return {partition: await stored(log, partition) for partition in range(log.partitions)}


async def recoveries(log: Log) -> list[LogRecovered]:
    found = [each.event.data for each in await everything(log, 0)]
    return [each for each in found if isinstance(each, LogRecovered)]


async def dump(redis: Client, log: Log, partition: int) -> dict[str, bytes]:
    """Return everything that Redis has of the partition."""
    found = await keys_of(redis, f"{log.keys.prefix}:{{{partition:02d}}}")
    return {key: await redis.dump(key) or b"" for key in found}
