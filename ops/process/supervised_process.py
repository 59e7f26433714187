"""One process of a system, restarted whenever it ends."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable

from handlers.parent_death import bound_to_parent
from store.background import Background

logger = logging.getLogger("photolog.supervisor")

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 5.0
STEADY_S = 30.0
"""After a run this long, the back-off begins again."""


class SupervisedProcess:
    """Keep a process running until ``stop``.

    ``command`` is called at each start; the process inherits ``fds``. ``last_words`` returns what
    the process itself reported about an unexpected end. ``exits`` counts the unexpected ends.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], list[str]],
        *,
        environment: dict[str, str],
        fds: tuple[int, ...],
        background: Background,
        last_words: Callable[[], str] = str,
    ) -> None:
        self.name = name
        self._background = background
        self.exits = 0
        self._command = command
        self._environment = environment
        self._fds = fds
        self._last_words = last_words
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._kept = asyncio.create_task(background.keep("process", self._keep, part=name))

    async def stop(self, patience_s: float) -> None:
        """Send SIGTERM, and SIGKILL after ``patience_s``."""
        self._stopping.set()
        self._send(signal.SIGTERM)
        ended, _ = await asyncio.wait([self._kept], timeout=patience_s)
        if not ended:
            logger.warning("%s did not end within %g s: killing it", self.name, patience_s)
            await self.kill()

    async def kill(self) -> None:
        self._stopping.set()
        self._send(signal.SIGKILL)
        await asyncio.wait([self._kept])

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            reason = await self._run()
            if self._stopping.is_set():
                return
            self.exits += 1
            if time.monotonic() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            words = "".join(f"\n    {line}" for line in self._last_words().splitlines())
            logger.warning("%s %s: restarting it in %.1f s%s", self.name, reason, pause_s, words)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    async def _run(self) -> str:
        """Start the process, unless it runs, wait for its end, and return how it ended."""
        runs = self._process is not None and self._process.returncode is None
        failure = None if runs else await self._start()
        return await self._wait() if failure is None else failure

    async def _start(self) -> str | None:
        """Start the process; return why that failed, or None."""
        try:
            # A session of its own: Ctrl-C in the terminal is for the supervisor alone.
            self._process = await asyncio.create_subprocess_exec(
                *bound_to_parent(self._command()),
                env=self._environment,
                pass_fds=self._fds,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return f"could not be started ({error.strerror})"
        logger.info("started %s as process %d", self.name, self._process.pid)
        if self._stopping.is_set():  # ``stop`` was called during the start
            self._send(signal.SIGTERM)
        return None

    async def _wait(self) -> str:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        status = await self._process.wait()
        if status < 0:
            return f"was killed by {_signal_name(-status)}"
        return f"ended with status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
