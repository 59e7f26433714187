"""The decoder pool: as many child processes as cores, each working on one photo at a time.

A child that hangs is killed, and one that dies is replaced; waiting tasks continue with the
replacement. While no child can be started, ``outage`` says why, and tasks are given back at once:
no photo is charged for what the machine lacks. The pool keeps trying.

A child keeps the pictures it has decoded, so the stages of a photo go to the child that has its
picture. ``handlers.decoder.queue`` decides which task is next.
"""

import contextlib
import logging
import math
import os
from collections import Counter
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec

from domain.pipeline.failures import Category
from handlers.decoder import budget
from handlers.decoder.budget import Budget
from handlers.decoder.process import (
    BAD_ANSWER,
    DECODER_DIED,
    MEMORY_LIMIT,
    DecoderProcess,
    NotTaken,
    bad_answer,
)
from handlers.decoder.protocol import Costly, Done, Setup
from handlers.decoder.queue import DecodeTask, Queue
from handlers.decoder.sandbox import Confinement, identity, may_limit, weakest
from handlers.decoder.settings import Pace, Sandbox
from handlers.decoder.shortage import StartFailure, unavailable
from handlers.decoder.slot import Slot
from handlers.registry import find_stages
from handlers.stage import Origin, Output, StageContext, StageFailure
from store.background import Background

logger = logging.getLogger("photolog.worker")

PATIENCE_S = 0.5
"""How long a task waits for the child that has its picture, before another child decodes it again.
A child that has worked on one task for this long counts as busy for long."""

PREEMPTED = "preempted"
DOES_NOT_START = "decoder-does-not-start"


