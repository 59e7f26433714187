"""The worker: claims tasks, refreshes its claims, takes over from dead workers, shuts down cleanly.

A held task is in ``Worker._held`` here, and is a pending entry of its lane in Redis
(``store.queue.lanes``). A task that was taken over or recalled also waits in ``_ready`` until there
is a slot for it. A task is held until the append that records its result; a result that comes too
late is dropped. While Redis is unavailable, the worker keeps its tasks.

Shutdown: ``stop`` ends claiming; running attempts may finish within ``drain_s``; the rest is put
back in its lanes.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial

import anyio
import msgspec

from domain.pipeline.retries import STRATEGIES, Strategies
from domain.pipeline.stages import ERASURE, ROOT
from handlers.decoder.pool import DecoderPool
from handlers.registry import STAGES, Stage
from handlers.worker.attempts import PAUSE_S, Attempts
from handlers.worker.dispatcher import SILENT_CLAIM_PERIODS, Dispatcher
from handlers.worker.hand import Hand
from handlers.worker.observing import RunObserver, subject_of
from handlers.worker.task_source import TaskSource
from store.background import Background
from store.blobs.interface import Blobs
from store.errors import StoreError
from store.log.log import Claim, Log
from store.observing import ignore
from store.queue import liveness
from store.queue.lanes import PROMOTED_AT_ONCE, Claimed, Lanes
from store.queue.recovery import refill

logger = logging.getLogger("photolog.worker")

WAIT_MS = 1_000
LOOK_S = 0.5
"""How often a worker looks for changes that operators made."""

SHORTEST_PAUSE_S = 0.02
HAND_BACK_S = 2.0


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one worker; times in seconds. ``client_concurrency`` bounds the tasks of one client
    among those of ``concurrency``; None sets no such bound."""

    concurrency: int = 3
    client_concurrency: int | None = None
    stalled_after_s: float = 30.0
    max_stalls: int = 1
    stage_timeout_s: float = 60.0
    superseded_grace_s: float = 3600.0
    drain_s: float = 20.0
    patience_s: float = 3600.0


