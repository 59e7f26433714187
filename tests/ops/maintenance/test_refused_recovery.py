"""Recoveries that are refused, and change nothing."""

from typing import Any

import pytest
from redis import Redis as SyncRedis

from domain.pipeline.stages import ROOT
from ops.errors import UserError
from ops.maintenance import log_ownership
from ops.maintenance.audit import audit
from ops.maintenance.log_recover import Recovery
from store.blobs.folder import FolderBlobs
from store.keys import Keys
from store.log.log import Log
from store.log.recovering import RECOVERING
from store.queue import liveness
from store.queue.lanes import Lanes
from store.redis.connection import Client
from tests.ops.maintenance.recoveries import (
    keys_of,
    lose,
    recover,
    worked,
)
from tests.store.archive.segments import archive_all


@pytest.fixture
def partitions() -> int:
    return 3


async def test_a_log_with_events_is_refused(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    before = await audit(log)

    with pytest.raises(UserError, match="has lost none of its partitions"):
        await recover(redis, prefix, blobs)

    assert await audit(log) == before


async def test_workers_have_to_stop_first(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    other = await Log.open(redis, prefix=prefix)
    await Lanes(other, "w1", (ROOT,)).prepare(0)
    await liveness.report(other, "w1")

    with pytest.raises(UserError, match="workers run on this server"):
        await recover(redis, prefix, blobs)


async def test_what_was_refused_is_not_written(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)

    def refuse(_: object) -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        await Recovery(redis, Keys(prefix), blobs).run(None, refuse)

    assert await keys_of(redis, prefix) == []


async def test_a_recovery_that_another_one_has_overtaken_writes_nothing(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs, valkey_url: str
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    untyped: Any = SyncRedis
    other = untyped.from_url(valkey_url)

    def begin_another(_: object) -> None:
        other.hset(Keys(prefix).meta, RECOVERING, "the mark of another one")

    with pytest.raises(UserError, match="another recovery of this log has begun"):
        await Recovery(redis, Keys(prefix), blobs).run(None, begin_another)

    assert await keys_of(redis, prefix) == [Keys(prefix).meta]
    assert other.hgetall(Keys(prefix).meta) == {RECOVERING.encode(): b"the mark of another one"}
    other.close()


async def test_without_anything_left_there_is_nothing_to_recover(
    redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    with pytest.raises(UserError, match="nothing to recover the log from"):
        await recover(redis, prefix, blobs)


async def test_a_wrong_number_of_partitions_is_noticed(
    log: Log, redis: Client, prefix: str, blobs: FolderBlobs
) -> None:
    await worked(log, blobs)
    await archive_all(log, blobs)
    await lose(redis, prefix)
    await blobs.delete(log_ownership.PARTITIONS)

    with pytest.raises(UserError, match="--partitions N"):
        await recover(redis, prefix, blobs)
    with pytest.raises(UserError, match="another number of partitions"):
        await recover(redis, prefix, blobs, partitions=7)

    assert (await recover(redis, prefix, blobs, partitions=3)).epoch == 2
    assert await log_ownership.partitions_of(blobs) == 3
