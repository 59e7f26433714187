"""Inflict faults on a cluster and the roles on it, on one node of a shard at a time.

With ``append_wait_replicas=1`` two nodes of a shard have an event before it is answered. So a node
is hit only when its shard is complete again; faults of other shards and of roles overlap.
"""

import random
import signal
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio import to_thread
from redis.exceptions import RedisError

from tests.system.clusters import DEADLINE_S, NODE_TIMEOUT_MS, Node
from tests.system.faults import STALLED_AFTER_S, FaultOf
from tests.system.machines import Site

ClusterFault = FaultOf[Site]

HUNG_S = 4 * NODE_TIMEOUT_MS / 1000
"""Long enough for the other nodes to elect a new master."""

LOOK_EVERY_S = 0.1


def ending(kind: str, number: signal.Signals) -> ClusterFault:
    async def end(site: Site, chance: random.Random) -> str:
        role = site.role(kind, chance)
        await role.ready()
        return role.end(number)

    return end


def freezing(kind: str, least_s: float, most_s: float) -> ClusterFault:
    async def freeze(site: Site, chance: random.Random) -> str:
        role = site.role(kind, chance)
        await role.ready()
        return await role.freeze(chance.uniform(least_s, most_s))

    return freeze


async def kill_master(site: Site, chance: random.Random) -> str:
    """Kill the master; its replica may or may not take its place before it returns."""
    async with _shard(site, chance) as (master, _):
        away_s = chance.uniform(0, HUNG_S)
        await _restarted(site, master, away_s)
        return f"had killed the master {master.port} for {away_s:.1f} s"


async def kill_replica(site: Site, chance: random.Random) -> str:
    async with _shard(site, chance) as (_, replica):
        away_s = chance.uniform(0, HUNG_S)
        await _restarted(site, replica, away_s)
        return f"had killed the replica {replica.port} for {away_s:.1f} s"


async def hang_master(site: Site, chance: random.Random) -> str:
    async with _shard(site, chance) as (master, _):
        hung_s = chance.uniform(0.3, HUNG_S)
        master.freeze()
        try:
            await anyio.sleep(hung_s)
        finally:
            master.go_on()
        return f"had frozen the master {master.port} for {hung_s:.1f} s"


async def cut_replica(site: Site, chance: random.Random) -> str:
    """Cut the replica off from its master's writes; it may take the master's place then."""
    async with _shard(site, chance) as (master, replica):
        cut_s = chance.uniform(0.5, HUNG_S)
        await _ask(replica, "CONFIG", "SET", "masterauth", f"{uuid.uuid4()}")
        await _ask(replica, "CONFIG", "SET", "masteruser", "nobody")
        await _ask(master, "CLIENT", "KILL", "TYPE", "replica")
        dies = chance.random() < 0.5
        await anyio.sleep(cut_s / 2)
        if dies:
            master.kill()
            await anyio.sleep(cut_s / 2)
        await _ask(replica, "CONFIG", "SET", "masterauth", "")
        await _ask(replica, "CONFIG", "SET", "masteruser", "")
        if dies:
            await anyio.sleep(cut_s / 2)
            await to_thread.run_sync(site.cluster.start, master)
        then = ", and killed it meanwhile" if dies else ""
        return f"had cut {replica.port} off its master {master.port} for {cut_s:.1f} s{then}"


FAULTS: tuple[ClusterFault, ...] = (
    ending("gateway", signal.SIGKILL),
    ending("projector", signal.SIGKILL),
    ending("worker", signal.SIGKILL),
    ending("worker", signal.SIGTERM),
    kill_master,
    kill_replica,
    hang_master,
    cut_replica,
    freezing("worker", 1.2 * STALLED_AFTER_S, 2 * STALLED_AFTER_S),
    freezing("projector", 1, 3),
    freezing("gateway", 1, 3),
)


async def whole(site: Site) -> None:
    """Wait until every shard has a master and a replica in sync with it."""
    for node in site.cluster.nodes[: len(site.cluster.nodes) // 2]:
        await _pair(site.cluster.shard_of(node))


@asynccontextmanager
async def _shard(site: Site, chance: random.Random) -> AsyncGenerator[tuple[Node, Node]]:
    """Wait for a complete shard without another fault, and yield its master and its replica."""
    nodes = site.cluster.nodes
    number = chance.randrange(len(nodes) // 2)
    async with site.harmed.setdefault(number, anyio.Lock()):
        yield await _pair(site.cluster.shard_of(nodes[number]))


async def _pair(shard: tuple[Node, Node]) -> tuple[Node, Node]:
    with anyio.fail_after(DEADLINE_S):
        while True:
            for master, replica in (shard, shard[::-1]):
                with suppress(RedisError, OSError):
                    leading = await _ask(master, "INFO replication")
                    following = await _ask(replica, "INFO replication")
                    if (
                        "role:master" in leading
                        and "state=online" in leading
                        and "master_link_status:up" in following
                    ):
                        return master, replica
            await anyio.sleep(LOOK_EVERY_S)


async def _restarted(site: Site, node: Node, after_s: float) -> None:
    node.kill()
    await anyio.sleep(after_s)
    await to_thread.run_sync(site.cluster.start, node)


async def _ask(node: Node, *command: str) -> str:
    return await to_thread.run_sync(lambda: node.ask(*command))
