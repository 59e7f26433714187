"""Measure the time from the death of a master to the next accepted upload.

The uploading client's partition is on that master. It sends the upload immediately, and again after
each rejection. Uploads wait for the disk of a replica, so each master has two replicas: one is left
after a failover.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable
from typing import Any

import httpx

from ops.bench import report, servers
from ops.bench.latency import photo
from ops.bench.system import System, running
from ops.config.loading import load
from ops.runtime.wiring import open_log
from store.redis.connection import Client

REPLICAS = 2
PATIENCE_S = 60.0
RETRY_S = 0.02
"""Shorter than Retry-After, to measure the system and not the client's pause."""


def run(rounds: int) -> None:
    report.headline("From a master's death to the next accepted upload")
    report.note(
        f"three masters with {REPLICAS} replicas each, cluster-node-timeout "
        f"{servers.NODE_TIMEOUT_MS} ms, PHOTOLOG_APPEND_WAIT_REPLICAS=1"
    )
    promoted: list[float] = []
    accepted: list[float] = []
    with servers.replicated(REPLICAS) as cluster:
        waiting = cluster.environment | {
            "PHOTOLOG_APPEND_WAIT_REPLICAS": "1",
            "PHOTOLOG_LOG_LEVEL": "error",  # each partition logs that it waits
        }
        with running("--workers", "1", **waiting) as system:
            for number in report.rounds(rounds):
                took = asyncio.run(_fail_over(system, cluster, f"failover-{number}"))
                promoted.append(took[0])
                accepted.append(took[1])
    report.line("until a replica has taken its place", promoted, "ms", digits=0)
    report.line("until an upload is accepted", accepted, "ms", digits=0)
    after = [later - earlier for earlier, later in zip(promoted, accepted, strict=True)]
    report.line("the second less the first", after, "ms", digits=0)


async def _fail_over(
    system: System, cluster: servers.Replicated, client_id: str
) -> tuple[float, float]:
    """Kill the client's master, and return the milliseconds until promotion and until acceptance.

    Afterwards the cluster is complete again.
    """
    async with system.client(client_id) as http:
        await _accepted(http)
        key, address = await _home(system, cluster, client_id)
        victim = cluster.at(address)
        witness = next(node for node in cluster.nodes if node is not victim)
        began = time.perf_counter()
        victim.kill()
        promoted, accepted = await asyncio.gather(
            _since(began, _replaced(witness, key, victim)), _since(began, _accepted(http))
        )
    victim.start()
    await cluster.wait_until_complete()
    return promoted, accepted


async def _since(began: float, done: Awaitable[None]) -> float:
    await done
    return 1000 * (time.perf_counter() - began)


async def _accepted(http: httpx.AsyncClient) -> None:
    """Send a photo until it is accepted."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    picture = photo(uuid.uuid4().hex)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await http.post(
                "/api/photos/upload", files={"file": ("a.jpg", picture)}, headers=headers
            )
            if answer.status_code != 503:
                answer.raise_for_status()
                return
            await asyncio.sleep(RETRY_S)


async def _home(system: System, cluster: servers.Replicated, client_id: str) -> tuple[str, str]:
    """Return the stream with the client's events, and the address of its master."""
    settings = load({**cluster.environment, "PHOTOLOG_DATA": str(system.data)}).settings
    async with open_log(settings) as log:
        key = log.keys.log(log.partition_of(client_id))
        await log.redis.exists(key)  # so that the client learns its master
        return key, log.redis.owner(key)


async def _replaced(witness: servers.Node, key: str, victim: servers.Node) -> None:
    """Wait until another node of the cluster knows a new master for the key."""
    async with servers.connected(witness) as client:
        slot = await client.execute_command("CLUSTER KEYSLOT", key)

        async def is_replaced() -> bool:
            return await _owner(client, slot) not in (0, victim.port)

        await servers.eventually(is_replaced, "no replica has taken the master's place")


async def _owner(client: Client, slot: int) -> int:
    """Return the port of the slot's master; 0 if the slot has none."""
    ranges: list[Any] = await client.execute_command("CLUSTER SLOTS")
    return next((master[1] for first, last, master, *_ in ranges if first <= slot <= last), 0)
