"""Which tasks a worker may begin: what operators allow, and what it can take on.

| bound | of | who sets it |
|---|---|---|
| ``concurrency`` | all tasks of a worker but erasures | a setting, or an operator while it runs |
| a stage's concurrency | its tasks in each worker | an operator |
| a stage's rate | its tasks over all workers | an operator |
| paused | a stage, or all | an operator |
"""

import logging
from collections import Counter
from collections.abc import Collection

import anyio

from domain.control_events import Rate
from domain.controls import Controls
from domain.pipeline import ERASURE
from store.controls import ControlLog
from store.errors import Unavailable
from store.lanes import Claimed, Lanes
from store.log import Log
from store.rates import Rates

logger = logging.getLogger("photolog.worker")

ERASURES_AT_ONCE = 1
LOOK_S = 0.25
"""How often a worker that has no room for anything else looks for an erasure."""


class Supply:
    """Claims tasks one at a time, as far as they are allowed.

    ``wait_s`` is how long to wait before the next look, if only a rate kept a task back. ``away``
    are the partitions that have not answered yet, or not the last time: they are left out.
    """

    def __init__(self, log: Log, lanes: Lanes, concurrency: int) -> None:
        self._lanes = lanes
        self._control_log = ControlLog(log)
        self._rates = Rates(log)
        self._concurrency = concurrency
        self._partitions = log.partitions
        self._turn = 0
        self._look_at = 0.0
        self._controls = Controls()
        self.wait_s: float | None = None
        self.away = set(range(log.partitions))

    async def follow_controls(self) -> bool:
        """Look what operators say now; whether it has changed."""
        before, self._controls = self._controls, (await self._control_log.load()).controls
        return before != self._controls

    def is_paused(self, stage: str) -> bool:
        return self._controls.is_paused(stage)

    def may_claim(self, in_hand: Collection[str]) -> tuple[str, ...]:
        """The stages of which a worker with these tasks in hand may begin another.

        Erasures have room of their own: only they free a full disk that all others wait for.
        """
        busy = Counter(in_hand)
        erasing = busy[ERASURE]
        full = busy.total() - erasing >= (self._controls.concurrency or self._concurrency)
        erases = erasing < ERASURES_AT_ONCE and (not full or anyio.current_time() >= self._look_at)
        return tuple(
            stage
            for stage in self._lanes.stages
            if self._allows(stage, busy[stage]) and (erases if stage == ERASURE else not full)
        )

    async def claim(self, allowed: Collection[str]) -> tuple[int, Claimed] | None:
        """A task of the stages with its partition, if one waits."""
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

    def _allows(self, stage: str, busy: int) -> bool:
        most = self._controls.limit(stage).concurrency
        return not self._controls.is_paused(stage) and (most is None or busy < most)

    async def _tokens(self, stages: Collection[str]) -> dict[str, Rate | None]:
        """The stages that may begin one more task now, each with the rate it was taken from."""
        self.wait_s = None
        tokens: dict[str, Rate | None] = {}
        for stage in stages:
            rate = self._controls.limit(stage).rate
            wait_s = 0.0 if rate is None else await self._rates.take(stage, rate)
            if wait_s == 0:
                tokens[stage] = rate
            else:
                self.wait_s = min(wait_s, self.wait_s or wait_s)
        return tokens

    async def _claim(self, stages: list[str]) -> tuple[int, Claimed] | None:
        """From the partitions in turn, so that none waits for another to be empty."""
        for step in range(self._partitions):
            partition = (self._turn + step) % self._partitions
            if partition in self.away:
                continue
            try:
                claimed = await self._lanes.claim(partition, 1, stages=stages)
            except Unavailable as error:
                logger.warning("partition %d waits: %s", partition, error)
                self.away.add(partition)
                continue
            if claimed:
                self._turn = partition + 1
                return partition, claimed[0]
        return None

    async def _give_back(self, tokens: dict[str, Rate | None]) -> None:
        for stage, rate in tokens.items():
            if rate is not None:
                await self._rates.give_back(stage, rate)
