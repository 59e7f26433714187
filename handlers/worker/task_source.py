"""The owner of a worker's tasks: it takes, holds, extends and gives back what the worker runs.

| bound | limits | set by |
|---|---|---|
| ``concurrency`` | all running tasks of a worker except erasures | a setting, or an operator |
| ``client_concurrency`` | one client's share of those, and slow ones | a setting |
| a stage's concurrency | its tasks in each worker | an operator |
| a stage's rate | its tasks in all workers together | an operator |
| paused | a stage, or all | an operator |
| no decoder | all except erasures | what this machine lacks |

A held task is in ``HeldTasks``, and is a pending entry of its lane in Redis: ``store.queue.lanes``.
Its claim is refreshed until the append that records its result; a result that comes too late is
dropped. While Redis is unavailable, tasks stay held. Tasks of workers that are gone are taken over.
"""

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
import anyio.abc

from domain.pipeline.stages import ERASURE, LANES, Task
from handlers.worker.attempts import Done
from handlers.worker.dispatcher import SILENT_CLAIM_PERIODS
from handlers.worker.held_tasks import HeldTask, HeldTasks
from handlers.worker.observing import subject_of
from handlers.worker.partitions import Partitions
from handlers.worker.stage_limits import StageLimits
from handlers.worker.wakeup import Wakeup
from store.background import Background
from store.errors import StoreError
from store.log.log import Claim, Log
from store.outage import PAUSE_S, Outage
from store.queue import liveness
from store.queue.lanes import PROMOTED_AT_ONCE, Claimed, Lanes
from store.queue.recovery import Recovery

logger = logging.getLogger("photolog.worker")

ERASURES_AT_ONCE = 1
ERASURE_LOOK_S = 0.25
"""How often a worker without room for other tasks looks for an erasure."""

WAIT_MS = 1_000
LOOK_S = 0.5
"""How often a worker looks for changes that operators made."""

URGENT_LOOK_S = 0.1
"""How often a worker that has ready tasks looks for more urgent ones."""

SHORTEST_PAUSE_S = 0.02
HAND_BACK_S = 2.0


