"""No effect depends on an event that a failover may still lose.

With ``append_wait_replicas`` an event is safe once a replica has it. Here a master goes on without
its replica, so what it takes is not safe; then the replica takes its place, without those events.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec

from gateway.http.auth import Role
from tests.system.clusters import Cluster, Node
from tests.system.hosts import DEADLINE_S, Host, completed, host, settings_of, upload
from tests.system.photos import jpeg

PATIENCE_S = 3.0


@asynccontextmanager
async def waiting_host(servers: Cluster, prefix: str, folder: Path) -> AsyncGenerator[Host]:
    settings = settings_of(
        folder,
        servers.url,
        append_wait_replicas=1,
        append_patience_s=PATIENCE_S,
    )
    async with host(settings, prefix) as running:
        yield running


def client_and_master(running: Host, servers: Cluster) -> tuple[str, Node]:
    """Return a client whose master has neither the pipeline's controls nor the log's identity."""
    keys = running.log.keys
    spared = {servers.master_of(key).port for key in (keys.log(0), keys.meta)}
    for number in range(100):
        client_id = f"client-{number}"
        partition = running.log.partition_of(client_id)
        master = servers.master_of(keys.log(partition))
        if master.port not in spared:
            return client_id, master
    raise AssertionError("no client has a master of its own")


def cut(servers: Cluster, master: Node) -> None:
    """Cut the replica off from its master; it may not take the master's place yet."""
    replica = servers.replica_of(master)
    replica.ask("CONFIG", "SET", "cluster-replica-no-failover", "yes")
    replica.ask("CONFIG", "SET", "masterauth", f"{uuid.uuid4()}")
    replica.ask("CONFIG", "SET", "masteruser", "nobody")
    master.ask("CLIENT", "KILL", "TYPE", "replica")


async def fail_over(servers: Cluster, master: Node) -> None:
    """Let the replica take the place of the master, which returns as its replica."""
    replica = servers.replica_of(master)
    master.kill()
    replica.ask("CONFIG", "SET", "masterauth", "")
    replica.ask("CONFIG", "SET", "masteruser", "")
    replica.ask("CONFIG", "SET", "cluster-replica-no-failover", "no")
    await servers.promoted(replica)
    servers.start(master)


async def send(http: httpx.AsyncClient, text: str) -> httpx.Response:
    return await http.post("/api/photos/upload", files={"file": ("a.jpg", jpeg(text))})


async def test_an_unsafe_deletion_removes_nothing(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    async with waiting_host(servers, prefix, tmp_path / "host") as running:
        client_id, master = client_and_master(running, servers)
        async with running.client_of(client_id) as http:
            photo = await upload(http, "one")
            await completed(http, photo["photoId"])
            before = files_of(tmp_path)
            cut(servers, master)

            refused = await http.delete(f"/api/photos/{photo['photoId']}")
            await fail_over(servers, master)
            again = await upload(http, "two")
            await completed(http, again["photoId"])

            assert refused.status_code == 503
            assert before <= files_of(tmp_path)
            assert (await http.get(f"/api/photos/{photo['photoId']}/original")).is_success


async def test_an_unsafe_upload_is_not_a_duplicate(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    async with waiting_host(servers, prefix, tmp_path / "host") as running:
        client_id, master = client_and_master(running, servers)
        async with running.client_of(client_id) as http:
            await upload(http, "before")
            cut(servers, master)

            answers = [await send(http, "one") for _ in range(2)]
            await fail_over(servers, master)
            accepted = await upload(http, "one")

            assert [each.status_code for each in answers] == [503, 503]
            assert not accepted["duplicate"]
            await completed(http, accepted["photoId"])


async def test_unsafe_events_are_seen_by_nobody(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    async with waiting_host(servers, prefix, tmp_path / "host") as running:
        client_id, master = client_and_master(running, servers)
        partition = running.log.partition_of(client_id)
        generation = live_generation(tmp_path)
        async with (
            running.client_of(client_id) as http,
            running.client_of("operator", Role.OPERATOR) as operator,
            watching(operator) as seen,
        ):
            kept = await upload(http, "kept")
            await completed(http, kept["photoId"])
            cut(servers, master)
            assert (await send(http, "lost")).status_code == 503
            listed = (await http.get("/api/photos")).json()["items"]
            await fail_over(servers, master)
            last = await upload(http, "last")
            await completed(http, last["photoId"])
            with anyio.fail_after(DEADLINE_S):
                while "photo.processing.completed" not in seen.get(last["photoId"], ()):
                    await anyio.sleep(0.02)

            recorded = {each.event.data.photo_id async for each in running.log.scan(partition)}
            assert [each["photoId"] for each in listed] == [kept["photoId"]]
            assert set(seen) <= recorded
            assert live_generation(tmp_path) == generation


@asynccontextmanager
async def watching(http: httpx.AsyncClient) -> AsyncGenerator[dict[str, list[str]]]:
    """Collect the types of the events in the room ``global``, by photo, in order of arrival."""
    seen: dict[str, list[str]] = {}

    async def follow(stream: httpx.Response) -> None:
        async for line in stream.aiter_lines():
            if line.startswith("data: ") and '"type"' in line:
                event: dict[str, Any] = msgspec.json.decode(line.removeprefix("data: "))
                if photo_id := event["data"].get("photoId"):
                    seen.setdefault(photo_id, []).append(event["type"])

    async with http.stream("GET", "/api/events", params={"room": "global"}) as stream:
        stream.raise_for_status()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, stream)
            yield seen
            tasks.cancel_scope.cancel()


def files_of(folder: Path) -> set[Path]:
    blobs = folder / "blobs"
    return {path for path in blobs.rglob("*") if path.is_file() and "/log" not in f"{path}"}


def live_generation(folder: Path) -> str:
    return (folder / "host" / "read-model" / "current").read_text()
