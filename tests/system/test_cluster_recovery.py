"""A cluster that has lost one shard for good: only its partitions are recovered."""

import shutil
from pathlib import Path

import anyio
import msgspec
import pytest

from ops.config.settings import Settings
from ops.maintenance.audit import audit
from ops.maintenance.log_import import WORKING_MS
from ops.maintenance.log_recover import Recovery
from ops.maintenance.log_recover_findings import Findings
from ops.runtime import wiring
from store.blobs.folder import FolderBlobs
from store.keys import Keys
from store.log.log import Log
from store.queue import liveness
from tests.store.archive.segments import archive_all
from tests.system.clusters import DEADLINE_S, Cluster, Node
from tests.system.hosts import LOOK_EVERY_S, completed, host, settings_of, upload

CLIENTS = [f"client-{number}" for number in range(12)]


async def lose_shard(servers: Cluster, master: Node) -> None:
    """Restart both nodes of the shard without what they had stored, except their place."""
    shard = servers.shard_of(master)
    for node in reversed(shard):  # the replica first, so that it takes no place
        node.kill()
    for node in shard:
        shutil.rmtree(node.folder / "appendonlydir")
        servers.start(node)
    with anyio.fail_after(DEADLINE_S):
        while any("cluster_state:ok" not in each.ask("CLUSTER", "INFO") for each in servers.nodes):
            await anyio.sleep(LOOK_EVERY_S)


def master_to_lose(servers: Cluster, log: Log, *, of_controls: bool) -> Node:
    """Return the master with the controls, or one that has neither these nor the log's id."""
    first = servers.master_of(log.keys.log(0))
    if of_controls:
        return first
    spared = {first.port, servers.master_of(log.keys.meta).port}
    return next(each for each in servers.nodes[:3] if each.port not in spared)


async def recovered(settings: Settings, prefix: str, blobs: FolderBlobs) -> Findings:
    """Recover with the read model of the host once its workers count as stopped."""
    model = wiring.generations(settings).current()
    assert model is not None
    async with wiring.open_empty(settings) as (redis, wait):
        log = await Log.find(redis, prefix=prefix)
        with anyio.fail_after(DEADLINE_S):
            while log is not None and await liveness.workers(log, WORKING_MS):
                await anyio.sleep(LOOK_EVERY_S)
        recovery = Recovery(redis, Keys(prefix), blobs, [model], wait=wait)
        done = await recovery.run(None, lambda _: None)
    assert done.findings is not None
    return done.findings


@pytest.mark.parametrize("of_controls", [True, False])
async def test_a_shard_that_is_lost_is_recovered_and_the_others_stay(
    servers: Cluster, prefix: str, tmp_path: Path, of_controls: bool
) -> None:
    settings = settings_of(tmp_path / "host", servers.url)
    blobs = FolderBlobs(tmp_path / "blobs")
    photos: dict[str, str] = {}
    async with host(settings, prefix) as running:
        log = running.log
        for number, client_id in enumerate(CLIENTS):
            async with running.client_of(client_id) as http:
                photos[client_id] = (await upload(http, client_id))["photoId"]
                await completed(http, photos[client_id])
            if number == len(CLIENTS) // 2:
                await archive_all(log, blobs)
        master = master_to_lose(servers, log, of_controls=of_controls)
        lost = [
            each
            for each in range(log.partitions)
            if servers.master_of(log.keys.log(each)).port == master.port
        ]
        before = await audit(log)
        ends = {each: await log.last_entry(each) for each in range(log.partitions)}

    await lose_shard(servers, master)
    found = await recovered(settings, prefix, blobs)

    assert found.recovered == tuple(lost)
    assert (found.broken, found.unnamed) == ([], [])
    async with host(settings, prefix) as running:
        assert (await audit(running.log, upto=ends)).anchor == before.anchor
        for client_id, photo_id in photos.items():
            async with running.client_of(client_id) as http:
                assert (await http.get(f"/api/photos/{photo_id}")).is_success
                again = await upload(http, client_id)
                assert (again["photoId"], again["duplicate"]) == (photo_id, True)
                await completed(http, (await upload(http, f"{client_id} again"))["photoId"])
                room = {"room": "client", "lastEventId": str(ends[log.partition_of(client_id)])}
                async with http.stream("GET", "/api/events", params=room) as stream:
                    lines = stream.aiter_lines()
                    data = [await anext(lines) for _ in range(4)][-1].removeprefix("data: ")
                    is_lost = log.partition_of(client_id) in lost
                    assert msgspec.json.decode(data)["recovered"] != is_lost
        assert (await audit(running.log)).breaks == []
