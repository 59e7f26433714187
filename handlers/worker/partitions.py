"""Claim tasks of the log's partitions, and put them back.

Partitions take turns by how much they have been served per waiting client; within a partition,
its clients take turns (``store.queue.turns``). A slow server holds up only its own partitions: a
claim without a reply after ``ANSWER_S`` continues in the background. It is never cancelled, because
its reply may carry a task: the task is then ready among the held ones.

A partition that failed is left out until it answers and this consumer's tasks are recalled: a lost
reply may have delivered tasks to it, and to no other.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.abc

from handlers.worker.held_tasks import HeldTask, HeldTasks
from handlers.worker.stage_limits import StageLimits
from handlers.worker.wakeup import Wakeup
from store.background import Background
from store.errors import StoreError
from store.log.log import Log
from store.outage import PAUSE_S, Outage
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import GRACE_MS

logger = logging.getLogger("photolog.worker")

ANSWER_S = 0.5
"""How long to wait for the reply to a claim before asking the next partition."""

LOOK_IN_VAIN_MS = 200
"""The charge for asking a partition without tasks, so that others are asked too."""


class Partitions:
    """The partitions of one log, as one worker claims from them.

    Tasks that do not come with a ``claim`` become ready in ``held``: those of a late reply, and
    those that this consumer has held all along. ``wakeup`` is set then, and when a partition can be
    asked again.
    """

    def __init__(
        self,
        log: Log,
        lanes: Lanes,
        held: HeldTasks,
        limits: StageLimits,
        wakeup: Wakeup,
        background: Background,
    ) -> None:
        self._log = log
        self._lanes = lanes
        self._held = held
        self._limits = limits
        self._wakeup = wakeup
        self._background = background
        self._served = dict.fromkeys(range(log.partitions), 0.0)
        self._now = 0.0
        self._away = set(range(log.partitions))
        self._late: dict[int, str] = {}
        self._looking: dict[int, bool] = {}

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start using each partition as soon as it answers; ``tasks`` runs the background work."""
        self._tasks = tasks
        for partition in self._away:
            self._keep("claims", partial(self._rejoin, partition, _outage(partition)), partition)

    def is_silent(self, partition: int) -> bool:
        """Return whether the partition has not answered yet, failed last, or its server is late."""
        if partition in self._away or partition in self._late:
            return True
        return bool(self._late) and self._log.owner(partition) in self._late.values()

    def are_all_silent(self) -> bool:
        return all(map(self.is_silent, range(self._log.partitions)))

    async def claim(
        self, most_of: Mapping[str, int], free: int, above: str | None = None
    ) -> list[tuple[int, Claimed]]:
        """Claim from the partition that has been served least and has a task; return it with each.

        At most ``free`` tasks, and ``most_of`` of each stage; ``above`` as in ClaimRequest.
        """
        for partition in sorted(self._served, key=self._served.__getitem__):
            if self.is_silent(partition):
                continue
            claimed = await self._claim_of(partition, most_of, free, above)
            if not claimed and above is not None:
                continue
            # A partition that was idle for a while has no credit.
            served = max(self._served[partition], self._now - GRACE_MS)
            if not claimed:
                self._served[partition] = max(served, self._now) + LOOK_IN_VAIN_MS
                continue
            self._now = max(self._now, served)
            charge_ms = sum(each.task.charge_ms / each.clients for each in claimed)
            self._served[partition] = served + charge_ms
            return [(partition, each) for each in claimed]
        return []

    def charge(self, held: HeldTask, ms: int) -> None:
        """Charge the partition of a finished task for the decoder time beyond its expected cost."""
        self._served[held.partition] += ms / held.claimed.clients

    def hold(self, partition: int, claimed: list[Claimed]) -> list[HeldTask]:
        """Make the tasks ready that are not held yet, and return them."""
        new = [held for each in claimed if (held := self._held.hold(partition, each)) is not None]
        for each in new:
            each.begun = False
        self._wakeup.set()
        return new

    def keep(self, partition: int, claimed: Sequence[Claimed]) -> None:
        """Make tasks ready that no claim has charged for: they follow one of this worker."""
        for each in claimed:
            if self._held.keep(partition, each):
                self._served[partition] += each.task.charge_ms / each.clients

    def look_again(self, partition: int) -> None:
        """Look for tasks that this consumer holds and does not know of, in the background.

        If it is looking already, it looks once more afterwards.
        """
        is_looking = partition in self._looking
        self._looking[partition] = True
        if not is_looking:
            self._keep("claims", partial(self._look_again, partition), partition)

    def put_back(self, held: HeldTask) -> None:
        """Put a task back in its lane, in the background; if that fails, it is taken again.

        Its client gets back what it has paid, because it pays again when the task is claimed.
        """
        self._held.release(held)
        self._owe(held, -held.task.charge_ms)
        self._keep("release", partial(self._put_back, held), held.partition)

    def _owe(self, held: HeldTask, ms: int) -> None:
        self._held.owe(held, ms)
        self.charge(held, ms)

    async def _claim_of(
        self, partition: int, most_of: Mapping[str, int], free: int, above: str | None
    ) -> list[Claimed]:
        """Claim tasks of the partition; return none if it has none or its reply is late."""
        claimed: list[Claimed] = []
        answered = anyio.Event()
        count, request = self._held.at_once(free), self._held.request(partition, most_of, above)

        async def ask() -> None:
            try:
                claimed.extend(await self._lanes.claim(partition, count, request))
            except StoreError as error:
                self._miss(partition, error)
            answered.set()
            if self._late.pop(partition, None) is not None:
                self.hold(partition, claimed)

        self._keep("claims", ask, partition)
        try:
            with anyio.move_on_after(ANSWER_S):
                await answered.wait()
        finally:
            if not answered.is_set():
                self._late[partition] = self._log.owner(partition)
        return claimed if answered.is_set() else []

    async def _look_again(self, partition: int) -> None:
        try:
            while self._looking[partition]:
                self._looking[partition] = False
                recall = self._lanes.recall(partition)
                self.hold(partition, await self._held.still_held(recall))
        except StoreError as error:
            self._miss(partition, error)
        finally:
            del self._looking[partition]

    async def _put_back(self, held: HeldTask) -> None:
        try:
            if await self._lanes.release([held.claimed.claim]) == 0:
                self._owe(held, held.task.charge_ms)
        except StoreError as error:
            logger.warning(
                "a task of partition %d could not be put back: %s", held.partition, error
            )
            self._miss(held.partition, error)

    def _miss(self, partition: int, error: StoreError) -> None:
        """Leave the partition out until it answers and tasks of a lost reply are recalled."""
        if partition not in self._away:
            self._away.add(partition)
            outage = _outage(partition)
            outage.note(error)
            self._keep("claims", partial(self._rejoin, partition, outage, PAUSE_S), partition)

    async def _rejoin(self, partition: int, outage: Outage, pause_s: float = 0.0) -> None:
        """Use the partition again once it answers; if all were away, load the limits first."""
        await anyio.sleep(pause_s)
        while partition in self._away:
            try:
                if len(self._away) == self._log.partitions:
                    await self._limits.load()
                await self._lanes.prepare(partition)
                recalled = await self._held.still_held(self._lanes.recall(partition))
            except StoreError as error:
                await outage.wait(error)
            else:
                self._away.discard(partition)
                self.hold(partition, recalled)

    def _keep(self, name: str, work: Callable[[], Awaitable[None]], partition: int) -> None:
        part = f"partition {partition}"
        self._tasks.start_soon(partial(self._background.keep, name, work, part=part))


def _outage(partition: int) -> Outage:
    return Outage(logger, f"partition {partition} is waiting")
