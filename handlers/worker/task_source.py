"""Decide which task a worker begins next: what operators allow, and what it has room for.

| bound | limits | set by |
|---|---|---|
| ``concurrency`` | all tasks of a worker except erasures | a setting, or an operator at run time |
| ``client_concurrency`` | one client's share of those, and slow ones: see ``Hand`` | a setting |
| a stage's concurrency | its tasks in each worker | an operator |
| a stage's rate | its tasks in all workers together | an operator |
| paused | a stage, or all | an operator |

Partitions take turns by how much they have been served per waiting client; within a partition,
its clients take turns (``store.queue.turns``). A slow server holds up only its own partitions: a
claim without a reply after ``ANSWER_S`` continues in the background. It is never cancelled, because
its reply may carry a task.

The worker holds the claimed tasks; this module claims them and puts them back.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

import anyio
import anyio.abc

from domain.pipeline.control import Controls
from domain.pipeline.control_events import Rate
from domain.pipeline.stages import ERASURE
from handlers.worker.hand import Hand
from store.background import Background
from store.errors import StoreError, Unavailable
from store.log.control import ControlLog
from store.log.log import Claim, Log
from store.queue import liveness
from store.queue.lanes import Claimed, Lanes
from store.queue.rates import Rates
from store.queue.turns import GRACE_MS

logger = logging.getLogger("photolog.worker")

ERASURES_AT_ONCE = 1
LOOK_S = 0.25
"""How often a worker without room for other tasks looks for an erasure."""

ANSWER_S = 0.5
"""How long to wait for the reply to a claim before asking the next partition."""

LOOK_IN_VAIN_MS = 200
"""The charge for asking a partition without tasks, so that others are asked too."""

PAUSE_S = 0.5
"""The pause before another try with a partition that failed."""

Take = Callable[[int, list[Claimed]], object]


class TaskSource:
    """Claims tasks one at a time, within the bounds.

    ``take`` receives the tasks of a partition that did not come with a ``claim``: those of a late
    reply, and those that this consumer has held all along. It is also called, with an empty list,
    when the partition can be asked again. ``wait_s`` is the time to wait before the next claim if
    only rates held tasks back, else None.
    """

    def __init__(
        self,
        log: Log,
        lanes: Lanes,
        hand: Hand,
        concurrency: int,
        take: Take,
        background: Background | None = None,
    ) -> None:
        self._background = background or Background()
        self._log = log
        self._lanes = lanes
        self._hand = hand
        self._control_log = ControlLog(log)
        self._rates = Rates(log)
        self._concurrency = concurrency
        self._take = take
        self._served = dict.fromkeys(range(log.partitions), 0.0)
        self._now = 0.0
        self._look_at = 0.0
        self._controls = Controls()
        self._version = 0
        self._reported: int | None = None
        self._away = set(range(log.partitions))
        self._late: dict[int, str] = {}
        self.wait_s: float | None = None

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start using each partition as soon as it answers; ``tasks`` runs the background work."""
        self._tasks = tasks
        for partition in self._away:
            self._keep("claims", partial(self._rejoin_partition, partition), partition)

    def is_silent(self, partition: int) -> bool:
        """Return whether the partition has not answered yet, failed last, or its server is late."""
        if partition in self._away or partition in self._late:
            return True
        return bool(self._late) and self._log.owner(partition) in self._late.values()

    async def follow_controls(self) -> bool:
        """Load the operators' current settings; return whether they have changed."""
        before, steered = self._controls, await self._control_log.load()
        self._controls, self._version = steered.controls, steered.version
        if self._version != self._reported:
            await self.report_following()
        return before != self._controls

    async def report_following(self) -> None:
        """Report which controls are in force here, for those who wait until a stage is idle."""
        version = self._version
        await liveness.report_following(
            self._log, self._lanes.consumer, version, before=self._reported
        )
        self._reported = version

    def is_paused(self, stage: str) -> bool:
        return self._controls.is_paused(stage)

    def may_claim(self) -> tuple[str, ...]:
        """Return the stages that have room for another task.

        Erasures have a slot of their own, because only they free a full disk that all others wait
        for. Tasks of silent partitions take no slot, because they wait for the server.
        """
        in_hand = self._hand.stages()
        busy = Counter(stage for _, stage in in_hand)
        going_on = Counter(stage for of, stage in in_hand if not self.is_silent(of))
        erasing = going_on[ERASURE]
        full = going_on.total() - erasing >= (self._controls.concurrency or self._concurrency)
        erases = erasing < ERASURES_AT_ONCE and (not full or anyio.current_time() >= self._look_at)
        return tuple(
            stage
            for stage in self._lanes.stages
            if self._allows(stage, busy[stage]) and (erases if stage == ERASURE else not full)
        )

    async def claim(self, allowed: Collection[str]) -> tuple[int, Claimed] | None:
        """Claim a waiting task of these stages; return it with its partition, or None."""
        if all(map(self.is_silent, range(self._log.partitions))):
            return None
        tokens = await self._tokens(allowed)
        try:
            found = await self._claim([stage for stage in allowed if stage in tokens])
        except BaseException:
            await self._give_back(tokens)
            raise
        if found is not None:
            tokens.pop(found[1].task.stage, None)
        elif tuple(allowed) == (ERASURE,):
            self._look_at = anyio.current_time() + LOOK_S
        await self._give_back(tokens)
        return found

    def put_back(self, partition: int, claim: Claim) -> None:
        """Put a task back in its lane, in the background; if that fails, it is taken again."""
        self._keep("release", partial(self._put_back, partition, claim), partition)

    def _allows(self, stage: str, busy: int) -> bool:
        most = self._controls.limit(stage).concurrency
        return not self._controls.is_paused(stage) and (most is None or busy < most)

    async def _tokens(self, stages: Collection[str]) -> dict[str, Rate | None]:
        """Take a token for each stage; return the stages that got one, each with its rate."""
        self.wait_s = None
        tokens: dict[str, Rate | None] = {}
        for stage in stages:
            rate = self._controls.limit(stage).rate
            wait_s = 0.0 if rate is None else await self._take_token(stage, rate)
            if wait_s == 0:
                tokens[stage] = rate
            else:
                self.wait_s = min(wait_s, self.wait_s or wait_s)
        return tokens

    async def _take_token(self, stage: str, rate: Rate) -> float:
        """Take a token; return 0 or the seconds to wait. A silent server delays only this stage."""
        with anyio.move_on_after(ANSWER_S), suppress(Unavailable):
            return await self._rates.take(stage, rate)
        return PAUSE_S

    def settle(self, name: tuple[str, str], claimed: Claimed, seconds: float) -> None:
        """Charge the client and the partition of a finished task for its decoder time."""
        partition = self._log.partition_of(claimed.task.client_id)
        self._served[partition] += self._hand.settle(name, seconds) / claimed.clients

    async def _claim(self, stages: list[str]) -> tuple[int, Claimed] | None:
        """Claim from the partition that has been served least and has a task."""
        for partition in sorted(self._served, key=self._served.__getitem__):
            if self.is_silent(partition):
                continue
            claimed = await self._claim_of(partition, stages)
            # A partition that was idle for a while has no credit.
            served = max(self._served[partition], self._now - GRACE_MS)
            if not claimed:
                self._served[partition] = max(served, self._now) + LOOK_IN_VAIN_MS
                continue
            (found,) = claimed
            self._now = max(self._now, served)
            self._served[partition] = served + found.task.charge_ms / found.clients
            return partition, found
        return None

    async def _claim_of(self, partition: int, stages: list[str]) -> list[Claimed]:
        """Claim a task of the partition; return none if it has none or its reply is late."""
        claimed: list[Claimed] = []
        answered = anyio.Event()
        request = self._hand.request(partition, stages)

        async def ask() -> None:
            try:
                claimed.extend(await self._lanes.claim(partition, 1, request))
            except StoreError as error:
                logger.warning("partition %d is waiting: %s", partition, error)
                self._miss(partition)
            answered.set()
            if self._late.pop(partition, None) is not None:
                self._take(partition, claimed)

        self._keep("claims", ask, partition)
        try:
            with anyio.move_on_after(ANSWER_S):
                await answered.wait()
        finally:
            if not answered.is_set():
                self._late[partition] = self._log.owner(partition)
        return claimed if answered.is_set() else []

    def _keep(self, name: str, work: Callable[[], Awaitable[None]], partition: int) -> None:
        part = f"partition {partition}"
        self._tasks.start_soon(partial(self._background.keep, name, work, part=part))

    async def _put_back(self, partition: int, claim: Claim) -> None:
        try:
            await self._lanes.release([claim])
        except StoreError as error:
            logger.warning("a task of partition %d could not be put back: %s", partition, error)
            self._miss(partition)

    def _miss(self, partition: int) -> None:
        """Leave the partition out until it answers and tasks of a lost reply are recalled."""
        if partition not in self._away:
            self._away.add(partition)
            self._keep("claims", partial(self._rejoin_partition, partition, PAUSE_S), partition)

    async def _rejoin_partition(self, partition: int, pause_s: float = 0.0) -> None:
        """Use the partition again once it answers; if all were away, load the controls first."""
        warned = False
        while partition in self._away:
            await anyio.sleep(pause_s)
            try:
                if len(self._away) == self._log.partitions:
                    await self.follow_controls()
                await self._lanes.prepare(partition)
                # A lost reply may have delivered tasks to this consumer, and to no other.
                held = await self._lanes.recall(partition)
            except StoreError as error:
                if not warned:
                    logger.warning("waiting for the lanes of partition %d: %s", partition, error)
                warned, pause_s = True, PAUSE_S
            else:
                self._away.discard(partition)
                self._take(partition, held)

    async def _give_back(self, tokens: dict[str, Rate | None]) -> None:
        for stage, rate in tokens.items():
            if rate is not None:
                with anyio.move_on_after(ANSWER_S), suppress(Unavailable):
                    await self._rates.give_back(stage, rate)
