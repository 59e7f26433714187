"""A failover that loses events affects one partition; the projector still follows the others."""

from pathlib import Path

import anyio
import httpx
import msgspec

from projections.verify import verify
from store.sqlite.generations import Generations
from tests.system.clusters import Cluster, Node
from tests.system.hosts import DEADLINE_S, Host, completed, host, settings_of, upload
from tests.system.test_safe_effects import client_and_master, cut, fail_over, live_generation


async def test_a_failover_that_loses_events_leaves_the_generation_and_the_others(
    servers: Cluster, prefix: str, tmp_path: Path
) -> None:
    """Without ``append_wait_replicas`` answered events can be lost."""
    settings = settings_of(tmp_path / "host", servers.url, append_wait_replicas=0)
    async with host(settings, prefix) as running:
        client_id, master = client_and_master(running, servers)
        spared = spared_client(running, servers, master)
        async with running.client_of(client_id) as http, running.client_of(spared) as other:
            kept = await upload(http, "kept")
            await completed(http, kept["photoId"])
            await completed(other, (await upload(other, "before"))["photoId"])
            generation = live_generation(tmp_path)
            cut(servers, master)
            lost = await upload(http, "lost")
            await completed(http, lost["photoId"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fail_over, servers, master)
                meanwhile = await upload(other, "meanwhile")
                await completed(other, meanwhile["photoId"])
            await gone(http, lost["photoId"])

            assert (await http.get(f"/api/photos/{kept['photoId']}")).is_success
            last = await upload(http, "last")
            await completed(http, last["photoId"])
            resumed = {"room": "client", "lastEventId": lost["position"]}
            async with http.stream("GET", "/api/events", params=resumed) as stream:
                lines = stream.aiter_lines()
                data = [await anext(lines) for _ in range(4)][-1].removeprefix("data: ")
                assert not msgspec.json.decode(data)["recovered"]
        generations = Generations(settings.read_model_folder)
        partition = running.log.partition_of(client_id)
        assert live_generation(tmp_path) == generation
        assert len(generations.kept_of(partition)) == 1
        assert (await verify(running.log, generations)).equal


async def gone(http: httpx.AsyncClient, photo_id: str) -> None:
    """Wait until the read model no longer has the photo."""
    with anyio.fail_after(DEADLINE_S):
        while (await http.get(f"/api/photos/{photo_id}")).status_code != 404:
            await anyio.sleep(0.05)


def spared_client(running: Host, servers: Cluster, master: Node) -> str:
    """Return a client whose partition is on another master."""
    keys, log = running.log.keys, running.log
    clients = (f"other-{number}" for number in range(100))
    return next(
        client
        for client in clients
        if servers.master_of(keys.log(log.partition_of(client))).port != master.port
    )
