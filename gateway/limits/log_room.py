"""Room in the log: new work is refused while there is still room for the results of the old.

An append that the server has no memory for fails, be it an upload, the result of a stage or a
deletion. So uploads, and whatever else gives work to the pipeline, are refused before.
"""

from functools import partial

import anyio

from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.queries.cached_probe import CachedProbe
from store.log.log import Log
from store.log.memory import Memory, memory

KEEP_S = 1.0
"""How long the same measurement counts."""

PATIENCE_S = 0.5
"""A server that does not answer by then is not held to be full."""


class LogRoom:
    """Of one gateway."""

    def __init__(self) -> None:
        self._looks: dict[int, CachedProbe[Memory | None]] = {}

    async def of(self, log: Log, partition: int) -> Memory | None:
        """The memory of the partition's server, at most ``KEEP_S`` old; None if not known."""
        look = self._looks.get(partition)
        if look is None:
            look = self._looks[partition] = CachedProbe(partial(memory, log, partition), KEEP_S)
        return await look.get(PATIENCE_S)

    async def fullest(self, log: Log) -> Memory | None:
        """The memory of the server that has least of it left; None if none tells."""
        found: list[Memory] = []

        async def ask(partition: int) -> None:
            if (told := await self.of(log, partition)) is not None:
                found.append(told)

        async with anyio.create_task_group() as tasks:
            for partition in range(log.partitions):
                tasks.start_soon(ask, partition)
        return max(found, key=lambda each: (each.used_percent, each.used_bytes), default=None)

    async def check(self, log: Log, limits: Limits, client_id: str) -> None:
        """Return if the log has room for more work of the client.

        Raises:
            Refused: ``log-full``.
        """
        found = await self.of(log, log.partition_of(client_id))
        if found is not None and is_full(found, limits):
            raise Refused(
                "log-full",
                f"The log has used {found.used_percent:.0f} % of the memory it may use, and takes "
                "no new work.",
            )


def is_full(found: Memory, limits: Limits) -> bool:
    return found.used_percent >= limits.log_full_percent
