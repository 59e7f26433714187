"""The default durability of an answer, on clusters with and without replicas."""

import logging
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.http.auth import Role
from ops.config.settings import Settings
from ops.maintenance.audit import audit
from ops.maintenance.reconcile import compare
from ops.runtime import wiring
from store.blobs.folder import FolderBlobs
from store.redis.connection import Wait
from tests.system.clusters import DEADLINE_S, MASTERS, Cluster
from tests.system.hosts import host, settings_of, upload

LOSES = "a failover may lose events that were answered"


async def waits_for(settings: Settings, prefix: str) -> Wait | None:
    async with wiring.open_log(settings, patient=True, prefix=prefix) as log:
        return log.durability.wait


async def risk_told(operator: httpx.AsyncClient) -> dict[str, Any]:
    """Return the health check of Redis, retried while a busy machine makes it too slow."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            found = (await operator.get("/health")).json()["checks"]["redis"]
            if found["status"] == "ok":
                return found
            await anyio.sleep(0.1)


async def test_an_append_waits_for_one_replica_where_there_are_some(
    servers: Cluster, prefix: str
) -> None:
    settings = Settings(redis_url=servers.url)
    assert await waits_for(settings, prefix) == Wait(replicas=1)

    for replica in servers.nodes[MASTERS:]:
        replica.kill()
    with anyio.fail_after(DEADLINE_S):
        while any("connected_slaves:0" not in _info(servers, n) for n in range(MASTERS)):
            await anyio.sleep(0.05)

    assert await waits_for(settings, prefix) == Wait(replicas=1)  # other roles use the same


async def test_a_role_that_waits_for_replicas_goes_on_once_they_are_there(
    servers: Cluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(redis_url=servers.url, append_wait_replicas=1)
    for replica in servers.nodes[MASTERS:]:
        replica.kill()
    with anyio.fail_after(DEADLINE_S):
        while any(_replicas(servers, number) for number in range(MASTERS)):
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:

        async def start_replicas() -> None:
            with anyio.fail_after(DEADLINE_S):
                while "0 of 1 replicas" not in caplog.text:
                    await anyio.sleep(0.05)
            for replica in servers.nodes[MASTERS:]:
                servers.start(replica)

        tasks.start_soon(start_replicas)
        with anyio.fail_after(DEADLINE_S):
            assert await waits_for(settings, prefix) == Wait(replicas=1)


async def test_commands_that_only_read_need_no_replica(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=1)
    async with host(settings, prefix) as running, running.client_of("alice") as http:
        photo = await upload(http, "one")
    for replica in servers.nodes[MASTERS:]:
        replica.kill()

    async with wiring.open_log(settings, prefix=prefix) as log:
        audited = await audit(log)
        compared = await compare(log, FolderBlobs(tmp_path / "blobs"), older_than_s=0)

    assert audited.breaks == []
    assert audited.photos == 1
    assert [each.photo_id for each in compared.missing] == []
    assert photo["photoId"]


async def test_a_cluster_without_replicas_answers_and_says_what_may_be_lost(
    servers: Cluster, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for replica in servers.nodes[MASTERS:]:
        name = replica.ask("CLUSTER", "MYID")
        replica.kill()
        for node in servers.nodes[:MASTERS]:
            node.ask("CLUSTER", "FORGET", name)
    settings = settings_of(tmp_path / "host", servers.url)

    async with (
        host(settings, prefix) as running,
        running.client_of("operator", Role.OPERATOR) as operator,
        running.client_of("alice") as http,
    ):
        await upload(http, "one")
        health = await risk_told(operator)

    assert running.log.durability.wait is None
    assert "no master of the cluster has a replica" in health["reason"]
    assert health["status"] == "ok"
    assert caplog.text.count("no master of the cluster has a replica") == 1


async def test_a_cluster_told_not_to_wait_says_what_may_be_lost(
    servers: Cluster, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=0)

    async with (
        host(settings, prefix) as running,
        running.client_of("operator", Role.OPERATOR) as operator,
    ):
        health = await risk_told(operator)

    assert running.log.durability.wait == Wait(replicas=0)
    assert running.log.guarantee.can_fail_over
    assert LOSES in health["reason"]
    assert caplog.text.count(LOSES) == 1


async def test_replicas_without_an_append_only_file_are_not_waited_for(
    servers: Cluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    for replica in servers.nodes[MASTERS:]:
        replica.ask("CONFIG", "SET", "appendonly", "no")
    settings = Settings(redis_url=servers.url)

    with caplog.at_level(logging.WARNING):
        async with wiring.open_log(settings, patient=True, prefix=prefix) as log:
            assert log.durability.wait is None
            assert log.guarantee.can_fail_over
            assert "set their appendonly to yes" in log.guarantee.risk


def _info(servers: Cluster, number: int) -> str:
    return servers.nodes[number].ask("INFO replication")


def _replicas(servers: Cluster, number: int) -> int:
    """Return how many replicas this master reports to clients."""
    return max(len(each) - 3 for each in servers.nodes[number].reply("CLUSTER SLOTS"))
