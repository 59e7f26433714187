"""The worker: runs the tasks that its source hands out, and shuts down cleanly.

While no decoder can be started, the worker takes no tasks that need one, and gives back those that
it has.

Shutdown: ``stop`` ends claiming; running attempts may finish within ``drain_s``; the rest is put
back in its lanes.
"""

from functools import partial

import anyio
import anyio.abc

from domain.pipeline.retries import STRATEGIES, Strategies
from domain.pipeline.stages import ERASURE, ROOT
from handlers.decoder.pool import DecoderPool
from handlers.registry import STAGES, Stage
from handlers.worker.attempts import Attempts
from handlers.worker.dispatcher import Dispatcher
from handlers.worker.giving_back import GivenBack
from handlers.worker.held_tasks import HeldTask
from handlers.worker.observing import RunObserver
from handlers.worker.recording import Recorder
from handlers.worker.settings import WorkerSettings
from handlers.worker.task_source import TaskSource
from store.background import Background
from store.blobs.interface import Blobs
from store.log.log import Log
from store.observing import ignore
from store.queue.lanes import Lanes


class Worker:
    """Runs tasks until ``stop``.

    ``consumer`` is this process's name in the consumer groups; ``dead`` is the prefix of the names
    of processes that are known to have ended: their tasks are taken over at once and without
    counting as a stall. ``observe`` is called with every run of a stage.
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
        self._settings = settings = settings or WorkerSettings()
        stages = stages or STAGES
        # Photos in progress are finished before new ones begin, while their pictures are decoded.
        order = (*(name for name in reversed(stages) if name != ROOT), ROOT, ERASURE)
        lanes = Lanes(log, consumer, order)
        self._source = TaskSource(
            log,
            lanes,
            concurrency=settings.concurrency,
            client_concurrency=settings.client_concurrency,
            stalled_after_s=settings.stalled_after_s,
            dead=dead,
            can_decode=lambda: children.outage is None,
            background=background,
        )
        self._attempts = Attempts(
            log,
            Recorder(log, consumer, may_keep=self._source.may_keep, patience_s=settings.patience_s),
            blobs,
            children,
            begin=lanes.begin,
            stages=stages,
            strategies=strategies or STRATEGIES,
            stage_timeout_s=settings.stage_timeout_s,
            max_stalls=settings.max_stalls,
            superseded_grace_s=settings.superseded_grace_s,
            observe=observe,
        )
        self._dispatcher = Dispatcher(
            log,
            consumer=consumer,
            dead=dead,
            stalled_after_s=settings.stalled_after_s,
            background=background,
        )

    @property
    def in_hand(self) -> int:
        """The number of tasks that are claimed and not done."""
        return self._source.in_hand

    @property
    def taken_over(self) -> int:
        """The number of tasks taken over from other workers."""
        return self._source.taken_over

    def stop(self) -> None:
        """Stop claiming; ``run`` returns once held tasks are done, or after ``drain_s``."""
        self._source.stop()

    async def run(self) -> None:
        """Work until ``stop``; put back the tasks that are not done within ``drain_s``."""
        async with anyio.create_task_group() as around:
            around.start_soon(self._dispatcher.run)
            self._source.begin(around)
            with anyio.CancelScope() as drain:
                around.start_soon(self._end_drain, drain)
                async with anyio.create_task_group() as tasks:
                    await self._background.keep("claims", partial(self._run_all, tasks))
            around.cancel_scope.cancel()
        await self._source.hand_back()

    async def _end_drain(self, drain: anyio.CancelScope) -> None:
        await self._source.stopped()
        drain.deadline = anyio.current_time() + self._settings.drain_s
        await self._source.hand_back_ready()

    async def _run_all(self, tasks: anyio.abc.TaskGroup) -> None:
        while (held := await self._source.next()) is not None:
            tasks.start_soon(self._run_one, held)

    async def _run_one(self, held: HeldTask) -> None:
        try:
            self._source.finish(held, await self._attempts.run(held.claimed, begun=held.begun))
        except GivenBack:
            self._source.give_back(held)
        except Exception as error:  # in one task: the others continue
            self._background.failed("task", error, part=held.task.stage)
            self._source.give_back(held)
