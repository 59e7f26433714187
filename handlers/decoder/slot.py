"""A slot of the pool: a decoder process or its replacement, and what it works on."""

from handlers.decoder.process import DecoderProcess, Stopwatch
from handlers.decoder.protocol import Setup
from handlers.decoder.queue import DecodeTask
from handlers.decoder.shortage import StartFailure

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0
"""Bounds of the pause before another start; it doubles with each failure."""


class Slot:
    """One decoder process at a time.

    ``failure`` is why the last process did not start, or ended before its first task; None while
    one runs or starts for the first time.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.process: DecoderProcess | None = None
        self.task: DecodeTask | None = None
        self.failure: StartFailure | None = None
        self.failed_starts = 0
        self._stopwatch = Stopwatch(None)

    @property
    def is_running(self) -> bool:
        """Whether the process has started and not ended."""
        return self.process is not None and self.process.is_ready and self.process.is_running

    @property
    def pause_s(self) -> float:
        """How long to wait before the next start."""
        if self.failed_starts == 0:
            return 0.0
        return min(FIRST_PAUSE_S * 2 ** (self.failed_starts - 1), LONGEST_PAUSE_S)

    async def start(self) -> DecoderProcess:
        """Start a process; raises StartFailure."""
        try:
            self.process = await DecoderProcess.launch(self._setup)
            await self.process.become_ready()
        except StartFailure as failure:
            self.failed(failure)
            raise
        self.failure = None
        return self.process

    def failed(self, failure: StartFailure) -> None:
        """Note that a process did not start, or ended before its first task."""
        self.failure = failure
        self.failed_starts += 1

    def begin(self, task: DecodeTask) -> None:
        self.task = task
        self._stopwatch = Stopwatch(self.process)

    def end(self) -> float:
        """End the task; return how many seconds the process has worked on it."""
        self.task = None
        if self.process is not None and self.process.has_worked:
            self.failed_starts = 0
        return self._stopwatch.seconds(self.process)

    def has(self, photo: str) -> bool:
        """Return whether the picture of ``photo`` is decoded here, or is about to be."""
        if self.task is not None and self.task.request.photo == photo:
            return True
        return self.process is not None and self.is_running and photo in self.process.held

    def is_at_work_since(self, time: float) -> bool:
        """Return whether it has been working on its task since ``time``."""
        return self.task is not None and self.task.began <= time

    async def kill(self) -> None:
        if self.process is not None:
            await self.process.kill()