class Worker:
    """Runs tasks until ``stop``.

    ``consumer`` is this process's name in the consumer groups; ``dead`` is the prefix of the names
    of processes that are known to have ended: their tasks are taken over at once and without
    counting as a stall. ``observe`` is called with every run of a stage; ``taken_over`` counts the
    tasks taken over from other workers.
    """

    def __init__(
        self,
        log: Log,
        blobs: Blobs,
        children: DecoderPool,
        *,
        consumer: str,
        dead: str | None = None,
        settings: WorkerSettings | None = None,
        stages: dict[str, Stage] | None = None,
        strategies: Strategies | None = None,
        observe: RunObserver = ignore,
        background: Background | None = None,
    ) -> None:
        self._background = background = background or Background()
        self.taken_over = 0
        self._log = log
        self._settings = settings = settings or WorkerSettings()
        stages = stages or STAGES
        self._dead = dict.fromkeys(range(log.partitions), dead)
        # Photos in progress are finished before new ones begin, while their pictures are decoded.
        order = (*(name for name in reversed(stages) if name != ROOT), ROOT, ERASURE)
        self._lanes = Lanes(log, consumer, order)
        self._hand = Hand(settings.client_concurrency)
        self._source = TaskSource(
            log, self._lanes, self._hand, settings.concurrency, self._take, background
        )
        self._attempts = Attempts(
            log,
            blobs,
            children,
            stages=stages,
            strategies=strategies or STRATEGIES,
            stage_timeout_s=settings.stage_timeout_s,
            max_stalls=settings.max_stalls,
            superseded_grace_s=settings.superseded_grace_s,
            patience_s=settings.patience_s,
            observe=observe,
        )
        self._dispatcher = Dispatcher(
            log,
            consumer=consumer,
            dead=dead,
            stalled_after_s=settings.stalled_after_s,
            background=background,
        )
        self._held: dict[tuple[str, str], tuple[int, Claim]] = {}
        self._redelivered: set[tuple[str, str]] = set()
        self._ready: deque[Claimed] = deque()
        self._wake = anyio.Event()
        self._idle = anyio.Event()
        self._stopping = anyio.Event()

    @property
    def in_hand(self) -> int:
        """The number of tasks that are claimed and not done."""
        return len(self._held)

    def stop(self) -> None:
        """Stop claiming; ``run`` returns once held tasks are done, or after ``drain_s``."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``; put back the tasks that are not done within ``drain_s``."""
        async with anyio.create_task_group() as around:
            around.start_soon(self._dispatcher.run)
            self._source.begin(around)
            controls = partial(
                self._run_periodically, self._follow_controls, "controls could not be read"
            )
            around.start_soon(self._background.keep, "controls", controls)
            for partition in range(self._log.partitions):
                keep = partial(self._keep_claims, partition)
                trouble = f"claims of partition {partition} could not be refreshed"
                for task, work in (
                    ("claim keeper", partial(self._run_periodically, keep, trouble)),
                    ("lane watch", partial(self._watch, partition)),
                    ("timers", partial(self._promote_due, partition)),
                ):
                    part = f"partition {partition}"
                    around.start_soon(partial(self._background.keep, task, work, part=part))
            with anyio.CancelScope() as drain:
                around.start_soon(self._end_drain, drain)
                async with anyio.create_task_group() as tasks:
                    await self._background.keep("claims", partial(self._claim_all, tasks))
            around.cancel_scope.cancel()
        await self._hand_back()

    async def _end_drain(self, drain: anyio.CancelScope) -> None:
        await self._stopping.wait()
        drain.deadline = anyio.current_time() + self._settings.drain_s

    async def _hand_back(self) -> None:
        """Put the tasks that are still held back in their lanes, for others to claim at once."""
        held = list(self._held.values())
        if not held:
            return
        handed = 0

        async def release(partition: int) -> None:
            nonlocal handed
            claims = [claim for of, claim in held if of == partition]
            try:
                handed += await self._lanes.release(claims)
            except StoreError as error:
                logger.warning("tasks not handed back will be taken over later: %s", error)

        with anyio.move_on_after(HAND_BACK_S, shield=True):
            async with anyio.create_task_group() as tasks:
                for partition in {of for of, _ in held}:
                    tasks.start_soon(release, partition)
        logger.warning("stopped with %d tasks unfinished, %d handed back", len(held), handed)

    async def _claim_all(self, tasks: anyio.abc.TaskGroup) -> None:
        while (claimed := await self._next()) is not None:
            name = _name(claimed.claim)
            self._hand.take(name, self._held[name][0], claimed.task)
            tasks.start_soon(self._work, claimed)

    async def _work(self, claimed: Claimed) -> None:
        name = _name(claimed.claim)
        done = False
        try:
            seconds = await self._attempts.run(claimed)
            self._source.settle(name, claimed, seconds)
            done = True
        except Exception as error:  # in one task: the others continue
            self._background.failed("task", error, part=claimed.task.stage)
        finally:
            self._hand.drop(name)
            self._wake.set()
        # A failover may have undone the result of a task that was delivered again meanwhile, so
        # it is put back. If the result is in the log, its entry has left the lane.
        held, again = self._let_go(name)
        if again or not done:
            self._source.put_back(*held)

    async def _next(self) -> Claimed | None:
        """Wait for a task and a slot for it, and return the task; None when stopping."""
        warned = False
        while not self._stopping.is_set():
            wake = self._wake = anyio.Event()
            wait_s = WAIT_MS / 1000
            self._put_back_paused()
            try:
                if allowed := self._source.may_claim():
                    if (claimed := await self._pick(allowed)) is not None:
                        if self._idle.is_set():  # else the watchers wait on this very event
                            self._idle = anyio.Event()
                        return claimed
                    self._idle.set()
                    wait_s = min(wait_s, self._source.wait_s or wait_s)
                warned = False
            except StoreError as error:
                if not warned:
                    logger.warning("waiting for the lanes: %s", error)
                warned = True
                await anyio.sleep(PAUSE_S)
                continue
            with anyio.move_on_after(wait_s):
                await wake.wait()
        return None

    async def _pick(self, allowed: Collection[str]) -> Claimed | None:
        """Return a task of these stages: one that is held and ready, or else a new claim."""
        for each in tuple(self._ready):
            if each.task.stage in allowed:
                self._ready.remove(each)
                return each
        while (found := await self._source.claim(allowed)) is not None:
            if not self._hold(*found):
                continue
            if self._source.is_paused(found[1].task.stage):  # since the claim was sent
                self._put_back(found[1])
                self._wake.set()
                return None
            return found[1]
        return None

    def _put_back_paused(self) -> None:
        """Put tasks back in their lanes that were taken over while their stage is paused."""
        for each in tuple(self._ready):
            if self._source.is_paused(each.task.stage):
                self._ready.remove(each)
                self._put_back(each)

    def _hold(self, partition: int, claimed: Claimed) -> bool:
        """Hold the task; return false if it is held already.

        After a failover that lost the claim, the server delivers a task again to the worker that
        holds it. That renews the claim, so the task continues and must not begin a second time.
        """
        name = _name(claimed.claim)
        if name in self._held:
            self._redelivered.add(name)
            return False
        self._held[name] = partition, claimed.claim
        return True

    def _let_go(self, name: tuple[str, str]) -> tuple[tuple[int, Claim], bool]:
        """Release the task; return it and whether it was delivered again meanwhile."""
        again = name in self._redelivered
        self._redelivered.discard(name)
        return self._held.pop(name), again

    def _take(self, partition: int, claimed: list[Claimed]) -> list[Claimed]:
        """Hold the tasks that are not held yet, make them ready, and wake the claim loop.

        Returns the new ones.
        """
        new = [each for each in claimed if self._hold(partition, each)]
        self._ready.extend(new)
        self._wake.set()
        return new

    def _put_back(self, claimed: Claimed) -> None:
        """Put a task back in its lane, because its stage is paused."""
        held, _ = self._let_go(_name(claimed.claim))
        self._source.put_back(*held)

    async def _watch(self, partition: int) -> None:
        """Wake an idle worker when a task arrives; a busy one claims on its own."""
        while True:
            await self._idle.wait()
            try:
                await self._lanes.wait(partition, block_ms=WAIT_MS)
                self._wake.set()
            except StoreError:
                await anyio.sleep(PAUSE_S)

    async def _promote_due(self, partition: int) -> None:
        """Move delayed tasks to their lanes when they are due."""
        while True:
            try:
                moved, next_s = await self._lanes.promote(partition)
            except StoreError:
                await anyio.sleep(PAUSE_S)
                continue
            if moved:
                self._wake.set()
            if moved < PROMOTED_AT_ONCE:
                await anyio.sleep(max(SHORTEST_PAUSE_S, min(next_s or LOOK_S, LOOK_S)))

    async def _follow_controls(self) -> float:
        if await self._source.follow_controls():
            self._wake.set()
        return LOOK_S

    async def _keep_claims(self, partition: int) -> float:
        """Refresh held claims, take over abandoned ones, and refill lanes that lost tasks."""
        idle_ms = int(self._settings.stalled_after_s * 1000)
        dead = self._dead[partition]
        await self._lanes.prepare(partition)
        if partition == liveness.PARTITION:
            await liveness.report(self._log, self._lanes.consumer)
            await self._source.report_following()
        claims = [claim for of, claim in self._held.values() if of == partition]
        await self._lanes.refresh(claims)
        found = await self._lanes.abandoned(partition, idle_ms=idle_ms, dead=dead)
        taken = self._take(partition, found)
        self.taken_over += len(taken)
        for each in taken:
            logger.info("took over %s", each.task.stage, extra={"subject": subject_of(each.task)})
        await self._lanes.forget_idle(partition, idle_ms=SILENT_CLAIM_PERIODS * idle_ms)
        if partition in self._lanes.lost:
            await self._refill(partition)
        self._dead[partition] = None
        return self._settings.stalled_after_s / 4

    async def _refill(self, partition: int) -> None:
        self._lanes.lost.discard(partition)  # before: more tasks may be lost meanwhile
        try:
            await refill(self._log, partition, self._lanes.stages)
        except BaseException:
            self._lanes.lost.add(partition)
            raise

    async def _run_periodically(self, work: Callable[[], Awaitable[float]], trouble: str) -> None:
        """Repeat the work, pausing for the seconds that it returns; log an outage once."""
        warned = False
        while True:
            try:
                pause_s = await work()
                warned = False
            except StoreError as error:
                if not warned:
                    logger.warning("%s: %s", trouble, error)
                warned, pause_s = True, PAUSE_S
            await anyio.sleep(pause_s)


def _name(claim: Claim) -> tuple[str, str]:
    """Return a unique name: entries of different lanes may have the same id."""
    return claim.lane_key, claim.entry_id
