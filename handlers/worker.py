"""The worker: claims tasks, runs their stages in decoder children, records what came of them.

It owns what no stage knows of: the claim and its refreshing, failures, taking over from the dead,
stopping. A task is held until the append that carries its result; a result that comes too late is
dropped. While Redis or the blob store is away, the worker waits with its tasks in hand.
"""

import hashlib
import logging
import time
from collections import deque
from datetime import UTC, datetime

import anyio
import msgspec

from domain.commands import (
    PhotoCommand,
    RecordErased,
    RecordStageCompleted,
    RecordStageFailed,
    StartProcessing,
)
from domain.events import Context
from domain.failures import Category
from domain.photo import Photo, is_current
from domain.pipeline import ERASURE, ROOT, Task
from domain.results import Rendition
from handlers.children import Children
from handlers.dispatcher import Dispatcher
from handlers.registry import STAGES, Stage
from handlers.stage import Made, Output, StageFailed
from store.blobs import FolderBlobs, rendition_key
from store.errors import Full, Lost, Missing, StoreError, Unavailable
from store.lanes import Claimed, Lanes
from store.log import Claim, Log, Outcome

logger = logging.getLogger("photolog.worker")

PAUSE_S = 0.5
WAIT_MS = 1_000


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one worker; times in seconds."""

    concurrency: int = 3
    stalled_after_s: float = 30.0
    max_stalls: int = 1
    stage_timeout_s: float = 60.0
    drain_s: float = 20.0
    patience_s: float = 3600.0


class Worker:
    """Runs tasks until told to stop.

    ``consumer`` is this process's name in the groups; ``dead`` begins the names of processes that
    are known to have ended: their tasks are taken over at once and without counting as a stall.
    """

    def __init__(
        self,
        log: Log,
        blobs: FolderBlobs,
        children: Children,
        *,
        consumer: str,
        dead: str | None = None,
        settings: WorkerSettings | None = None,
        stages: dict[str, Stage] | None = None,
    ) -> None:
        self._log = log
        self._blobs = blobs
        self._children = children
        self._settings = settings or WorkerSettings()
        self._stages = stages or STAGES
        self._dead = dead
        # Photos under way are finished before new ones begin: their pictures are still decoded.
        order = (*(name for name in reversed(self._stages) if name != ROOT), ROOT, ERASURE)
        self._lanes = Lanes(log, consumer, order)
        self._dispatcher = Dispatcher(
            log, consumer=consumer, dead=dead, stalled_after_s=self._settings.stalled_after_s
        )
        self._held: dict[tuple[str, str], tuple[int, Claim]] = {}
        self._ready: deque[Claimed] = deque()
        self._in_step = False
        self._wake = anyio.Event()
        self._stopping = anyio.Event()

    def stop(self) -> None:
        """Claim nothing more; ``run`` returns when what is held is done, or after ``drain_s``."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``. Tasks cut by the deadline stay pending and are taken over."""
        async with anyio.create_task_group() as around:
            around.start_soon(self._dispatcher.run)
            around.start_soon(self._keep_claims)
            for partition in range(self._log.partitions):
                around.start_soon(self._watch, partition)
            with anyio.CancelScope() as drain:
                around.start_soon(self._end_drain, drain)
                async with anyio.create_task_group() as tasks:
                    await self._claim_all(tasks)
            if drain.cancelled_caught:
                logger.warning("stopped with tasks in hand; they will be taken over")
            around.cancel_scope.cancel()

    async def _end_drain(self, drain: anyio.CancelScope) -> None:
        await self._stopping.wait()
        drain.deadline = anyio.current_time() + self._settings.drain_s

    async def _claim_all(self, tasks: anyio.abc.TaskGroup) -> None:
        slots = anyio.Semaphore(self._settings.concurrency)
        while True:
            await slots.acquire()
            claimed = await self._next()
            if claimed is None:
                return
            tasks.start_soon(self._work, claimed, slots)

    async def _next(self) -> Claimed | None:
        """The next task, as soon as there is one; None when stopping."""
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._stopping.is_set():
                return None
            wake = self._wake = anyio.Event()
            try:
                await self._refill()
            except StoreError as error:
                logger.warning("waiting for the lanes: %s", error)
                self._in_step = False
                await anyio.sleep(PAUSE_S)
                continue
            if not self._ready:
                with anyio.move_on_after(WAIT_MS / 1000):
                    await wake.wait()

    async def _refill(self) -> None:
        """Claim a task, if one waits."""
        if not self._in_step:
            # A reply that was lost may have carried tasks: they are ours, and nobody else's.
            await self._lanes.prepare()
            for partition in range(self._log.partitions):
                self._take(partition, await self._lanes.recall(partition))
            self._in_step = True
        for partition in range(self._log.partitions):
            if not self._ready:
                self._take(partition, await self._lanes.claim(partition, 1))

    def _take(self, partition: int, claimed: list[Claimed]) -> None:
        """Hold the tasks that are not held yet, and put them in line."""
        for each in claimed:
            if _name(each.claim) not in self._held:
                self._held[_name(each.claim)] = (partition, each.claim)
                self._ready.append(each)

    async def _watch(self, partition: int) -> None:
        while True:
            try:
                await self._lanes.wait(partition, block_ms=WAIT_MS)
                self._wake.set()
            except StoreError:
                await anyio.sleep(PAUSE_S)

    async def _keep_claims(self) -> None:
        """Refresh what is held and take over what others hold no more."""
        idle_ms = int(self._settings.stalled_after_s * 1000)
        dead = self._dead
        while True:
            try:
                await self._lanes.prepare()
                for partition in range(self._log.partitions):
                    claims = [claim for of, claim in self._held.values() if of == partition]
                    await self._lanes.refresh(claims)
                    taken = await self._lanes.abandoned(partition, idle_ms=idle_ms, dead=dead)
                    self._take(partition, taken)
                    if taken:
                        logger.info("took over %d tasks in partition %d", len(taken), partition)
                        self._wake.set()
                dead = None
            except StoreError as error:
                logger.warning("claims could not be refreshed: %s", error)
            await anyio.sleep(self._settings.stalled_after_s / 4 if dead is None else PAUSE_S)

    async def _work(self, claimed: Claimed, slots: anyio.Semaphore) -> None:
        task = claimed.task
        try:
            while True:
                try:
                    await self._do(claimed)
                    return
                except (Unavailable, Full) as error:
                    # Not the photo's fault: the task is kept, and no attempt is spent.
                    logger.warning("%s of %s waits: %s", task.stage, task.photo_id, error)
                    await anyio.sleep(PAUSE_S)
        except Lost:
            logger.info("%s of %s went to another worker", task.stage, task.photo_id)
        except Exception:
            logger.exception("%s of %s: a bug", task.stage, task.photo_id)
            await self._give_up(claimed)
        finally:
            del self._held[_name(claimed.claim)]
            slots.release()

    async def _give_up(self, claimed: Claimed) -> None:
        """A bug of ours ends the job, with its reason; else the task would come back for ever."""
        failure = StageFailed(Category.LOGIC, "worker-bug", "A bug in Photolog stopped this stage.")
        try:
            await self._fail(claimed.task, claimed.claim, failure)
        except Exception:
            logger.exception("%s could not be failed", claimed.task.photo_id)

    async def _do(self, claimed: Claimed) -> None:
        task, claim = claimed.task, claimed.claim
        loaded = await self._log.load(task.photo_id, task.client_id)
        photo = loaded.photo
        if photo is not None and task.stage == ERASURE:
            await self._erase(photo, task, claim)
        elif photo is None or not is_current(photo, task.job_id, task.stage):
            await self._log.acknowledge(task, claim)
        elif claimed.deliveries > 1 + self._settings.max_stalls:
            error = "The workers that ran this stage stopped answering."
            await self._fail(task, claim, StageFailed(Category.RESOURCE, "stalled", error))
        else:
            await self._process(photo, task, claim)

    async def _process(self, photo: Photo, task: Task, claim: Claim) -> None:
        if not photo.job.started:
            await self._execute(StartProcessing(photo_id=photo.photo_id, job_id=task.job_id), task)
        began = time.monotonic()
        try:
            output = await self._run(photo, task)
        except StageFailed as failure:
            if failure.category is Category.TEMPORARY:
                raise Unavailable(failure.message) from failure
            await self._fail(task, claim, failure)
            return
        renditions = tuple([await self._store(task, made) for made in output.renditions])
        outcome = await self._execute(
            RecordStageCompleted(
                photo_id=photo.photo_id,
                job_id=task.job_id,
                stage=task.stage,
                attempt=task.attempt,
                duration_ms=round((time.monotonic() - began) * 1000),
                result=msgspec.to_builtins(output.result),
                renditions=renditions,
            ),
            task,
            claim,
        )
        if outcome.photo is not None and outcome.photo.deleted:
            # Deleted meanwhile, and perhaps erased already: these files would have no name.
            for rendition in renditions:
                await self._blobs.delete(rendition.key)

    async def _run(self, photo: Photo, task: Task) -> Output:
        stage = self._stages.get(task.stage)
        if stage is None:
            raise StageFailed(
                Category.CONFIGURATION, "unknown-stage", f"This worker has no stage {task.stage}."
            )
        try:
            async with self._blobs.local(photo.keys[stage.needs]) as path:
                return await self._children.run(
                    stage=task.stage,
                    affinity=photo.photo_id,
                    source=path,
                    timeout_s=self._settings.stage_timeout_s,
                )
        except (Missing, KeyError) as error:
            message = f"The {stage.needs} is not in the blob store."
            raise StageFailed(Category.DATA, "blob-missing", message) from error

    async def _store(self, task: Task, made: Made) -> Rendition:
        key = rendition_key(task.photo_id, task.job_id, made.name)
        await self._blobs.put(key, made.data)
        return Rendition(
            name=made.name,
            key=key,
            width=made.width,
            height=made.height,
            file_size=len(made.data),
            mime_type=made.mime_type,
            sha256=hashlib.sha256(made.data).hexdigest(),
        )

    async def _fail(self, task: Task, claim: Claim, failure: StageFailed) -> None:
        logger.info("%s of %s failed: %s", task.stage, task.photo_id, failure.message)
        await self._execute(
            RecordStageFailed(
                photo_id=task.photo_id,
                job_id=task.job_id,
                stage=task.stage,
                attempt=task.attempt,
                category=failure.category,
                code=failure.code,
                error=failure.message,
            ),
            task,
            claim,
        )

    async def _erase(self, photo: Photo, task: Task, claim: Claim) -> None:
        if photo.deleted and not photo.erased:
            folder = rendition_key(photo.photo_id, "", "").rstrip("/")
            for blob in await self._blobs.keys(folder):
                await self._blobs.delete(blob.key)
            for key in photo.keys.values():
                await self._blobs.delete(key)
        await self._execute(RecordErased(photo_id=photo.photo_id), task, claim)

    async def _execute(
        self, command: PhotoCommand, task: Task, claim: Claim | None = None
    ) -> Outcome:
        return await self._log.execute(
            command,
            client_id=task.client_id,
            context=Context(
                now=datetime.now(UTC),
                source="worker",
                actor=f"stage:{task.stage}",
                trace_id=task.trace_id,
                cause=task.cause,
            ),
            claim=claim,
            patience_s=self._settings.patience_s,
        )


def _name(claim: Claim) -> tuple[str, str]:
    """Entries of different lanes may have the same id."""
    return claim.lane_key, claim.entry_id
