"""Starts the process of ``unpacking`` when it is needed, and talks to it."""

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from typing import IO, Self

import msgspec
from anyio import to_thread

from projections.models import history_pages
from projections.models.history_pages import Stored
from projections.unpacking import Answer, Begin, Damaged, Request, Unpack, Unpacked, frame, receive
from store.errors import Corrupt
from store.log.archived import Sealed

_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

SETTINGS = "PHOTOLOG_"
"""How the variables begin that the process does not need, such as passwords."""

PIPE_BYTES = 1 << 20
"""The capacity of a pipe, in bytes: the most that Linux allows every user by default."""

COMMAND = (sys.executable, "-P", "-m", "projections.unpacking")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Ended(Exception):
    """The process has ended, or could not be started."""


class Unpacker:
    """The process, which lives until the block ends. It answers in the order of the requests.

    Send and receive in two tasks: a request is taken only while the answers are received.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, if there is one; the next request is for a new one."""
        process, self.process = self.process, None
        self._is_ready = False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not sent
                if pipe is not None:
                    pipe.close()

    async def start(self) -> None:
        """Return once the process is ready for requests; raises Ended."""
        if not self._is_ready:
            await to_thread.run_sync(self._start)
            await to_thread.run_sync(self._receive, abandon_on_cancel=True)
            self._is_ready = True

    async def begin(self, waiting: list[Stored]) -> None:
        """Begin a partition, whose events ``waiting`` fill no page yet; raises Ended."""
        await self.start()
        begin = Begin(waiting, history_pages.PAGE)
        await to_thread.run_sync(self._send, begin, abandon_on_cancel=True)

    async def send(self, request: Unpack) -> None:
        """Send a request; raises Ended."""
        await to_thread.run_sync(self._send, request, abandon_on_cancel=True)

    async def receive(self, sealed: Sealed) -> Unpacked:
        """Return the answer to the next request, which was about this segment.

        Raises:
            Corrupt: the segment is damaged.
            Ended: there is no answer.
        """
        answer = await to_thread.run_sync(self._receive, abandon_on_cancel=True)
        if isinstance(answer, Unpacked) and answer.sha256 == sealed.sha256:
            return answer
        what = answer.what if isinstance(answer, Damaged) else "its bytes differ from its index"
        raise Corrupt(f"segment {sealed.name}: {what}")

    def _start(self) -> None:
        if self.process is not None:
            return
        try:
            self.process = subprocess.Popen(  # noqa: S603 # a constant
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)},
                start_new_session=True,  # Ctrl-C in the terminal is for this process alone
            )
        except OSError as error:
            raise Ended from error
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _widen(pipe)

    def _send(self, request: Request) -> None:
        if self.process is None or self.process.stdin is None:
            raise Ended
        try:
            self.process.stdin.write(frame(request))
            self.process.stdin.flush()
        except (OSError, ValueError) as error:  # a ValueError once it is closed
            raise Ended from error

    def _receive(self) -> Answer:
        if self.process is None or self.process.stdout is None:
            raise Ended
        try:
            found = receive(self.process.stdout)
        except (OSError, ValueError) as error:
            raise Ended from error
        if found is None:
            raise Ended
        return _answers.decode(found)


def _widen(pipe: IO[bytes]) -> None:
    """Let the pipe hold a message or two: each read of a full one waits for the interpreter."""
    if sys.platform == "linux":
        with suppress(OSError):  # beyond what the system allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
