"""The whole system on a cluster of three masters and three replicas, and its failures."""

import logging
import uuid
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.http.auth import Role
from store.redis.acl import ON_A_CLUSTER, TO_WAIT, acl
from tests.conftest import unavailable
from tests.servers import DEBIAN_REDIS
from tests.system.clusters import Cluster, Clusters, Node
from tests.system.hosts import (
    DEADLINE_S,
    LOOK_EVERY_S,
    Host,
    answered,
    completed,
    host,
    main_job,
    settings_of,
    upload,
)
from tests.system.photos import jpeg

PARTITIONS = 16
CLIENTS = [f"client-{number}" for number in range(12)]


def clients_by_master(running: Host, servers: Cluster) -> dict[int, list[str]]:
    """Return several clients for each master, by its port."""
    found: dict[int, list[str]] = {}
    for client_id in CLIENTS:
        partition = running.log.partition_of(client_id)
        node = servers.master_of(running.log.keys.log(partition))
        found.setdefault(node.port, []).append(client_id)
    assert len(found) == 3
    return found


def url_of_a_user(servers: Cluster, prefix: str) -> str:
    """Create a user with the documented rules on all nodes, and return its URL."""
    for node in servers.nodes:
        rules = acl(prefix, *ON_A_CLUSTER, *TO_WAIT)
        node.ask("ACL", "SETUSER", "photolog", "on", ">secret", *rules)
    return servers.url.replace("://", "://photolog:secret@")


def refused_to_users(servers: Cluster) -> set[str]:
    return {each["object"] for node in servers.nodes for each in node.reply("ACL LOG")}


