"""The worker's decoder children: as many processes as cores, each working on one photo at a time.

A child that hangs is killed, one that dies is replaced; what waited goes on with the replacement.
A child keeps the pictures it has decoded, so a photo's stages go to the child that has it. Which
task is next, ``handlers.decoder.queue`` decides.
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
from handlers.decoder.sandbox import Confinement, Sandbox, identity, may_limit
from handlers.registry import find_stages
from handlers.stage import Output, StageContext, StageFailure
from store.background import Background

logger = logging.getLogger("photolog.worker")

PATIENCE_S = 0.5
"""So long a task leaves another child idle rather than have its picture decoded twice. As long, and
longer, work on one task holds up those that wait for the same child."""

STARTS = 3
"""How often a child is started before it counts as one that does not start."""

START_PAUSE_S = 1.0
"""The system that killed one, as for want of memory, gets this long before the next."""

PREEMPTED = "preempted"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as a picture that takes long, in seconds.

    ``expensive_s`` of expected processor time, as a photo of 20 megapixels takes a fifth of it in
    any format. ``slow_s`` of real time: on a busy machine, or with a file that is slower to decode
    than its header tells. Of several decoders one is always left for what takes less.
    """

    expensive_s: float = 2.0
    slow_s: float = 10.0


class DecoderPool:
    """The pool. Enter it before use; leaving it kills the children and fails what still waits.

    Args:
        count: Processes; by default one a core, or fewer if the memory is not enough for them.
        registry: The stage table, ``module:TABLE``, which the children import too.
        memory_bytes: Address space of one child. 3 GiB decodes 150 million pixels of any format:
            at 144 million WebP took 2.6 GiB, 16-bit PNG 1.6, AVIF and TIFF 1.3, JPEG 0.1 to 0.9.
        budget_bytes: Memory of all children together; by default as much as each one may use.
        cache_bytes: Decoded pictures that one child keeps; one takes 10 MB at 1920 pixels.
        answer_bytes: Largest answer that is taken from a child, with all pictures in it.

    Raises:
        KeyError: this machine knows no user of the name that the sandbox gives.
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
        """Children replaced so far, by the code of the failure that ended them."""

    async def __aenter__(self) -> Self:
        """Start the children; one that does not start yet is tried again while others work.

        Raises:
            StageFailure: none starts; their standard error says why.
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
            # The address space of a decoder is bounded all the same, only not for each photo anew.
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
        """Children that there are."""
        return len(self._children)

    @property
    def waiting(self) -> int:
        """Tasks that no child has begun."""
        return len(self._queue.waiting)

    @property
    def busy(self) -> int:
        """Children at work."""
        return sum(child.task is not None for child in self._children)

    @property
    def confinement(self) -> Confinement:
        """What confines all of the children, and what is missing around any."""
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
    ) -> Output:
        """Run ``stage`` on the file ``source`` of the photo ``affinity``, for ``client``.

        With ``sha256`` the file is read only if it has these bytes.

        ``timeout_s`` counts from when a child begins. Cancelled, a task that waits is forgotten,
        and one under way ends in its time and is dropped.

        Raises:
            BadImage: the bytes are no picture that we can or want to read.
            StageFailure: ``decode-timeout``, ``decoder-died``, ``out-of-memory`` or
                ``needs-too-much-memory``, of category resource; ``blob-damaged`` or
                ``answer-too-large``, of category configuration; ``forbidden-call`` or
                ``bad-answer``, of category security; ``stage-crashed``, a bug in a stage, of
                category logic; ``decoders-stopped``, temporary, when the pool is left.
        """
        task = DecodeTask(
            stage, affinity, source, client=client, timeout_s=timeout_s, sha256=sha256
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
            # All at once: they take their time to import.
            async with anyio.create_task_group() as starting:
                for child in self._children:
                    starting.start_soon(self._try_start, child)
            if any(child.is_running for child in self._children):
                return
            await anyio.sleep(START_PAUSE_S)
        await self._children[0].running()

    async def _try_start(self, child: "_Child") -> bool:
        """Whether the child runs now, started anew if it was gone."""
        try:
            await child.running()
        except StageFailure as failure:
            self.restarts[failure.code] += 1
            logger.warning("a decoder process did not start")
            return False
        return True

    async def _run_child(self, child: "_Child") -> None:
        """Give one child its tasks, one after the other, and replace it when it is gone."""
        while True:
            for _ in range(STARTS):
                if await self._try_start(child):
                    break
                await anyio.sleep(START_PAUSE_S)
            # If it did not start, the next task tries again and is told why.
            while (task := self._next_task(child)) is None:
                with anyio.move_on_after(PATIENCE_S if self._queue.waiting else math.inf):
                    await self._changed.wait()
            await self._serve(child, task)
            # What this child was working on may have kept the others from tasks of that photo.
            self._wake()

    def _next_task(self, child: "_Child") -> "DecodeTask | None":
        """The next task for the child, which begins to work on it."""
        others = [each for each in self._children if each is not child]
        since = anyio.current_time() - PATIENCE_S

        def others_have(photo: str) -> bool:
            return any(each.has(photo) for each in others)

        def is_stuck(photo: str) -> bool:
            """With all that have it."""
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
            task.ended.set()  # without an outcome: the pool is being left
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
        """What came of it; None for a task that has to wait once more."""
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
            return bad_answer("a result of another kind")
        return Output(result=result, renditions=answer.renditions)

    async def _watch(self, task: DecodeTask) -> None:
        await anyio.sleep(self._pace.slow_s)
        self._queue.mark_slow(task)
        await self._make_room()

    async def _make_room(self) -> None:
        """Take a decoder from slow pictures, if they have all of several and others wait.

        It is taken from the last to begin of those that were thought to be quick. That one begins
        anew when one of the slow has ended: no task loses its decoder twice.
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
        logger.info("a picture that takes long waits for others: %s", victim.request.photo)
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
        """For how many seconds it has worked on its task."""
        self.task = None
        return self._stopwatch.seconds(self.process)

    def has(self, photo: str) -> bool:
        """Whether the picture of ``photo`` is decoded here, or is about to be."""
        if self.task is not None and self.task.request.photo == photo:
            return True
        return self.process is not None and self.process.is_running and photo in self.process.held

    def is_at_work_since(self, time: float) -> bool:
        """Whether what it is working on was begun by then."""
        return self.task is not None and self.task.began <= time

    async def launch(self) -> DecoderProcess:
        self.process = await DecoderProcess.launch(self._setup)
        return self.process

    async def running(self) -> DecoderProcess:
        """The process, started anew if it is gone."""
        if self.process is not None and self.process.is_running:
            return self.process
        process = await self.launch()
        await process.become_ready()
        return process

    async def kill(self) -> None:
        if self.process is not None:
            await self.process.kill()
