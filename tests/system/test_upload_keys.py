"""An ``Idempotency-Key`` identifies one photo, even after the log has lost both."""

from pathlib import Path

import anyio
import httpx

from store.errors import Unavailable
from tests.system.clusters import Cluster
from tests.system.hosts import Host, completed, host, settings_of
from tests.system.photos import jpeg
from tests.system.test_safe_effects import client_and_master, cut, fail_over

KEY = "of one photo"


async def send(http: httpx.AsyncClient, text: str, key: str) -> httpx.Response:
    return await http.post(
        "/api/photos/upload",
        files={"file": ("a.jpg", jpeg(text))},
        headers={"Idempotency-Key": key},
    )


async def lose(running: Host, servers: Cluster, client_id: str, key: str) -> httpx.Response:
    """Return the answer to an upload whose event and key a failover has lost since."""
    keys = running.log.keys
    master = servers.master_of(keys.log(running.log.partition_of(client_id)))
    async with running.client_of(client_id) as http:
        cut(servers, master)
        answer = await send(http, "lost", key)
        await fail_over(servers, master)
        while await _still_has(running, client_id, key):
            await anyio.sleep(0)
    return answer


async def _still_has(running: Host, client_id: str, key: str) -> bool:
    """Return whether the old master is still asked, which may end while it answers."""
    try:
        return await running.log.has_command(client_id, key)
    except Unavailable:
        return True


async def test_an_upload_sent_again_after_its_event_was_lost_is_the_same_photo(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=0)
    async with host(settings, prefix) as running:
        client_id, _ = client_and_master(running, servers)
        first = await lose(running, servers, client_id, KEY)

        async with running.client_of(client_id) as http:
            again = await send(http, "lost", KEY)
            other = await send(http, "other", KEY)
            photo = await completed(http, again.json()["photoId"])

        assert (first.status_code, again.status_code) == (201, 201)
        for name in ("photoId", "jobId"):
            assert again.json()[name] == first.json()[name]
        assert photo["jobId"] == first.json()["jobId"]
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_other_bytes_under_the_key_of_a_lost_event_are_rejected(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=0)
    async with host(settings, prefix) as running:
        client_id, _ = client_and_master(running, servers)
        first = await lose(running, servers, client_id, KEY)

        async with running.client_of(client_id) as http:
            other = await send(http, "other", KEY)

        assert first.status_code == 201
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