class TaskSource:
    """Hands out tasks one at a time, within the bounds; every task comes back by one call.

    The worker ends each task that it got from ``next`` by ``finish`` or ``give_back``; what it has
    not ended, ``hand_back`` puts back. ``taken_over`` counts tasks taken over from other workers.
    """

    def __init__(
        self,
        log: Log,
        lanes: Lanes,
        *,
        concurrency: int,
        client_concurrency: int | None,
        stalled_after_s: float,
        dead: str | None,
        can_decode: Callable[[], bool],
        background: Background,
    ) -> None:
        self.taken_over = 0
        self._can_decode = can_decode
        self._background = background
        self._log = log
        self._lanes = lanes
        self._concurrency = concurrency
        self._stalled_after_s = stalled_after_s
        self._dead = dict.fromkeys(range(log.partitions), dead)
        self._recovery = Recovery(log, lanes.stages, stalled_after_s)
        self._held = HeldTasks(client_concurrency)
        self._limits = StageLimits(log)
        self._wakeup = Wakeup()
        self._partitions = Partitions(
            log, lanes, self._held, self._limits, self._wakeup, background
        )
        self._granted: deque[HeldTask] = deque()
        self._reported: int | None = None
        self._running: frozenset[str] = frozenset()
        self._report_again_at = 0.0
        self._erasure_look_at = 0.0
        self._urgent_look_at = 0.0
        self._idle = anyio.Event()
        self._stopping = anyio.Event()

    @property
    def in_hand(self) -> int:
        """The number of tasks that are claimed and not done."""
        return len(self._held)

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start to claim, refresh and take over; ``tasks`` runs this work in the background."""
        self._partitions.begin(tasks)
        controls = partial(
            self._run_periodically, self._follow, Outage(logger, "controls could not be read")
        )
        tasks.start_soon(self._background.keep, "controls", controls)
        for partition in range(self._log.partitions):
            keep = partial(self._keep_claims, partition)
            outage = Outage(logger, f"claims of partition {partition} could not be refreshed")
            for name, work in (
                ("claim keeper", partial(self._run_periodically, keep, outage)),
                ("lane watch", partial(self._watch, partition)),
                ("timers", partial(self._promote_due, partition)),
            ):
                part = f"partition {partition}"
                tasks.start_soon(partial(self._background.keep, name, work, part=part))

    def stop(self) -> None:
        """Hand out no more tasks."""
        self._stopping.set()
        self._wakeup.set()

    async def stopped(self) -> None:
        """Return once ``stop`` was called."""
        await self._stopping.wait()

    async def next(self) -> HeldTask | None:
        """Wait for a task and a slot for it, and return the task; None when stopping."""
        outage = Outage(logger, "waiting for the lanes")
        while not self._stopping.is_set():
            if self._granted:
                return self._start(self._granted.popleft())
            woken = self._wakeup.renew()
            wait_s = WAIT_MS / 1000
            self._put_back_waiting()
            try:
                free, allowed = self._may_start()
                if allowed:
                    if (held := await self._pick(allowed)) is not None:
                        return self._start(held)
                    wait_s = min(wait_s, self._limits.wait_s or wait_s)
                if free > 0:
                    self._idle.set()
                else:  # no task of the lanes is of use now, except an erasure
                    wait_s = min(wait_s, ERASURE_LOOK_S)
                outage.over()
            except StoreError as error:
                await outage.wait(error)
                continue
            with anyio.move_on_after(wait_s):
                await woken.wait()
        return None

    def _start(self, held: HeldTask) -> HeldTask:
        self._held.start(held)
        if self._idle.is_set():  # else the watchers wait on this very event
            self._idle = anyio.Event()
        return held

    def may_keep(self, task: Task) -> bool:
        """Return whether this worker may hold a task that follows one of its own, as ready.

        Tasks of a stage that operators limit go through the lanes.
        """
        return (
            not self._stopping.is_set()
            and task.stage in self._lanes.stages
            and self._limits.is_free(task.stage)
            and self._is_possible(task.stage)
            and self._held.may_keep(task)
        )

    def finish(self, held: HeldTask, done: Done) -> None:
        """End a task that was acknowledged or taken over, and charge its decoder time."""
        self._partitions.charge(held, self._held.settle(held, done.decoder_s))
        self._held.release(held)
        self._partitions.keep(held.partition, done.follow_ups)
        if done.lost:
            self._partitions.look_again(held.partition)
        # A failover may have undone the result of a task that was delivered again meanwhile, so
        # it is put back. If the result is in the log, its entry has left the lane.
        if held.redelivered:
            self._partitions.put_back(held)
        self._wakeup.set()

    def give_back(self, held: HeldTask) -> None:
        """End a task without a result: put it back in its lane, in the background."""
        self._partitions.put_back(held)
        self._wakeup.set()

    async def hand_back(self) -> None:
        """Put the tasks that are still held back in their lanes, for others to claim at once."""
        if self._held:
            handed = await self._release(self._held.claims())
            count = len(self._held)
            logger.warning("stopped with %d tasks unfinished, %d handed back", count, handed)

    async def hand_back_ready(self) -> None:
        """Put the tasks back that have not begun, which a stopping worker does not run."""
        ready = self._held.ready()
        for held in ready:
            self._held.release(held)
        await self._release(self._held.claims(ready))

    async def _release(self, claims: Mapping[int, list[Claim]]) -> int:
        """Release claims of several partitions; return how many were still held."""
        handed = 0

        async def release(of_one: list[Claim]) -> None:
            nonlocal handed
            try:
                handed += await self._lanes.release(of_one)
            except StoreError as error:
                logger.warning("tasks not handed back will be taken over later: %s", error)

        with anyio.move_on_after(HAND_BACK_S, shield=True):
            async with anyio.create_task_group() as tasks:
                for of_one in claims.values():
                    tasks.start_soon(release, of_one)
        return handed

    def _may_start(self) -> tuple[int, dict[str, int]]:
        """Return the number of free slots, and how many more tasks may start of each stage.

        Erasures have a slot of their own, because only they free a full disk that all others wait
        for. Tasks of silent partitions take no slot, because they wait for the server.
        """
        running = self._held.running()
        busy = Counter(each.task.stage for each in running)
        going_on = Counter(
            each.task.stage for each in running if not self._partitions.is_silent(each.partition)
        )
        erasing = going_on[ERASURE]
        free = (self._limits.concurrency or self._concurrency) - going_on.total() + erasing
        is_due = free > 0 or anyio.current_time() >= self._erasure_look_at
        slots = {ERASURE: ERASURES_AT_ONCE - erasing if is_due else 0}
        found: dict[str, int] = {}
        for stage in self._lanes.stages:
            left, slots_left = self._limits.left(stage, busy[stage]), slots.get(stage, free)
            left = slots_left if left is None else min(left, slots_left)
            if left > 0 and self._is_possible(stage):
                found[stage] = left
        return free, found

    async def _pick(self, allowed: Mapping[str, int]) -> HeldTask | None:
        """Return a task of these stages: one that is held and ready, or else of a new claim."""
        ready, above = self._held.next_ready(allowed, self._partitions.is_silent), None
        if ready is not None:
            above = self._held.ready_class()
            if above == LANES[0] or anyio.current_time() < self._urgent_look_at:
                return ready
        while found := await self._claim(allowed, above):
            new = [held for each in found if (held := self._held.hold(*each)) is not None]
            # Paused since the claim was sent.
            paused = [held for held in new if self._limits.is_paused(held.task.stage)]
            for held in paused:
                self.give_back(held)
            if new:
                # The claim was within all bounds, so the others start without another look.
                self._granted.extend(held for held in new if held not in paused)
                return self._granted.popleft() if self._granted else None
        return ready

    def _put_back_waiting(self) -> None:
        """Put ready tasks back whose stage may not run here, or that others could run sooner.

        A kept task is put back when its stage is limited: it takes a token with its claim.
        """
        for each in self._held.ready():
            stage = each.task.stage
            may_run = self._is_possible(stage) and not self._limits.is_paused(stage)
            if not may_run or (each.kept and not self._limits.is_free(stage)):
                self._partitions.put_back(each)
        for each in self._held.held_up():
            self._partitions.put_back(each)

    def _is_possible(self, stage: str) -> bool:
        return stage == ERASURE or self._can_decode()

    async def _claim(
        self, allowed: Mapping[str, int], above: str | None
    ) -> list[tuple[int, Claimed]]:
        """Claim waiting tasks, up to so many of each stage; return them with their partition.

        With ``above``, only tasks of more urgent classes.
        """
        self._urgent_look_at = anyio.current_time() + URGENT_LOOK_S
        if self._partitions.are_all_silent():
            return []
        tokens = await self._limits.take(allowed)
        most_of = {
            stage: left if tokens[stage] is None else 1
            for stage, left in allowed.items()
            if stage in tokens
        }
        free = max((left for stage, left in allowed.items() if stage != ERASURE), default=1)
        try:
            found = await self._partitions.claim(most_of, free, above)
        except BaseException:
            await self._limits.give_back(tokens)
            raise
        for _, claimed in found:
            tokens.pop(claimed.task.stage, None)
        if not found and tuple(allowed) == (ERASURE,):
            self._erasure_look_at = anyio.current_time() + ERASURE_LOOK_S
        await self._limits.give_back(tokens)
        return found

    async def _watch(self, partition: int) -> None:
        """Wake an idle worker when a task arrives; a busy one claims on its own."""
        while True:
            await self._idle.wait()
            try:
                await self._lanes.wait(partition, block_ms=WAIT_MS)
                self._wakeup.set()
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
                self._wakeup.set()
            if moved < PROMOTED_AT_ONCE:
                await anyio.sleep(max(SHORTEST_PAUSE_S, min(next_s or LOOK_S, LOOK_S)))

    async def _follow(self) -> float:
        if await self._limits.load():
            self._wakeup.set()
        if self._limits.version != self._reported:
            await self._report_following()
        await self._report_running()
        return LOOK_S

    async def _report_running(self) -> None:
        """Report since when tasks run, if others run than at the last report or it expires."""
        seconds, now = self._held.running_s(), anyio.current_time()
        if seconds.keys() == self._running and (not seconds or now < self._report_again_at):
            return
        ttl_ms = int(2000 * self._stalled_after_s)
        await liveness.report_running(self._log, self._lanes.consumer, seconds, ttl_ms)
        self._running, self._report_again_at = frozenset(seconds), now + self._stalled_after_s

    async def _report_following(self) -> None:
        """Report which controls are in force here, for those who wait until a stage is idle."""
        version = self._limits.version
        await liveness.report_following(
            self._log, self._lanes.consumer, version, before=self._reported
        )
        self._reported = version

    async def _keep_claims(self, partition: int) -> float:
        """Refresh held claims, take over abandoned ones, and refill lanes that lost tasks."""
        idle_ms = int(self._stalled_after_s * 1000)
        await self._lanes.prepare(partition)
        if partition == liveness.PARTITION:
            await liveness.report(self._log, self._lanes.consumer)
            await self._report_following()
        await self._lanes.refresh(self._held.claims().get(partition, []))
        found = await self._lanes.abandoned(partition, idle_ms=idle_ms, dead=self._dead[partition])
        taken = self._partitions.hold(partition, found)
        self.taken_over += len(taken)
        for each in taken:
            logger.info("took over %s", each.task.stage, extra={"subject": subject_of(each.task)})
        await self._lanes.forget_idle(partition, idle_ms=SILENT_CLAIM_PERIODS * idle_ms)
        await self._recovery.run(partition)
        self._dead[partition] = None
        return self._stalled_after_s / 4

    async def _run_periodically(self, work: Callable[[], Awaitable[float]], outage: Outage) -> None:
        """Repeat the work, pausing for the seconds that it returns."""
        while True:
            try:
                pause_s = await work()
            except StoreError as error:
                await outage.wait(error)
            else:
                outage.over()
                await anyio.sleep(pause_s)
