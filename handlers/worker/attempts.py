"""Run one attempt of a task: its stage in a decoder process, then record the result or failure.

The append that records the result also acknowledges the task; if another worker holds the task by
then, the result is dropped. While Redis or the blob store is unavailable or full, the attempt waits
and keeps what its stage returned or raised: an outage costs a photo no attempt, and no stage runs
twice for it. If this machine lacks something, the task is given back (``giving_back``).

A failure is recorded with the time of the next attempt, by the rules of
``domain.pipeline.retries``; without one it is a dead letter.
"""

import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from domain.moments import iso
from domain.photo.commands import (
    RecordErased,
    RecordRenditionsRemoved,
    RecordStageCompleted,
    RecordStageFailed,
    StartProcessing,
)
from domain.photo.holdings import replaced
from domain.photo.results import ORIGINAL, Rendition
from domain.photo.state import Photo, is_current
from domain.pipeline.control import RaiseAlert
from domain.pipeline.failures import BLOB_DAMAGED, BLOB_MISSING, Category
from domain.pipeline.retries import Strategies, delay_s, escalates, strategy_of
from domain.pipeline.stages import ERASURE, Task
from handlers.decoder.pool import DecoderPool
from handlers.decoder.shortage import UNAVAILABLE, shortage
from handlers.registry import Stage
from handlers.stage import Made, Origin, Output, StageFailure
from handlers.worker.giving_back import GivenBack, Shortage
from handlers.worker.observing import Ended, RunObserver, observe_run, subject_of
from handlers.worker.recording import Recorder, context_of
from store import log_context
from store.blobs import damaged
from store.blobs.damaged import Damage
from store.blobs.interface import Blobs, rendition_folder, rendition_key
from store.errors import Full, Lost, Missing, StoreError, Unavailable
from store.log.control import ControlLog
from store.log.log import Claim, Loaded, Log
from store.outage import PAUSE_S, Outage
from store.queue.lanes import Claimed

logger = logging.getLogger("photolog.worker")

LONGEST_PAUSE_S = 5.0
"""The longest pause before another try to write to a storage that is full."""

LEVELS = {"none": logging.INFO, "warn": logging.WARNING}
DECODERS_STOPPED = "decoders-stopped"
DAMAGES: dict[str, Damage] = {BLOB_MISSING: "missing", BLOB_DAMAGED: "altered"}
"""The damage to the file that a stage needs, by the code of the failure."""

