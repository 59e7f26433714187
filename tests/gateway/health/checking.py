"""Shared by tests of health: limits that any machine meets, a worker, and the checks' statuses."""

from domain.pipeline.stages import ERASURE, TREE
from gateway.http.limits import Limits
from store.log.log import Log
from store.queue import liveness
from store.queue.lanes import Lanes
from tests.gateway.conftest import DEADLINE_S, Gateway

EASY = Limits(
    append_patience_s=1.0,
    check_timeout_s=DEADLINE_S,
    degraded_load=1e6,
    degraded_memory_percent=100,
    min_free_bytes=0,
)
"""Limits under which no machine is too busy for the tests."""


async def employ(log: Log, consumer: str = "one") -> None:
    """Report a worker that does nothing else."""
    await Lanes(log, consumer, (*TREE, ERASURE)).prepare(0)
    await liveness.report(log, consumer)


async def statuses(gateway: Gateway, path: str = "/health") -> tuple[int, str, dict[str, str]]:
    answer = await gateway.client.get(path)
    health = answer.json()
    checks = {name: check["status"] for name, check in health["checks"].items()}
    return answer.status_code, health["status"], checks
