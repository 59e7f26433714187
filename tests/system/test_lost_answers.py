"""Answered events that a failover has lost are recorded, if a process still knows of them.

No projector runs here: only the processes that appended the events know the photos.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from domain.pipeline.control import PauseStage
from domain.pipeline.control_events import AlertRaised
from projections import data_loss
from store.errors import StoreError
from store.log.control import ControlLog
from store.log.log import Log
from store.redis.connection import Wait, connect
from tests.conftest import CONTEXT
from tests.store.commands import upload
from tests.system.clusters import Cluster, Node
from tests.system.test_safe_effects import cut, fail_over

DEADLINE_S = 60.0


@asynccontextmanager
async def joined(servers: Cluster, prefix: str, wait: Wait | None = None) -> AsyncGenerator[Log]:
    """Open the log as one process does, by default without waiting for replicas."""
    redis = connect(servers.url)
    try:
        yield await Log.open(redis, partitions=16, prefix=prefix, wait=wait)
    finally:
        await redis.aclose()


async def record(log: Log, client_id: str) -> str:
    """Upload a photo, and return its id once the upload is answered."""
    command = upload(client_id=client_id)
    await log.execute(command, client_id=client_id, context=CONTEXT, patience_s=DEADLINE_S)
    return command.photo_id


def client_and_master(log: Log, servers: Cluster) -> tuple[str, Node]:
    """Return a client whose master has neither partition 0 nor the log's identity."""
    spared = {servers.master_of(key).port for key in (log.keys.log(0), log.keys.meta)}
    for number in range(100):
        client_id = f"client-{number}"
        master = servers.master_of(log.keys.log(log.partition_of(client_id)))
        if master.port not in spared:
            return client_id, master
    raise AssertionError("no client has a master of its own")


async def photos_in(log: Log, client_id: str) -> set[str]:
    partition = log.partition_of(client_id)
    return {each.event.data.photo_id async for each in log.scan(partition)}


async def alerts(log: Log) -> list[AlertRaised]:
    return [
        each.event.data
        async for each in log.scan(0)
        if isinstance(each.event.data, AlertRaised) and each.event.data.code == data_loss.CODE
    ]


async def named(log: Log, lost: set[str], *watched: Log) -> None:
    """Wait until alerts name all ``lost`` photos once, and nothing else."""
    untold: list[dict[int, list[data_loss.Loss]]] = [{} for _ in watched]
    with anyio.fail_after(DEADLINE_S):
        while True:
            for each, kept in zip(watched, untold, strict=True):
                await data_loss.check(each, kept, source="gateway")
            try:
                reported = [photo for alert in await alerts(log) for photo in alert.photo_ids]
            except StoreError:  # a failover is in progress
                reported = []
            if set(reported) >= lost:
                assert sorted(reported) == sorted(lost)
                return
            await anyio.sleep(0.05)


async def test_every_answered_photo_that_a_failover_loses_is_named_once(
    servers: Cluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(servers, prefix) as one, joined(servers, prefix) as other:
        client_id, master = client_and_master(one, servers)
        kept = await record(one, client_id)
        await data_loss.check(one, {}, source="gateway")
        cut(servers, master)
        lost = {await record(log, client_id) for log in (one, one, other, one, other)}
        await data_loss.check(one, {}, source="gateway")  # the master still has them
        lost |= {await record(log, client_id) for log in (one, other, one)}

        await fail_over(servers, master)
        again = {await record(log, client_id) for log in (one, other)}
        await named(one, lost, one, other)

        assert await photos_in(one, client_id) == {kept, *again}
        partition = one.partition_of(client_id)
        assert f"partition {partition} has lost at least" in caplog.text
        assert all(photo_id in caplog.text for photo_id in lost)
        assert {alert.level for alert in await alerts(one)} == {"critical"}


async def test_what_a_frozen_master_answers_after_its_failover_is_named(
    servers: Cluster, prefix: str
) -> None:
    async with joined(servers, prefix) as log:
        client_id, master = client_and_master(log, servers)
        answered = [await record(log, client_id)]
        cut(servers, master)
        replica = servers.replica_of(master)
        replica.ask("CONFIG", "SET", "cluster-replica-no-failover", "no")
        master.freeze()

        async def send() -> None:
            answered.append(await record(log, client_id))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(send)
            await servers.promoted(replica)
            master.go_on()

        lost = set(answered) - await photos_in(log, client_id)
        await named(log, lost, log)
        assert await photos_in(log, client_id) == set(answered) - lost


async def test_nothing_is_named_where_a_failover_loses_nothing(
    servers: Cluster, prefix: str
) -> None:
    async with joined(servers, prefix, Wait(replicas=1)) as log:
        client_id, master = client_and_master(log, servers)
        photos = {await record(log, client_id) for _ in range(5)}
        await fail_over(servers, master)

        photos.add(await record(log, client_id))
        await data_loss.check(log, {}, source="gateway")

        assert await photos_in(log, client_id) == photos
        assert await alerts(log) == []


async def test_lost_words_of_operators_are_told_too(
    servers: Cluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(servers, prefix) as log:
        await record(log, "anybody")
        master = servers.master_of(log.keys.log(0))
        cut(servers, master)
        await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)

        await fail_over(servers, master)
        with anyio.fail_after(DEADLINE_S):
            while "partition 0 has lost at least 1 events" not in caplog.text:
                await data_loss.check(log, {}, source="gateway")
                await anyio.sleep(0.05)
