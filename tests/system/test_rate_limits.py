"""Rate limits on a cluster, each in its client's partition, while masters fail one at a time."""

import anyio

from store.clients.rate_limits import Bucket, Buckets, Table
from store.log.log import Log
from store.redis.connection import connect
from tests.system.clusters import Cluster

CAPACITY = 20
CLIENTS = [f"client-{number}" for number in range(12)]


async def spent(pairs: list[tuple[Buckets, Bucket]]) -> int:
    """Return how many tokens the processes can take, in turn, until one is rejected."""
    taken = 0
    while True:
        for buckets, bucket in pairs:
            if await buckets.take((bucket, 1)) is not None:
                return taken
            taken += 1


async def test_they_are_shared_on_a_cluster_and_a_lost_master_costs_no_request(
    servers: Cluster, prefix: str
) -> None:
    redis = connect(servers.url)
    log = await Log.open(redis, prefix=prefix, partitions=16)
    tables = [Table("requests", CAPACITY, 3_600, log) for _ in range(2)]
    both = [Buckets(log) for _ in tables]
    async with anyio.create_task_group() as tasks:
        for buckets in both:
            tasks.start_soon(buckets.run)
        await anyio.lowlevel.checkpoint()

        def pairs(client_id: str) -> list[tuple[Buckets, Bucket]]:
            return [
                (buckets, table.of(client_id, client_id))
                for buckets, table in zip(both, tables, strict=True)
            ]

        lost = servers.master_of(log.keys.log(log.partition_of(CLIENTS[0])))
        shared = [await spent(pairs(each)) for each in CLIENTS[1:6]]
        lost.kill()
        alone = await spent(pairs(CLIENTS[0]))
        others = [
            await spent(pairs(each))
            for each in CLIENTS[6:]
            if servers.master_of(log.keys.log(log.partition_of(each))) != lost
        ]

        assert shared == [CAPACITY] * 5
        assert alone == 2 * CAPACITY
        assert others
        assert set(others) == {CAPACITY}
        tasks.cancel_scope.cancel()
    await redis.aclose()