class DecoderPool:
    """The pool. Enter it before use; leaving it kills the children and fails unfinished tasks.

    Args:
        count: Processes; by default one per core, or fewer if the memory is not enough.
        registry: The stage table as ``module:TABLE``; the children import it too.
        memory_bytes: Address space of one child. 3 GiB is enough for 150 million pixels in any
            format: at 144 million, WebP took 2.6 GiB, 16-bit PNG 1.6, AVIF and TIFF 1.3, JPEG 0.1
            to 0.9.
        budget_bytes: Memory of all children together; by default ``memory_bytes`` for each.
        cache_bytes: Decoded pictures that one child keeps; one takes 10 MB at 1920 pixels.
        answer_bytes: The largest answer accepted from a child, including its renditions.

    Raises:
        KeyError: the sandbox names a user that does not exist on this machine.
    """

    def __init__(
        self,
        *,
        count: int | None = None,
        registry: str = "handlers.registry:STAGES",
        context: StageContext | None = None,
        memory_bytes: int = 3 << 30,
        budget_bytes: int | None = None,
        cache_bytes: int = 64 << 20,
        background: Background | None = None,
        answer_bytes: int = 64 << 20,
        sandbox: Sandbox | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._background = background or Background()
        self._stages = find_stages(registry)
        self._pace = pace or Pace()
        sandbox = sandbox or Sandbox()
        become = identity(sandbox.user)
        setup = Setup(
            registry=registry,
            parent=os.getpid(),
            memory_bytes=memory_bytes,
            cache_bytes=cache_bytes,
            answer_bytes=answer_bytes,
            context=context or StageContext(),
            sandbox=sandbox,
            become=become,
            limits_itself=not may_limit(become),
        )
        cores = os.cpu_count() or 1
        total = budget_bytes or (count or cores) * memory_bytes
        count = count or budget.affordable(total, cores, cache_bytes)
        self._slots = [Slot(setup) for _ in range(count)]
        self.budget = Budget(total, count, cache_bytes=cache_bytes, process_bytes=memory_bytes)
        self._queue = Queue(self._stages, self.budget, self._pace.expensive_s, count)
        self._changed = anyio.Event()
        self._retrying = anyio.Lock()
        self._noted: StartFailure | None = None
        self._stopped = False
        self._stack = contextlib.AsyncExitStack()
        self.restarts: Counter[str] = Counter()
        """How many children were replaced, by the code of the failure that ended them."""

    async def __aenter__(self) -> Self:
        """Start the children; those that fail to start are retried while the block runs."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(self._tasks.cancel_scope.cancel)
            # Concurrently, because imports take a while.
            async with anyio.create_task_group() as starting:
                for slot in self._slots:
                    starting.start_soon(self._try_start, slot)
            for slot in self._slots:
                keep = partial(self._run_slot, slot)
                self._tasks.start_soon(self._background.keep, "decoder", keep)
            self._stack = stack.pop_all()
        if missing := self.confinement.missing:
            # The address space of a decoder is still bounded, but not separately for each photo.
            level = logging.INFO if missing == (MEMORY_LIMIT,) else logging.WARNING
            logger.log(level, "decoders run without %s: see health", ", ".join(missing))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _stop(self) -> None:
        self._stopped = True
        for child in self._slots:
            await child.kill()
        for task in self._queue.waiting:
            task.ended.set()

    @property
    def count(self) -> int:
        """The number of children."""
        return len(self._slots)

    @property
    def waiting(self) -> int:
        """The number of tasks that no child has begun."""
        return len(self._queue.waiting)

    @property
    def busy(self) -> int:
        """The number of children at work."""
        return sum(slot.task is not None for slot in self._slots)

    @property
    def running(self) -> int:
        """The number of children that run."""
        return sum(slot.is_running for slot in self._slots)

    @property
    def outage(self) -> StartFailure | None:
        """Why no child can be started; None if one runs, or may run as soon as it has started."""
        failures = [slot.failure for slot in self._slots]
        return failures[0] if all(failures) else None

    @property
    def confinement(self) -> Confinement:
        """The sandbox parts that are active in all children, and those missing in any."""
        return weakest([slot.process.confinement for slot in self._slots if slot.process])

    async def run(
        self,
        *,
        stage: str,
        affinity: str,
        source: Path,
        timeout_s: float,
        sha256: str | None = None,
        client: str = "",
        origin: Origin | None = None,
    ) -> Output:
        """Run ``stage`` on the file ``source`` of the photo ``affinity``, for ``client``.

        If ``sha256`` is given, the file must have that digest. ``origin`` is what is known of the
        file besides its bytes.

        ``timeout_s`` counts from the moment a child begins. If cancelled, a waiting task is
        removed; a running one finishes, and its result is dropped.

        Raises:
            BadImage: the bytes are not a readable picture, or exceed a limit.
            StageFailure: ``decode-timeout``, ``decoder-died``, ``out-of-memory`` or
                ``needs-too-much-memory``, of category resource; ``blob-damaged`` or
                ``answer-too-large``, of category configuration; ``forbidden-call`` or
                ``bad-answer``, of category security; ``stage-crashed``, a bug in a stage, of
                category logic; ``decoders-stopped``, temporary, when the pool closes;
                ``decoders-unavailable``, temporary, if the machine lacks what a decoder needs.
        """
        if self.outage is not None:
            raise unavailable()
        task = DecodeTask(
            *(stage, affinity, source),
            client=client,
            timeout_s=timeout_s,
            sha256=sha256,
            origin=origin,
        )
        if not self._stopped:
            self._queue.add(task)
            self._wake()
            try:
                await self._make_room()
                await task.ended.wait()
            finally:
                self._queue.forget(task)
        if isinstance(task.outcome, StageFailure):
            task.outcome.seconds = task.seconds
            raise task.outcome
        if task.outcome is None:
            message = "The worker stopped before this stage was done."
            raise StageFailure(Category.TEMPORARY, "decoders-stopped", message)
        return msgspec.structs.replace(task.outcome, seconds=task.seconds)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait until a task or a child has come or gone."""
        await self._changed.wait()

    async def _try_start(self, slot: Slot) -> None:
        """Start the child of a slot; a failure is noted there."""
        try:
            process = await slot.start()
        except StartFailure as failure:
            self.restarts[DOES_NOT_START] += 1
            if slot.failed_starts == 1:
                logger.warning("a decoder did not start and is tried again: %s", failure)
        else:
            self._tasks.start_soon(self._wake_at_end, process)
            for other in self._slots:  # they need not wait long any more
                if other is not slot:
                    other.failed_starts = min(other.failed_starts, 1)
        self._note_outage()

    async def _wake_at_end(self, process: DecoderProcess) -> None:
        await process.ended()
        self._wake()

    def _note_outage(self) -> None:
        """If an outage has begun, say so and end the waiting tasks; say so too if it has ended."""
        before, self._noted = self._noted, self.outage
        if self._noted is None and before is not None:
            logger.info("decoders can be started again: the worker takes tasks")
        elif self._noted is not None:
            if before is None:
                logger.error("no decoder can be started, so photos wait: %s", self._noted)
            for task in self._queue.waiting:
                task.outcome = unavailable()
                task.ended.set()
            self._queue.waiting.clear()
        self._wake()

    async def _run_slot(self, slot: Slot) -> None:
        """Give a child its tasks, one after the other, and replace it when it is gone."""
        while True:
            while not slot.is_running:
                # One at a time after a failure: each start loads the machine that lacks something.
                async with self._retrying if slot.failure else contextlib.nullcontext():
                    await anyio.sleep(slot.pause_s)
                    await self._try_start(slot)
            if (task := await self._task_for(slot)) is not None:
                await self._serve(slot, task)
            # Other tasks of this photo may have waited for this child.
            self._wake()

    async def _task_for(self, slot: Slot) -> DecodeTask | None:
        """Wait for a task for the child, which begins to work on it; None if the child ends."""
        while slot.is_running:
            if (task := self._next_task(slot)) is not None:
                return task
            with anyio.move_on_after(PATIENCE_S if self._queue.waiting else math.inf):
                await self._changed.wait()
        await slot.kill()
        self.restarts[DECODER_DIED] += 1
        self._note_end(slot)
        return None

    def _note_end(self, slot: Slot) -> None:
        """Treat a child that ended before its first task like one that did not start."""
        if slot.process is not None and not slot.process.has_worked:
            slot.failed(StartFailure(slot.process.reason_of_end))
            self._note_outage()

    def _next_task(self, child: Slot) -> DecodeTask | None:
        """Take the next task for the child, which begins to work on it."""
        others = [each for each in self._slots if each is not child]
        since = anyio.current_time() - PATIENCE_S

        def others_have(photo: str) -> bool:
            return any(each.has(photo) for each in others)

        def is_stuck(photo: str) -> bool:
            """Return whether every child that has the picture has been busy for long."""
            return all(each.is_at_work_since(since) for each in others if each.has(photo))

        return self._queue.take(child.has, others_have, is_stuck, since)

    async def _serve(self, slot: Slot, task: DecodeTask) -> None:
        process = slot.process
        if process is None:
            raise TypeError("a task began without a process")
        slot.begin(task)
        answer: Done | Costly | StageFailure | None = None
        not_taken = False
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._watch, task)
                try:
                    file = None if self._queue.is_held(task, process.held) else task.source
                    answer = await process.ask(task.request, file, task.timeout_s)
                except StageFailure as failure:
                    answer = failure
                except NotTaken:
                    not_taken = not task.preempted
                watching.cancel_scope.cancel()
            outcome = self._outcome_of(task, answer)
            if isinstance(outcome, StageFailure) and outcome.code == BAD_ANSWER:
                await process.kill()
        except BaseException:
            task.ended.set()  # without an outcome: the pool is closing
            raise
        finally:
            took_s = slot.end()
            task.seconds += took_s
            self._queue.give_back(task, took_s)
        if not slot.is_running and not isinstance(outcome, Output):
            code = DECODER_DIED if not_taken else PREEMPTED
            self.restarts[code if outcome is None else outcome.code] += 1
        if outcome is None:
            self._queue.put_back(task)
        else:
            task.outcome = outcome
            task.ended.set()
        if not_taken:
            self._note_end(slot)

    def _outcome_of(
        self, task: DecodeTask, answer: Done | Costly | StageFailure | None
    ) -> Output | StageFailure | None:
        """Return the outcome of an answer; None if the task has to wait once more."""
        if answer is None or isinstance(answer, StageFailure):
            if task.preempted:
                task.preempted = False
                return None
            return answer
        if isinstance(answer, Costly):
            return self._queue.learn(task, answer.cost)
        kind = self._stages[task.request.stage].result
        try:
            result = msgspec.msgpack.decode(answer.result, type=kind)
        except (msgspec.DecodeError, RecursionError):
            return bad_answer("a result of the wrong type")
        return Output(result=result, renditions=answer.renditions)

    async def _watch(self, task: DecodeTask) -> None:
        await anyio.sleep(self._pace.slow_s)
        self._queue.mark_slow(task)
        await self._make_room()

    async def _make_room(self) -> None:
        """Preempt a slow picture, if slow pictures occupy all of several decoders and others wait.

        The victim is the last to begin of those that were expected to be quick. It starts over
        when one of the slow ones has ended: no task loses its decoder twice.
        """
        if len(self._slots) < 2 or not self._queue.has_quick_ones:
            return
        tasks = [child.task for child in self._slots]
        slow = [task for task in tasks if task is not None and (task.is_slow or task.is_expensive)]
        if len(slow) < len(tasks) or any(task.preempted for task in slow):
            return
        victim = max((task for task in slow if not task.began_as_slow), key=lambda task: task.began)
        child = next(child for child in self._slots if child.task is victim)
        victim.preempted = True
        logger.info("preempted a slow picture, to start over later: %s", victim.request.photo)
        await child.kill()
