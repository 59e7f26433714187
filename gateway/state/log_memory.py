"""Reject commands while the log's server still has memory for the results of accepted work.

When the server has no memory left, appends fail: uploads and results of stages alike. Therefore
every command that makes the log grow is rejected earlier, except those that end access or work.
Revocations and deletions are appended even if no memory is left, see ``store.log.append``.
"""

from functools import partial

import anyio

from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.state.cached_probe import CachedProbe
from store.log.control import PARTITION as CONTROLS
from store.log.log import Log
from store.log.memory import Memory, memory

KEEP_S = 1.0
"""How long to reuse a measurement."""

PATIENCE_S = 0.5
"""How long to wait for a server; one that does not answer does not count as full."""


class LogMemory:
    """The memory of the log's servers, as one gateway measures it."""

    def __init__(self) -> None:
        self._looks: dict[int, CachedProbe[Memory | None]] = {}

    async def of(self, log: Log, partition: int) -> Memory | None:
        """Return the memory of the partition's server, at most ``KEEP_S`` old; None if unknown."""
        look = self._looks.get(partition)
        if look is None:
            look = self._looks[partition] = CachedProbe(partial(memory, log, partition), KEEP_S)
        return await look.get(PATIENCE_S)

    async def fullest(self, log: Log) -> Memory | None:
        """Return the memory of the fullest server; None if no server answers."""
        found: list[Memory] = []

        async def ask(partition: int) -> None:
            if (measured := await self.of(log, partition)) is not None:
                found.append(measured)

        async with anyio.create_task_group() as tasks:
            for partition in range(log.partitions):
                tasks.start_soon(ask, partition)
        return max(found, key=lambda each: (each.used_percent, each.used_bytes), default=None)

    async def check(self, log: Log, limits: Limits, client_id: str | None = None) -> None:
        """Return if the log has memory for a command of the client, or about the system.

        Raises:
            Refused: ``log-full``.
        """
        partition = CONTROLS if client_id is None else log.partition_of(client_id)
        found = await self.of(log, partition)
        if found is not None and is_full(found, limits):
            raise Refused(
                "log-full",
                f"The log uses {found.used_percent:.0f} % of its Redis memory limit and accepts "
                "only what ends work or access, such as deletions.",
            )


def is_full(found: Memory, limits: Limits) -> bool:
    return found.used_percent >= limits.log_full_percent
