"""Checks at startup whether a server may hold the log, and says why not.

It relies on ``INFO``, which managed servers answer too.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from redis import exceptions

from store.errors import Denied, IsReplica, Unavailable, UnsuitableServer
from store.redis.cluster import SCHEME, Cluster
from store.redis.connection import Client, Wait, translated

NOT_DURABLE = (
    "the server has no append-only file and can lose confirmed events when it stops: set its "
    "appendonly to yes"
)

OLDEST = (7, 0)
"""The first version with everything that the store needs."""


async def examine(redis: Client) -> list[str]:
    """Return warnings about the server, or about the masters of the cluster.

    Raises:
        UnsuitableServer: it must not hold the log.
        Denied: it rejects the credentials.
        IsReplica: it is a replica.
        Unavailable: it does not answer; for a cluster, no master answers.
    """
    with translated():
        nodes = await redis.nodes()
    found: set[str] = set()
    away: list[Unavailable] = []
    for node in nodes:
        try:
            found |= await _examine(node, is_cluster=isinstance(redis, Cluster))
        except Denied:
            raise
        except Unavailable as error:
            away.append(error)
    if len(away) == len(nodes):
        raise away[0]
    return sorted(found)


async def _examine(node: Client, *, is_cluster: bool) -> set[str]:
    untyped: Any = node
    await ping(node)
    try:
        with translated():
            info = msgspec.convert(await untyped.info(), dict[str, Any])
            found, warned = faults(info, is_cluster=is_cluster), warnings(info)
    except Denied:  # only this command: PING was allowed
        return {"the user may not run INFO, so the server's settings are not checked"}
    if found:
        raise UnsuitableServer("; ".join(found))
    if info.get("role") in ("slave", "replica"):
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise IsReplica(f"the server is a replica, which takes no events: use its master, {master}")
    return warned | (await _full_coverage_warning(node) if is_cluster else set())


async def _full_coverage_warning(node: Client) -> set[str]:
    name = "cluster-require-full-coverage"
    try:
        with translated():
            reply: Any = await node.execute_command("CONFIG GET", name)
            said = reply.get(name)
    except Denied:  # most users may not run CONFIG, and nothing else needs it
        return set()
    if said != "yes":
        return set()
    return {f"the whole cluster stops while one master is away: set {name} to no on each node"}


async def can_wait(redis: Client, wait: Wait) -> None:
    """Return if the server can say what is on its disk and on those of its replicas.

    Raises:
        UnsuitableServer: it cannot.
        Denied: this user may not ask it.
        Unavailable: it has too few replicas now; in a cluster, no master has enough.
    """
    await can_tell(redis)
    replicas = await most_replicas(redis) if wait.replicas else 0
    if replicas < wait.replicas:
        raise Unavailable(f"the server has {replicas} of {wait.replicas} replicas")


async def can_tell(redis: Client) -> None:
    """Check as ``can_wait``, without counting replicas."""
    with translated():
        try:
            await redis.execute_command("WAIT", 0, 1)
            await redis.execute_command("WAITAOF", 1, 0, 1)
        except (exceptions.NoPermissionError, exceptions.ClusterDownError):
            raise
        except exceptions.ResponseError as error:
            reason = str(error)
            if "replica instance" in reason:
                raise IsReplica("the server has become a replica") from error
            if "unknown command" in reason:
                reason = "it has no WAITAOF, which came with Redis 7.2"
            raise UnsuitableServer(
                f"the server cannot confirm that events are safe: {reason}"
            ) from error


async def most_replicas(redis: Client) -> int:
    """Return how many replicas the server has; in a cluster, the master with the most.

    0 if the user may not ask.
    """
    if isinstance(redis, Cluster):
        with translated():
            return await redis.most_replicas()
    untyped: Any = redis
    try:
        with translated():
            return int((await untyped.info("replication")).get("connected_slaves", 0))
    except Denied:
        return 0


async def ping(redis: Client) -> None:
    """Ping the server; raises Denied and Unavailable."""
    with translated():
        await redis.execute_command("PING")


def faults(info: Mapping[str, Any], *, is_cluster: bool = False) -> list[str]:
    """Return why the server must not hold the log; empty if it may."""
    found: list[str] = []
    if info.get("cluster_enabled") == 1 and not is_cluster:
        found.append(f"the server is a node of a cluster: begin the URL with redis{SCHEME}://")
    version = str(info.get("redis_version", ""))
    if version and _version(version) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        found.append(f"the server is Redis {version}: {wanted} or newer is needed")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(
            f"the server would evict events when memory is full: set its maxmemory-policy to "
            f"noeviction (now {policy})"
        )
    return found


def warnings(info: Mapping[str, Any]) -> set[str]:
    """Return what a suitable server may lose nevertheless."""
    if int(info.get("aof_enabled", 1)):
        return set()
    return {NOT_DURABLE}


def _version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
