"""The dispatcher: reads each event once, in the consumer group ``dispatch``, and plans its tasks.

Each worker runs one. The append of a result dispatches its own events (``store.queue.follow_ups``);
all others, as those of gateways, are planned here. Their tasks go to their lanes in the step that
acknowledges the event, so a dispatcher that dies loses none: another takes its events over.
"""

import logging
import time
from functools import partial

import anyio

from domain.photo.plan import plan
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.log.recorded import Recorded
from store.outage import Outage
from store.queue.dispatch import Dispatch, Planned
from store.redis.connection import BLOCK_MS

logger = logging.getLogger("photolog.dispatcher")

BATCH = 200
SILENT_CLAIM_PERIODS = 20
"""After this many stall times of silence, a consumer that holds nothing is removed."""

GATHER_S = 0.005
"""The pause after a batch, in which further events gather: under load, fewer steps plan them."""

IDLE_MS = 250
"""How long events that lead to no task wait, to be acknowledged together with others."""


class Dispatcher:
    """One of any number of dispatchers; each takes over the events that a dead one left."""

    def __init__(
        self,
        log: Log,
        *,
        consumer: str,
        dead: str | None,
        stalled_after_s: float,
        background: Background | None = None,
    ) -> None:
        self._background = background or Background()
        self._partitions = range(log.partitions)
        self._dispatch = Dispatch(log, consumer)
        self._dead = dead
        self._stalled_after_s = stalled_after_s

    async def run(self) -> None:
        """Dispatch until cancelled. Another dispatcher takes over an interrupted batch."""
        async with anyio.create_task_group() as tasks:
            for partition in self._partitions:
                keep = partial(
                    self._background.keep,
                    "dispatcher",
                    partial(self._run, partition),
                    part=f"partition {partition}",
                )
                tasks.start_soon(keep)

    async def _run(self, partition: int) -> None:
        undone: list[Planned] = []
        look_at, in_step = 0.0, False
        outage = Outage(logger, f"the dispatcher of partition {partition} is waiting")
        while True:
            try:
                if not in_step:
                    await self._dispatch.prepare(partition)
                    # A lost reply may have delivered events to this consumer, and to no other.
                    undone = _planned(await self._dispatch.recall(partition))
                    in_step = not undone
                if not undone and time.monotonic() >= look_at:
                    left = await self._dispatch.abandoned(
                        partition, idle_ms=int(self._stalled_after_s * 1000), dead=self._dead
                    )
                    undone = _planned(left)
                    await self._dispatch.forget_idle(
                        partition, idle_ms=int(SILENT_CLAIM_PERIODS * self._stalled_after_s * 1000)
                    )
                    look_at = time.monotonic() + self._stalled_after_s / 2
                if not undone:
                    undone = await self._read(partition)
                await self._dispatch.commit(undone)
                outage.over()
                if undone:
                    undone = []
                    await anyio.sleep(GATHER_S)
            except StoreError as error:
                in_step = False
                await outage.wait(error)

    async def _read(self, partition: int) -> list[Planned]:
        """Read the next events; return once one of them leads to a task, or the batch is full."""
        planned: list[Planned] = []
        block_ms = BLOCK_MS
        while len(planned) < BATCH:
            events = await self._dispatch.read(partition, count=BATCH, block_ms=block_ms)
            more = _planned(events)
            planned += more
            if not more or any(tasks for _, tasks in more):
                break
            block_ms = IDLE_MS
        return planned


def _planned(events: list[Recorded]) -> list[Planned]:
    return [(each.position, plan(each.event, str(each.position))) for each in events]
