"""The worker's decoder children: as many processes as cores, each working on one photo at a time.

A child that hangs is killed, one that dies is replaced; what waited goes on with the replacement.
A child keeps the pictures it has decoded, so a photo's stages go to the child that has it.
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

from domain.failures import Category
from handlers.process import DecoderProcess
from handlers.protocol import Done, Request, Setup
from handlers.registry import ORIGINAL, find_stages
from handlers.stage import Context, Output, StageFailed
from store.background import Background

logger = logging.getLogger("photolog.worker")

PATIENCE_S = 0.5
"""After this long a task no longer waits for the child that has its picture decoded."""

STARTS = 3
"""How often a child is started before it counts as one that does not start."""

START_PAUSE_S = 1.0
"""The system that killed one, as for want of memory, gets this long before the next."""


class Children:
    """The pool. Enter it before use; leaving it kills the children and fails what still waits.

    Args:
        count: Processes; by default one a core.
        registry: The stage table, ``module:TABLE``, which the children import too.
        memory_bytes: Address space of one child. 3 GiB decodes 150 million pixels of any format:
            at 144 million WebP took 2.6 GiB, 16-bit PNG 1.6, AVIF and TIFF 1.3, JPEG 0.1 to 0.9.
        cache_bytes: Decoded pictures that one child keeps; one takes 10 MB at 1920 pixels.
    """

    def __init__(
        self,
        *,
        count: int | None = None,
        registry: str = "handlers.registry:STAGES",
        context: Context | None = None,
        memory_bytes: int = 3 << 30,
        cache_bytes: int = 64 << 20,
        background: Background | None = None,
    ) -> None:
        self._background = background or Background()
        self._stages = find_stages(registry)
        setup = Setup(
            registry=registry,
            parent=os.getpid(),
            memory_bytes=memory_bytes,
            cache_bytes=cache_bytes,
            context=context or Context(),
        )
        self._children = [_Child(setup) for _ in range(count or os.cpu_count() or 1)]
        self._waiting: list[_Job] = []
        self._changed = anyio.Event()
        self._stopped = False
        self._stack = contextlib.AsyncExitStack()
        self.restarts: Counter[str] = Counter()
        """Children replaced so far, by the code of the failure that ended them."""

    async def __aenter__(self) -> Self:
        """Start the children; one that does not start yet is tried again while others work.

        Raises:
            StageFailed: none starts; their standard error says why.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            await self._start_all()
            tending = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tending.cancel_scope.cancel)
            for child in self._children:
                tend = partial(self._tend, child)
                tending.start_soon(self._background.keep, "decoder", tend)
            self._stack = stack.pop_all()
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
        for job in self._waiting:
            job.ended.set()

    @property
    def count(self) -> int:
        """Children that there are."""
        return len(self._children)

    @property
    def waiting(self) -> int:
        """Tasks that no child has begun."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Children at work."""
        return sum(child.job is not None for child in self._children)

    async def run(
        self,
        *,
        stage: str,
        affinity: str,
        source: Path,
        timeout_s: float,
        sha256: str | None = None,
    ) -> Output:
        """Run ``stage`` on the file ``source`` of the photo ``affinity``.

        With ``sha256`` the file is read only if it has these bytes.

        ``timeout_s`` counts from when a child begins. Cancelled, a task that waits is forgotten,
        and one under way ends in its time and is dropped.

        Raises:
            BadImage: the bytes are no picture that we can or want to read.
            StageFailed: ``decode-timeout``, ``decoder-died`` or ``out-of-memory``, of category
                resource; ``blob-damaged``, of category configuration, for other bytes;
                ``stage-crashed``, a bug in a stage, of category logic; ``decoders-stopped``,
                temporary, when the pool is left.
        """
        request = Request(stage=stage, path=str(source), photo=affinity, sha256=sha256)
        job = _Job(request, timeout_s)
        if not self._stopped:
            self._waiting.append(job)
            self._wake()
            try:
                await job.ended.wait()
            finally:
                if job in self._waiting:
                    self._waiting.remove(job)
        if isinstance(job.outcome, StageFailed):
            raise job.outcome
        if job.outcome is None:
            message = "The worker stopped before this stage was done."
            raise StageFailed(Category.TEMPORARY, "decoders-stopped", message)
        return Output(
            result=msgspec.msgpack.decode(job.outcome.result, type=self._stages[stage].result),
            renditions=job.outcome.renditions,
        )

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
        except StageFailed as failure:
            self.restarts[failure.code] += 1
            logger.warning("a decoder process did not start")
            return False
        return True

    async def _tend(self, child: "_Child") -> None:
        """Give one child its tasks, one after the other, and replace it when it is gone."""
        while True:
            for _ in range(STARTS):
                if await self._try_start(child):
                    break
                await anyio.sleep(START_PAUSE_S)
            # If it did not start, the next task tries again and is told why.
            while (job := self._pick(child)) is None:
                with anyio.move_on_after(PATIENCE_S if self._waiting else math.inf):
                    await self._changed.wait()
            self._waiting.remove(job)
            await self._serve(child, job)
            # What this child was working on may have kept the others from tasks of that photo.
            self._wake()

    async def _serve(self, child: "_Child", job: "_Job") -> None:
        child.job = job
        try:
            process = await child.running()
            job.outcome = await process.ask(job.request, job.timeout_s)
        except StageFailed as failure:
            job.outcome = failure
            if not child.is_running:
                self.restarts[failure.code] += 1
        finally:
            child.job = None
            job.ended.set()

    def _pick(self, child: "_Child") -> "_Job | None":
        """The oldest task whose picture ``child`` has; else the oldest that has to be decoded
        anyway; else the oldest that has waited too long for another child.
        """
        others = [each for each in self._children if each is not child]
        free = impatient = None
        for job in self._waiting:
            photo = job.request.photo
            if child.has(photo):
                return job
            if not self._is_decoded(job) or not any(each.has(photo) for each in others):
                free = free or job
            elif anyio.current_time() >= job.since + PATIENCE_S:
                impatient = impatient or job
        return free or impatient

    def _is_decoded(self, job: "_Job") -> bool:
        stage = self._stages.get(job.request.stage)
        return stage is not None and stage.needs == ORIGINAL


class _Job:
    """A request on its way. ``outcome`` stays None if the pool is left before it has one."""

    def __init__(self, request: Request, timeout_s: float) -> None:
        self.request = request
        self.timeout_s = timeout_s
        self.since = anyio.current_time()
        self.ended = anyio.Event()
        self.outcome: Done | StageFailed | None = None


class _Child:
    """One decoder process, or its replacement, and what it is working on."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.process: DecoderProcess | None = None
        self.job: _Job | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def has(self, photo: str) -> bool:
        """Whether the picture of ``photo`` is decoded here, or is about to be."""
        if self.job is not None and self.job.request.photo == photo:
            return True
        return self.process is not None and self.process.is_running and photo in self.process.held

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
