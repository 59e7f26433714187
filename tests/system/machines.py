"""Run two hosts of one system as processes, on a cluster and a bucket.

Each host has a gateway, a projector and workers; the hosts share only the log and the photos.
"""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import httpx
from redis.asyncio.cluster import ClusterNode, RedisCluster

from gateway.http.auth import SCOPES
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from store.blobs.s3_server import Server
from store.keys import DEFAULT_PREFIX
from store.log.log import Log
from store.redis.connection import connect
from tests.ports import free_ports
from tests.s3_servers import S3Server
from tests.system.checker import Findings, Redis, examine
from tests.system.clients import ANSWER_S
from tests.system.clusters import Cluster
from tests.system.hosts import SECRET
from tests.system.processes import READY_S, Role, kept
from tests.system.quiescence import at_rest
from tests.system.stored import Bucket

HOSTS = 2
TOKEN_S = 24 * 3600.0


@dataclass
class Machine:
    """One host: its URL, its data folder, and its processes."""

    data: Path
    url: str
    environment: dict[str, str]
    roles: list[Role]

    def client_of(self, client_id: str, role: str = "client") -> httpx.AsyncClient:
        """Return an HTTP client that is signed in and times out after ``ANSWER_S``."""
        scopes = SCOPES if role == "client" else ()
        token = mint(Settings(data=str(self.data), secret=SECRET), client_id, role, TOKEN_S, scopes)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=ANSWER_S, verify=False, trust_env=False
        )

    async def ready(self) -> None:
        with anyio.fail_after(READY_S):
            async with self.client_of("nobody") as http:
                while True:
                    with suppress(httpx.TransportError):
                        if (await http.get("/health/ready")).is_success:
                            return
                    await anyio.sleep(0.05)


@dataclass
class Site:
    """All servers and hosts, to inflict faults on; ``harmed`` holds a lock for each shard."""

    cluster: Cluster
    bucket: Server
    machines: list[Machine]
    harmed: dict[int, anyio.Lock] = field(default_factory=dict[int, anyio.Lock])

    @property
    def roles(self) -> list[Role]:
        return [role for machine in self.machines for role in machine.roles]

    @property
    def unasked(self) -> list[str]:
        """Every unexpected end of a role."""
        return [each for role in self.roles for each in role.unasked]

    def role(self, kind: str, chance: random.Random) -> Role:
        return chance.choice([role for role in self.roles if role.kind == kind])

    async def settled(self, within_s: float) -> Findings:
        """Return the checker's findings once the system is at rest, or after the deadline."""
        bucket = Bucket(self.bucket)

        async def look() -> Findings:
            async with self._redis() as redis:
                return await examine(redis, DEFAULT_PREFIX, bucket)

        return await at_rest(look, within_s)

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Log]:
        client = connect(self.cluster.url)
        try:
            yield await Log.open(client)
        finally:
            await client.aclose()

    @asynccontextmanager
    async def _redis(self) -> AsyncGenerator[Redis]:
        """The library's own cluster client, not Photolog's."""
        nodes = [ClusterNode("127.0.0.1", node.port) for node in self.cluster.nodes]
        redis = RedisCluster(startup_nodes=nodes, protocol=3, legacy_responses=False)
        try:
            yield cast("Redis", redis)
        finally:
            await redis.aclose()


def site(
    folder: Path,
    cluster: Cluster,
    s3: S3Server,
    bucket: Server,
    settings: dict[str, str],
    *,
    workers: int,
) -> Site:
    """Prepare two hosts with ``workers`` workers each, not yet started."""
    common = {
        "PHOTOLOG_REDIS_URL": cluster.url,
        "PHOTOLOG_SECRET": SECRET,
        "PHOTOLOG_S3_ENDPOINT": s3.url,
        "PHOTOLOG_S3_ACCESS_KEY": bucket.access_key,
        "PHOTOLOG_S3_SECRET_KEY": bucket.secret_key,
        "PHOTOLOG_S3_BUCKET": bucket.bucket,
        "PHOTOLOG_RESERVE_BYTES": "0",
        **settings,
    }
    machines = [
        _machine(folder / f"host-{number}", number, port, common, workers)
        for number, port in enumerate(free_ports(HOSTS))
    ]
    return Site(cluster, bucket, machines)


def _machine(folder: Path, number: int, port: int, common: dict[str, str], workers: int) -> Machine:
    data = folder / "data"
    data.mkdir(parents=True)
    own = common | {"PHOTOLOG_DATA": str(data), "PHOTOLOG_PORT": str(port)}

    def role(kind: str, name: str) -> Role:
        return Role(kind, f"{name}-{number}", own, folder / f"{name}.log")

    roles = [role("gateway", "gateway"), role("projector", "projector")]
    roles += [role("worker", f"worker-{each}") for each in range(workers)]
    return Machine(data, f"http://127.0.0.1:{port}", own, roles)


@asynccontextmanager
async def running(built: Site) -> AsyncGenerator[None]:
    """Run all roles while the block runs; both hosts are ready at its start."""
    async with kept(built.roles):
        for machine in built.machines:
            await machine.ready()
        yield
