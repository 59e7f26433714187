"""The decoder pool: as many child processes as cores, each working on one photo at a time.

A child that hangs is killed, and one that dies is replaced; waiting tasks continue with the
replacement. A child keeps the pictures it has decoded, so the stages of a photo go to the child
that has its picture. ``handlers.decoder.queue`` decides which task is next.
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
from handlers.decoder.process import BAD_ANSWER, MEMORY_LIMIT, DecoderProcess, Stopwatch, bad_answer
from handlers.decoder.protocol import Costly, Done, Setup
from handlers.decoder.queue import DecodeTask, Queue
from handlers.decoder.sandbox import Confinement, identity, may_limit
from handlers.decoder.settings import Pace, Sandbox
from handlers.registry import find_stages
from handlers.stage import Origin, Output, StageContext, StageFailure
from store.background import Background

logger = logging.getLogger("photolog.worker")

PATIENCE_S = 0.5
"""How long a task waits for the child that has its picture, before another child decodes it again.
A child that has worked on one task for this long counts as busy for long."""

STARTS = 3
"""How many starts of a child may fail before the next task tries, and gets the failure."""

START_PAUSE_S = 1.0
"""The pause between two starts, for a system that kills processes, for example for memory."""

PREEMPTED = "preempted"


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
        self._children = [_Child(setup) for _ in range(count)]
        self.budget = Budget(total, count, cache_bytes=cache_bytes, process_bytes=memory_bytes)
        self._queue = Queue(self._stages, self.budget, self._pace.expensive_s, count)
        self._changed = anyio.Event()
        self._stopped = False
        self._stack = contextlib.AsyncExitStack()
        self.restarts: Counter[str] = Counter()
        """How many children were replaced, by the code of the failure that ended them."""

    async def __aenter__(self) -> Self:
        """Start the children; one that fails to start is retried while the others work.

        Raises:
            StageFailure: no child starts; their standard error says why.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            await self._start_all()
            tending = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tending.cancel_scope.cancel)
            for child in self._children:
                tend = partial(self._run_child, child)
                tending.start_soon(self._background.keep, "decoder", tend)
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
        for child in self._children:
            await child.kill()
        for task in self._queue.waiting:
            task.ended.set()

    @property
    def count(self) -> int:
        """The number of children."""
        return len(self._children)

    @property
    def waiting(self) -> int:
        """The number of tasks that no child has begun."""
        return len(self._queue.waiting)

    @property
    def busy(self) -> int:
        """The number of children at work."""
        return sum(child.task is not None for child in self._children)

    @property
    def confinement(self) -> Confinement:
        """The sandbox parts that are active in all children, and those missing in any."""
        found = [child.process.confinement for child in self._children if child.process]
        missing = dict.fromkeys(name for each in found for name in each.missing)
        active = dict.fromkeys(name for each in found for name in each.active)
        return Confinement(
            active=tuple(name for name in active if name not in missing), missing=tuple(missing)
        )

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
                category logic; ``decoders-stopped``, temporary, when the pool closes.
        """
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

    async def _start_all(self) -> None:
        for _ in range(STARTS - 1):
            # Concurrently, because imports take a while.
            async with anyio.create_task_group() as starting:
                for child in self._children:
                    starting.start_soon(self._try_start, child)
            if any(child.is_running for child in self._children):
                return
            await anyio.sleep(START_PAUSE_S)
        await self._children[0].running()

    async def _try_start(self, child: "_Child") -> bool:
        """Start the child if it is not running; return whether it runs now."""
        try:
            await child.running()
        except StageFailure as failure:
            self.restarts[failure.code] += 1
            logger.warning("a decoder process did not start; it is tried again")
            return False
        return True

    async def _run_child(self, child: "_Child") -> None:
        """Give a child its tasks, one after the other, and replace it when it is gone."""
        while True:
            for _ in range(STARTS):
                if await self._try_start(child):
                    break
                await anyio.sleep(START_PAUSE_S)
            # If it did not start, the next task tries again and gets the failure.
            while (task := self._next_task(child)) is None:
                with anyio.move_on_after(PATIENCE_S if self._queue.waiting else math.inf):
                    await self._changed.wait()
            await self._serve(child, task)
            # Other tasks of this photo may have waited for this child.
            self._wake()

    def _next_task(self, child: "_Child") -> "DecodeTask | None":
        """Take the next task for the child, which begins to work on it."""
        others = [each for each in self._children if each is not child]
        since = anyio.current_time() - PATIENCE_S

        def others_have(photo: str) -> bool:
            return any(each.has(photo) for each in others)

        def is_stuck(photo: str) -> bool:
            """Return whether every child that has the picture has been busy for long."""
            return all(each.is_at_work_since(since) for each in others if each.has(photo))

        return self._queue.take(child.has, others_have, is_stuck, since)

    async def _serve(self, child: "_Child", task: DecodeTask) -> None:
        child.begin(task)
        answer: Done | Costly | StageFailure | None = None
        try:
            process = await child.running()
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._watch, task)
                try:
                    file = None if self._queue.is_held(task, process.held) else task.source
                    answer = await process.ask(task.request, file, task.timeout_s)
                except StageFailure as failure:
                    answer = failure
                watching.cancel_scope.cancel()
            outcome = self._outcome_of(task, answer)
            if isinstance(outcome, StageFailure) and outcome.code == BAD_ANSWER:
                await process.kill()
        except StageFailure as failure:
            outcome = failure
        except BaseException:
            task.ended.set()  # without an outcome: the pool is closing
            raise
        finally:
            took_s = child.end()
            task.seconds += took_s
            self._queue.give_back(task, took_s)
        if not child.is_running and not isinstance(outcome, Output):
            self.restarts[PREEMPTED if outcome is None else outcome.code] += 1
        if outcome is None:
            self._queue.put_back(task)
        else:
            task.outcome = outcome
            task.ended.set()

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
        if len(self._children) < 2 or not self._queue.has_quick_ones:
            return
        tasks = [child.task for child in self._children]
        slow = [task for task in tasks if task is not None and (task.is_slow or task.is_expensive)]
        if len(slow) < len(tasks) or any(task.preempted for task in slow):
            return
        victim = max((task for task in slow if not task.began_as_slow), key=lambda task: task.began)
        child = next(child for child in self._children if child.task is victim)
        victim.preempted = True
        logger.info("preempted a slow picture, to start over later: %s", victim.request.photo)
        await child.kill()


class _Child:
    """One decoder process, or its replacement, and what it is working on."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.process: DecoderProcess | None = None
        self.task: DecodeTask | None = None
        self._stopwatch = Stopwatch(None)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def begin(self, task: DecodeTask) -> None:
        self.task = task
        self._stopwatch = Stopwatch(self.process)

    def end(self) -> float:
        """End the task; return how many seconds the child has worked on it."""
        self.task = None
        return self._stopwatch.seconds(self.process)

    def has(self, photo: str) -> bool:
        """Return whether the picture of ``photo`` is decoded here, or is about to be."""
        if self.task is not None and self.task.request.photo == photo:
            return True
        return self.process is not None and self.process.is_running and photo in self.process.held

    def is_at_work_since(self, time: float) -> bool:
        """Return whether it has been working on its task since ``time``."""
        return self.task is not None and self.task.began <= time

    async def launch(self) -> DecoderProcess:
        self.process = await DecoderProcess.launch(self._setup)
        return self.process

    async def running(self) -> DecoderProcess:
        """Return the process, after starting it again if it is gone."""
        if self.process is not None and self.process.is_running:
            return self.process
        process = await self.launch()
        await process.become_ready()
        return process

    async def kill(self) -> None:
        if self.process is not None:
            await self.process.kill()
