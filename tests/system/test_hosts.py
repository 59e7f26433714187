"""Two hosts share one log, each with a gateway, a projector and workers, without coordination."""

from collections import Counter
from pathlib import Path

import anyio

from domain.pipeline.stages import PIPELINES
from projections.verify import verify
from store.log.log import Log
from store.sqlite.generations import Generations
from tests.system.clusters import Cluster
from tests.system.hosts import Host, completed, host, settings_of, upload

CLIENTS = [f"client-{number}" for number in range(6)]
PHOTOS = 2


async def used(first: Host, second: Host) -> list[str]:
    """Upload photos of several clients to one host each, and see them complete at the other."""
    photo_ids: list[str] = []

    async def use(client_id: str, hosts: tuple[Host, Host]) -> None:
        async with hosts[0].client_of(client_id) as here, hosts[1].client_of(client_id) as there:
            for number in range(PHOTOS):
                photo = await upload(here, f"{client_id} {number}")
                await completed(there, photo["photoId"])
                photo_ids.append(photo["photoId"])

    async with anyio.create_task_group() as tasks:
        for number, client_id in enumerate(CLIENTS):
            tasks.start_soon(use, client_id, (first, second) if number % 2 else (second, first))
    return photo_ids


async def attempts(log: Log) -> Counter[tuple[str, str]]:
    """Return how often each stage of each photo has ended."""
    found: Counter[tuple[str, str]] = Counter()
    for partition in range(log.partitions):
        async for each in log.scan(partition):
            if each.event.type == "photo.processing.stage.completed":
                found[each.event.data.photo_id, getattr(each.event.data, "stage", "")] += 1
    return found


async def test_two_hosts_do_each_task_once_and_show_the_same(
    prefix: str, tmp_path: Path, valkey_url: str
) -> None:
    first, second = [
        settings_of(tmp_path / name, valkey_url, partitions=3) for name in ("one", "two")
    ]
    async with (
        host(first, prefix, workers=2) as one,
        host(second, prefix, workers=2) as two,
    ):
        photo_ids = await used(one, two)
        done = await attempts(one.log)
        for each in (first, second):
            assert (await verify(one.log, Generations(each.read_model_folder))).equal

    stages = PIPELINES["full_processing"]
    assert done == {(photo_id, stage): 1 for photo_id in photo_ids for stage in stages}


async def test_two_hosts_share_a_cluster(servers: Cluster, prefix: str, tmp_path: Path) -> None:
    first, second = [settings_of(tmp_path / name, servers.url) for name in ("one", "two")]
    async with (
        host(first, prefix, workers=2) as one,
        host(second, prefix, workers=2) as two,
    ):
        photo_ids = await used(one, two)
        done = await attempts(one.log)

    assert set(done.values()) == {1}
    assert len(done) == len(photo_ids) * len(PIPELINES["full_processing"])