STALLED = StageFailure(
    Category.RESOURCE, "stalled", "The workers that ran this stage stopped answering."
)
BUG = StageFailure(Category.LOGIC, "worker-bug", "A bug in Photolog stopped this stage.")


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt: the processor time that decoders spent on it, and the tasks that
    follow and that this worker holds. ``lost`` if it may hold others that it does not know of.
    """

    decoder_s: float
    follow_ups: tuple[Claimed, ...] = ()
    lost: bool = False


class _Progress(msgspec.Struct):
    """The progress of an attempt, kept while it waits for Redis or the blob store.

    ``begun`` once the task counts as begun. ``result`` is what the stage returned or raised, None
    before it has run. ``decoder_s`` is the processor time of decoders, ``stage_s`` the duration of
    the stage.
    """

    begun: bool
    decoder_s: float = 0.0
    stage_s: float = 0.0
    result: Output | StageFailure | None = None
    follow_ups: tuple[Claimed, ...] = ()


class Attempts:
    """Runs any number of attempts concurrently."""

    def __init__(
        self,
        log: Log,
        recorder: Recorder,
        blobs: Blobs,
        children: DecoderPool,
        *,
        begin: Callable[[Claimed], Awaitable[bool]],
        stages: dict[str, Stage],
        strategies: Strategies,
        stage_timeout_s: float,
        max_stalls: int,
        superseded_grace_s: float,
        observe: RunObserver,
    ) -> None:
        self._log = log
        self._recorder = recorder
        self._controls = ControlLog(log)
        self._blobs = blobs
        self._children = children
        self._begin = begin
        self._stages = stages
        self._strategies = strategies
        self._stage_timeout_s = stage_timeout_s
        self._max_stalls = max_stalls
        self._superseded_grace_s = superseded_grace_s
        self._observe = observe
        self._shortage = Shortage()

    async def run(self, claimed: Claimed, *, begun: bool) -> Done:
        """Work on the task until it is acknowledged or another worker holds it.

        Unless it is ``begun``, it has waited here since it was claimed, and may be lost already.

        Raises GivenBack.
        """
        task, progress, lost = claimed.task, _Progress(begun=begun), False
        log_context.begin(subject_of(task))
        outage = Outage(logger, f"{task.stage} of {task.photo_id} is waiting")
        try:
            while True:
                try:
                    await self._attempt(claimed, progress)
                    self._shortage.over()
                    break
                except (Unavailable, Full) as error:
                    longest_s = LONGEST_PAUSE_S if isinstance(error, Full) else PAUSE_S
                    await outage.wait(error, longest_s=longest_s, least_s=error.retry_after_s)
        except Lost:
            logger.info("%s of %s was taken over by another worker", task.stage, task.photo_id)
            lost = True
        except GivenBack:
            raise
        except Exception as error:
            if shortage(error):
                await self._shortage.give_back(error)
            logger.exception("a bug stopped %s of %s", task.stage, task.photo_id)
            await self._give_up(claimed)
        return Done(decoder_s=progress.decoder_s, follow_ups=progress.follow_ups, lost=lost)

    async def _give_up(self, claimed: Claimed) -> None:
        """Fail the job because of a bug; otherwise the task would be redelivered forever."""
        try:
            await self._fail(claimed.task, claimed.claim, BUG)
        except Exception:
            logger.exception("the failure of %s could not be recorded", claimed.task.photo_id)

    async def _attempt(self, claimed: Claimed, progress: _Progress) -> None:
        task, claim = claimed.task, claimed.claim
        if not progress.begun and not await self._begin(claimed):
            raise Lost("another worker has taken the task over")
        progress.begun = True
        stage = self._stages.get(task.stage)
        loaded = None if stage is None else self._recorder.cached(task, stage.needs)
        loaded = loaded or await self._log.load(task.photo_id, task.client_id)
        photo = loaded.photo
        if photo is not None and task.stage == ERASURE:
            await observe_run(self._observe, task, self._erase(photo, task, claim))
        elif photo is None or not is_current(photo, task.job_id, task.stage, task.attempt):
            if photo is not None and photo.erased:
                await self._remove_files(task)  # left by an earlier attempt that was interrupted
            await self._log.acknowledge(task, claim)
        elif claimed.deliveries > 1 + self._max_stalls:
            await self._fail(task, claim, STALLED, final=True)
        else:
            work = self._process(photo, loaded, claimed, progress)
            await observe_run(self._observe, task, work)

    async def _process(
        self, photo: Photo, loaded: Loaded, claimed: Claimed, progress: _Progress
    ) -> Ended:
        task, claim = claimed.task, claimed.claim
        if not photo.job.started:
            start = StartProcessing(photo_id=photo.photo_id, job_id=task.job_id)
            await self._recorder.execute(start, task, loaded=loaded)
        result = await self._result(photo, task, progress)
        if isinstance(result, StageFailure):
            await self._fail(task, claim, result)
            await self._note_damage(photo, task, result)
            return "failed"
        began = time.monotonic()
        renditions = tuple([await self._store(task, made) for made in result.renditions])
        stage_s = progress.stage_s + time.monotonic() - began
        done = RecordStageCompleted(
            photo_id=photo.photo_id,
            job_id=task.job_id,
            stage=task.stage,
            attempt=task.attempt,
            duration_ms=round(stage_s * 1000),
            result=msgspec.to_builtins(result.result),
            renditions=renditions,
            remove_at=await self._remove_at(photo, renditions),
        )
        try:
            after, progress.follow_ups = await self._recorder.complete(done, claimed, loaded)
        except Lost:
            # Another worker has the task and may record the same keys, or the photo was deleted.
            await self._withdraw(task, renditions)
            raise
        if after.photo is not None and after.photo.deleted:
            await self._withdraw(task, renditions)
        return "completed"

    async def _remove_at(self, photo: Photo, renditions: tuple[Rendition, ...]) -> str | None:
        """Return when the renditions that these replace are removed, by the clock of the timers."""
        if not replaced(photo.holding, renditions):
            return None
        return iso(await self._log.now() + timedelta(seconds=self._superseded_grace_s))

    async def _withdraw(self, task: Task, renditions: tuple[Rendition, ...]) -> None:
        """Delete these renditions if the photo was deleted, and perhaps erased, meanwhile."""
        photo = (await self._log.load(task.photo_id, task.client_id, safe=True)).photo
        if photo is not None and photo.deleted:
            for rendition in renditions:
                await self._blobs.delete(rendition.key)

    async def _result(self, photo: Photo, task: Task, progress: _Progress) -> Output | StageFailure:
        """Return what the stage made of the photo; run it unless the attempt has kept a result."""
        if progress.result is not None:
            return progress.result
        began = time.monotonic()
        try:
            result = await self._run_stage(photo, task)
        except StageFailure as failure:
            result = failure
        progress.decoder_s += result.seconds
        if isinstance(result, StageFailure) and result.code == DECODERS_STOPPED:
            raise Unavailable(result.message) from result  # this worker stops: another one takes it
        if isinstance(result, StageFailure) and result.code == UNAVAILABLE:
            if self._children.outage is None:  # decoders run, but the file could not be opened
                await self._shortage.give_back(result.__cause__ or result)
            raise GivenBack(result.message) from result
        progress.stage_s = time.monotonic() - began
        progress.result = result
        return result

    async def _run_stage(self, photo: Photo, task: Task) -> Output:
        stage = self._stages.get(task.stage)
        if stage is None:
            raise StageFailure(
                Category.CONFIGURATION, "unknown-stage", f"This worker has no stage {task.stage}."
            )
        try:
            async with self._blobs.local(photo.keys[stage.needs]) as path:
                return await self._children.run(
                    stage=task.stage,
                    affinity=photo.photo_id,
                    source=path,
                    timeout_s=self._stage_timeout_s,
                    sha256=photo.sha256 if stage.needs == ORIGINAL else None,
                    client=task.client_id,
                    origin=Origin(
                        filename=photo.original_filename, last_modified_ms=photo.last_modified_ms
                    ),
                )
        except (Missing, KeyError) as error:
            message = f"The {stage.needs} is not in the blob store."
            raise StageFailure(Category.DATA, BLOB_MISSING, message) from error

    async def _note_damage(self, photo: Photo, task: Task, failure: StageFailure) -> None:
        """Make the health check report at once a file that is missing or altered."""
        damage = DAMAGES.get(failure.code)
        name = self._stages[task.stage].needs if task.stage in self._stages else ""
        if damage is None or name not in photo.keys:
            return
        try:
            await damaged.note(
                *(self._log, photo.keys[name], damage),
                photo_id=photo.photo_id,
                client_id=photo.client_id,
                sha256=photo.sha256 if name == ORIGINAL else None,
            )
        except StoreError as error:  # the failure itself is in the photo's history
            logger.warning("health will not report the %s %s: %s", damage, name, error)

    async def _store(self, task: Task, made: Made) -> Rendition:
        sha256 = hashlib.sha256(made.data).hexdigest()
        key = rendition_key(task.photo_id, task.job_id, made.name, sha256)
        await self._blobs.put(key, made.data)
        return Rendition(
            name=made.name,
            key=key,
            width=made.width,
            height=made.height,
            file_size=len(made.data),
            mime_type=made.mime_type,
            sha256=sha256,
        )

    async def _fail(
        self, task: Task, claim: Claim, failure: StageFailure, *, final: bool = False
    ) -> None:
        """Record the failure, with the time of the next attempt unless this was the last."""
        strategy = strategy_of(self._strategies, failure.category, failure.code)
        # Random, so that tasks that failed together are not retried together.
        pause_s = None if final else delay_s(strategy, task.attempt, random.random())  # noqa: S311
        now = await self._log.now()
        await self._recorder.execute(
            RecordStageFailed(
                photo_id=task.photo_id,
                job_id=task.job_id,
                stage=task.stage,
                attempt=task.attempt,
                category=failure.category,
                code=failure.code,
                error=failure.message,
                retry_at=None if pause_s is None else iso(now + timedelta(seconds=pause_s)),
            ),
            task,
            claim,
        )
        if escalates(strategy, task.attempt):
            await self._alert(task, failure, now)

    async def _alert(self, task: Task, failure: StageFailure, now: datetime) -> None:
        level = self._strategies[failure.category].alert_level
        logger.log(LEVELS.get(level, logging.ERROR), "%s fails: %s", task.stage, failure.message)
        try:
            await self._controls.execute(
                RaiseAlert(
                    now=now,
                    stage=task.stage,
                    category=failure.category,
                    level=level,
                    code=failure.code,
                    error=failure.message,
                ),
                context_of(task),
            )
        except StoreError as error:  # the failure itself is in the photo's history
            logger.warning("the alert was not recorded: %s", error)

    async def _erase(self, photo: Photo, task: Task, claim: Claim) -> Ended:
        if not photo.deleted:
            return await self._remove_superseded(task, claim)
        if not photo.erased:
            await self._remove_files(task)
        await self._recorder.execute(RecordErased(photo_id=photo.photo_id), task, claim)
        return "completed"

    async def _remove_superseded(self, task: Task, claim: Claim) -> Ended:
        """Remove the superseded renditions that are due by the task's own due time.

        The task says what is due, because the clock of this machine may be behind. Renditions of
        an event that a failover may still take back stay.
        """
        photo = (await self._log.load(task.photo_id, task.client_id, safe=True)).photo
        due = task.due or ""
        superseded = {} if photo is None else photo.holding.superseded
        keys = tuple(
            key
            for key, file in superseded.items()
            if file.remove_at is not None and file.remove_at <= due
        )
        for key in keys:
            await self._blobs.delete(key)
        removed = RecordRenditionsRemoved(photo_id=task.photo_id, keys=keys)
        await self._recorder.execute(removed, task, claim)
        return "completed"

    async def _remove_files(self, task: Task) -> None:
        """Remove the files of a photo if its deletion is safe, because this cannot be undone."""
        photo = (await self._log.load(task.photo_id, task.client_id, safe=True)).photo
        if photo is None or not photo.deleted:
            return
        for blob in await self._blobs.keys(rendition_folder(photo.photo_id)):
            await self._blobs.delete(blob.key)
        for key in photo.keys.values():
            await self._blobs.delete(key)