async def test_a_user_of_a_cluster_needs_no_other_commands(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    url = url_of_a_user(servers, prefix)
    settings = settings_of(tmp_path / "host", url, append_wait_replicas=1)

    async with host(settings, prefix) as running:
        await main_job(running)
        for client_id in CLIENTS[:3]:
            await _use_a_session(running, client_id)
        async with running.client_of("operator", Role.OPERATOR) as http:
            for asked in ("/health", "/metrics", "/api/ops/queues"):
                assert (await http.get(asked)).is_success

    # The client library introduces itself, and a setting of the cluster is read.
    assert refused_to_users(servers) <= {"client|setinfo", "config|get"}


async def _use_a_session(running: Host, client_id: str) -> None:
    """Open a session, upload a photo twice into it, close it, and have an upload rejected."""
    async with running.client_of(client_id) as http:
        path, first = "/api/sessions/trip", jpeg(str(uuid.uuid4()))
        assert (await http.put(path, json={"expected": 2})).status_code == 201
        for photo, status in ((first, 201), (first, 200)):
            files, fields = {"file": ("a.jpg", photo)}, {"sessionId": "trip"}
            sent = await http.post("/api/photos/upload", files=files, data=fields)
            assert sent.status_code == status, sent.text
        assert (await http.put(path, json={"status": "closed"})).status_code == 200
        files = {"file": ("a.jpg", jpeg(str(uuid.uuid4())))}
        refused = await http.post("/api/photos/upload", files=files, data={"sessionId": "trip"})
        assert (refused.status_code, refused.json()["code"]) == (409, "session-closed")
        with anyio.fail_after(DEADLINE_S):
            while (shown := (await http.get(path)).json())["completedAt"] is None:
                await anyio.sleep(LOOK_EVERY_S)
        counted = (shown["received"], shown["duplicates"], shown["completed"])
        assert counted == (1, 1, 1)


async def test_a_user_of_a_cluster_changes_priorities_on_every_master(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", url_of_a_user(servers, prefix))

    async with host(settings, prefix) as running:
        clients = [each[0] for each in clients_by_master(running, servers).values()]
        async with running.client_of("operator", Role.OPERATOR) as http:
            paused = "/api/ops/queues/validation"
            (await http.post(f"{paused}/pause", json={"reason": "a test"})).raise_for_status()
            photos: list[tuple[str, dict[str, Any]]] = []
            for client_id in clients:
                async with running.client_of(client_id) as uploading:
                    photos.append((client_id, await _kept_waiting(http, uploading, len(photos))))
            for client_id, photo in photos:
                path = f"/api/ops/jobs/{photo['jobId']}/priority"
                answer = (await http.put(path, json={"priority": 1})).json()
                assert (answer["moved"], answer["complete"]) == (1, True), client_id
            (await http.post(f"{paused}/resume", json={"reason": "a test"})).raise_for_status()
            for _, photo in photos:
                await completed(http, photo["photoId"])

    assert refused_to_users(servers) <= {"client|setinfo", "config|get"}


async def _kept_waiting(
    http: httpx.AsyncClient, uploading: httpx.AsyncClient, others: int
) -> dict[str, Any]:
    """Upload photos until one waits besides the ``others``: the worker has learned of the pause."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            photo = await upload(uploading, str(uuid.uuid4()))
            while True:
                if await _waiting(http, "validation") > others:
                    return photo
                shown = await http.get(f"/api/photos/{photo['photoId']}")
                if shown.is_success and shown.json()["processingStatus"] == "completed":
                    break  # the worker took it before it learned of the pause
                await anyio.sleep(LOOK_EVERY_S)


async def _waiting(http: httpx.AsyncClient, stage: str) -> int:
    stages = (await answered(http, "/api/ops/queues"))["stages"]
    return next(each["waiting"] for each in stages if each["stage"] == stage)


@pytest.mark.parametrize("binary", [None, DEBIAN_REDIS])
async def test_the_main_job_runs_on_a_cluster(
    clusters: Clusters, binary: str | None, prefix: str, tmp_path: Path
) -> None:
    if binary is not None and not Path(binary).exists():
        unavailable(f"no {binary}: apt-get install redis-server")
    with clusters.one(binary) as servers:
        async with host(settings_of(tmp_path / "host", servers.url), prefix) as running:
            assert running.log.partitions == PARTITIONS
            for clients in clients_by_master(running, servers).values():
                await main_job(running, clients[0])


async def test_a_dead_master_stops_its_own_partitions_and_no_others(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(
        tmp_path / "host", servers.url, append_wait_replicas=0, append_patience_s=1.0
    )
    async with host(settings, prefix, workers=2) as running:
        clients = clients_by_master(running, servers)
        victim = _not_of_partition_0(running, servers)
        stopped = clients.pop(victim.port)[0]
        servers.replica_of(victim).ask("CONFIG", "SET", "cluster-replica-no-failover", "yes")
        victim.kill()

        for others in clients.values():
            await main_job(running, others[0])
        async with running.client_of(stopped) as http:
            refused = await http.post("/api/photos/upload", files={"file": ("a.jpg", jpeg("x"))})
            assert (refused.status_code, refused.json()["code"]) == (503, "log-unavailable")
            assert "Retry-After" in refused.headers
        async with running.client_of("operator", Role.OPERATOR) as http:
            health = (await http.get("/health")).json()["checks"]["redis"]
            assert health["status"] == "degraded"
            queues = (await answered(http, "/api/ops/queues"))["partitions"]
            assert {each["server"] for each in queues if not each["answers"]} == {
                f"127.0.0.1:{victim.port}"
            }

        servers.replica_of(victim).ask("CONFIG", "SET", "cluster-replica-no-failover", "no")
        await servers.promoted(servers.replica_of(victim))
        await main_job(running, stopped)


async def test_the_queues_are_shown_without_controls_while_those_are_unavailable(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", servers.url)
    async with (
        host(settings, prefix, workers=0) as running,
        running.client_of("operator", Role.OPERATOR) as http,
    ):
        victim = servers.master_of(running.log.keys.log(0))
        servers.replica_of(victim).ask("CONFIG", "SET", "cluster-replica-no-failover", "yes")
        victim.kill()

        times = [await running.log.now() for _ in range(10)]
        seen = await answered(http, "/api/ops/queues")

        silent = [each for each in seen["partitions"] if not each["answers"]]
        assert {each["server"] for each in silent} == {f"127.0.0.1:{victim.port}"}
        assert 0 in [each["partition"] for each in silent]
        assert seen["allPaused"] is None
        assert {each["paused"] for each in seen["stages"]} == {None}
        assert times == sorted(times)


async def test_what_a_failover_has_lost_is_reported_and_forgotten(
    servers: Cluster, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=0)
    async with host(settings, prefix) as running:
        victim = _not_of_partition_0(running, servers)
        client_id = clients_by_master(running, servers)[victim.port][0]
        async with running.client_of(client_id) as http:
            kept = await upload(http, "kept")
            await completed(http, kept["photoId"])
            _cut_replication(servers, victim)
            lost = await upload(http, "lost")
            await completed(http, lost["photoId"])

            with caplog.at_level(logging.WARNING, "photolog.projector"):
                victim.kill()
                await servers.promoted(servers.replica_of(victim))
                again = await upload(http, "lost")
                await completed(http, again["photoId"])

            assert again["photoId"] != lost["photoId"]
            assert (await http.get(f"/api/photos/{lost['photoId']}")).status_code == 404
            assert (await http.get(f"/api/photos/{kept['photoId']}")).is_success
    partition = lost["position"].partition(":")[0]
    assert f"partition {partition} has lost" in caplog.text
    assert lost["photoId"] in caplog.text


async def test_nothing_that_was_answered_is_lost_by_default(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", servers.url)
    answered: dict[str, str] = {}
    async with host(settings, prefix) as running:
        victim = _not_of_partition_0(running, servers)
        clients = clients_by_master(running, servers)[victim.port]
        enough = anyio.Event()

        async def keep_uploading(client_id: str) -> None:
            async with running.client_of(client_id) as http:
                for number in range(8):
                    photo = await upload(http, f"{client_id} {number}")
                    answered[photo["photoId"]] = client_id
                    if len(answered) >= 5:
                        enough.set()

        async with anyio.create_task_group() as tasks:
            for client_id in clients[:2]:
                tasks.start_soon(keep_uploading, client_id)
            await enough.wait()
            victim.kill()
            await servers.promoted(servers.replica_of(victim))
            servers.start(victim)  # without a replica, no write would be safe

        for photo_id, client_id in answered.items():
            async with running.client_of(client_id) as http:
                await completed(http, photo_id)
    assert len(answered) == 16


def _not_of_partition_0(running: Host, servers: Cluster) -> Node:
    """Return a master with neither the pipeline's controls nor the log's identity."""
    spared = {
        servers.master_of(key).port for key in (running.log.keys.log(0), running.log.keys.meta)
    }
    return next(node for node in servers.nodes[:3] if node.port not in spared)


def _cut_replication(servers: Cluster, master: Node) -> None:
    """Give the replica a wrong password, so that it has to reconnect."""
    replica = servers.replica_of(master)
    replica.ask("CONFIG", "SET", "masterauth", f"{uuid.uuid4()}")
    replica.ask("CONFIG", "SET", "masteruser", "nobody")
    master.ask("CLIENT", "KILL", "TYPE", "replica")
