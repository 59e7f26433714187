"""A decoder child as its worker sees it: a process that may end at any request, or lie.

Its answers are taken for what another's code in it may have written: bounded before they are read,
decoded strictly, and looked at (see ``handlers.decoder.answers``). One that is not as it should be
ends it.
"""

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import Process, UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from domain.pipeline.failures import Category
from handlers.decoder import answers
from handlers.decoder.protocol import (
    HEADER,
    Answer,
    Costly,
    Done,
    Failed,
    Ready,
    Request,
    Setup,
    frame,
)
from handlers.decoder.sandbox import Confinement
from handlers.stage import BadImage, StageFailure

logger = logging.getLogger("photolog.worker")

START_TIMEOUT_S = 30.0

BAD_ANSWER = "bad-answer"

MEMORY_LIMIT = "memory-limit"
"""Missing where decoders limit themselves, for the worker may not set limits of another user."""

ROOM_BYTES = 256 << 20
"""Address space beyond what a decode needs: fragments, arenas and stacks of a codec's threads."""

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    # Memory of one picture is reused for the next and not given back in between: this takes page
    # faults from 500,000 to 24,000 in 40 photos and a tenth off the time (glibc, mallopt(3)).
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


def environment() -> dict[str, str]:
    """That of a decoder: where our packages are, and nothing of the worker's own."""
    path = os.pathsep.join(entry or "." for entry in sys.path)
    return _ENVIRONMENT | {"PYTHONPATH": path}


_answers = msgspec.msgpack.Decoder(Answer)


class DecoderProcess:
    """``held`` names the photos whose pictures it keeps decoded."""

    def __init__(self, setup: Setup, process: Process, line: UNIXSocketStream) -> None:
        self._setup = setup
        self._process = process
        self._line = line
        self._incoming = BufferedByteReceiveStream(line)
        self._idle_bytes: int | None = None
        self.held: tuple[str, ...] = ()
        self.confinement = Confinement()

    @classmethod
    async def launch(cls, setup: Setup) -> "DecoderProcess":
        """Start the process; it can be asked after ``become_ready``.

        Raises:
            StageFailure: the system has no room for another process.
        """
        argument = msgspec.json.encode(setup).decode()
        try:
            ours, its = socket.socketpair()
        except OSError as error:
            raise _start_failure() from error
        with its:
            line = await UNIXSocketStream.from_socket(ours)
            try:
                process = await anyio.open_process(
                    [sys.executable, "-P", "-m", "handlers.decoder.child", argument],
                    stdin=its.fileno(),
                    stderr=None,
                    stdout=None,
                    env=environment(),
                )
            except OSError as error:
                await line.aclose()
                raise _start_failure() from error
        return cls(setup, process, line)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def cpu_s(self) -> float | None:
        """Processor time that it has used; None if it has ended, or the system does not tell."""
        try:
            return time.clock_gettime(_cpu_clock(self._process.pid))
        except OSError:
            return None

    async def become_ready(self) -> None:
        """Wait until the child has loaded everything, so that no task has to.

        Raises:
            StageFailure: it did not come so far and is gone; its standard error says why.
        """
        answer = None
        with anyio.move_on_after(START_TIMEOUT_S), contextlib.suppress(_Gone):
            answer = await self._receive()
        if not isinstance(answer, Ready):
            await self.kill()
            raise _start_failure()
        self._idle_bytes = answer.size_bytes
        self.confinement = answer.confinement
        if self._setup.limits_itself:
            missing = *answer.confinement.missing, MEMORY_LIMIT
            self.confinement = msgspec.structs.replace(answer.confinement, missing=missing)

    async def ask(self, request: Request, file: Path | None, timeout_s: float) -> Done | Costly:
        """The answer to one request about a file, or about a picture that is held.

        Raises:
            StageFailure: as the child says, ``unreadable-file``, or one after which the process is
                gone: ``decode-timeout``, ``decoder-died``, ``forbidden-call``, ``bad-answer``.
        """
        limit_bytes = self._limit(request.allowed.memory_bytes)
        request = msgspec.structs.replace(request, limit_bytes=limit_bytes)
        try:
            with anyio.fail_after(timeout_s):
                answer = await self._exchange(request, file)
        except TimeoutError as error:
            await self.kill()
            message = f"The stage took longer than {timeout_s:g} s and was stopped."
            raise StageFailure(Category.RESOURCE, "decode-timeout", message) from error
        except _Gone as error:
            raise await self._exit_failure() from error
        held = {*self.held, request.photo}
        self.held = tuple(each for each in answer.held if each in held)
        if isinstance(answer, Failed):
            if answer.trace:
                logger.error("%s: a bug in a stage:%s", request.stage, answers.quoted(answer.trace))
            raise _failure(answer)
        if flaw := answers.flaw(answer):
            await self.kill()
            raise bad_answer(flaw)
        return answer

    async def kill(self) -> None:
        """End the process, if it has not ended, and close the line to it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        with anyio.CancelScope(shield=True):
            await self._line.aclose()
            await self._process.aclose()

    def _limit(self, decode_bytes: int) -> int | None:
        """The address space that it may have for one decode; None where nothing is known."""
        if self._idle_bytes is None:
            return None
        hard = self._setup.memory_bytes
        most = self._idle_bytes + self._setup.cache_bytes + ROOM_BYTES + decode_bytes
        most = min(most, hard)
        if sys.platform == "linux" and not self._setup.limits_itself:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._process.pid, resource.RLIMIT_AS, (most, hard))
        return most

    async def _exit_failure(self) -> StageFailure:
        """What to say of a process that is gone, or is about to be, or is made to be."""
        with anyio.move_on_after(1):
            await self._process.wait()
        await self.kill()
        status = self._process.returncode or 0
        if status == -signal.SIGSYS:
            message = "The decoder called what no decoder calls, and was ended by its sandbox."
            return StageFailure(Category.SECURITY, "forbidden-call", message)
        how = _signal_name(-status) if status < 0 else f"exit status {status}"
        message = f"The decoder process ended: {how}."
        return StageFailure(Category.RESOURCE, "decoder-died", message)

    async def _exchange(self, request: Request, file: Path | None) -> Done | Failed | Costly:
        try:
            if file is None:
                await self._line.send(frame(request))
            else:
                with await _open(file) as descriptor:
                    await self._line.send_fds(frame(request), [descriptor])
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _Gone from error
        answer = await self._receive()
        if isinstance(answer, Ready):
            raise _Gone
        return answer

    async def _receive(self) -> Answer:
        try:
            (length,) = HEADER.unpack(await self._incoming.receive_exactly(HEADER.size))
            if length > self._setup.answer_bytes:
                raise _Gone
            return _answers.decode(await self._incoming.receive_exactly(length))
        except (
            anyio.IncompleteRead,
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            msgspec.DecodeError,
            RecursionError,
        ) as error:
            raise _Gone from error


class Stopwatch:
    """Processor time of a process, so that nobody pays for what else keeps the machine busy; real
    time where it was started or has ended meanwhile, or the system does not tell."""

    def __init__(self, process: DecoderProcess | None) -> None:
        self._process = process
        self._cpu_s = process.cpu_s() if process else None
        self._began = anyio.current_time()

    def seconds(self, process: DecoderProcess | None) -> float:
        """Since the stopwatch was made, if ``process`` is still the one that does the work."""
        cpu_s = process.cpu_s() if process and process is self._process else None
        if cpu_s is None or self._cpu_s is None:
            return anyio.current_time() - self._began
        return cpu_s - self._cpu_s


class _Gone(Exception):
    """The line to the child ended, or carries something that is no answer."""


@contextlib.contextmanager
def _closing(descriptor: int) -> Generator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _open(file: Path) -> contextlib.AbstractContextManager[int]:
    """The file, opened for reading, until the end of the context."""
    try:
        descriptor = await to_thread.run_sync(os.open, file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        message = f"The file cannot be read: {error.strerror}."
        raise StageFailure(Category.TEMPORARY, "unreadable-file", message) from error
    return _closing(descriptor)


def _cpu_clock(pid: int) -> int:
    """As clock_getcpuclockid(3) makes it on Linux; elsewhere there is no such clock."""
    return (~pid << 3) | 2


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def bad_answer(flaw: str) -> StageFailure:
    """What to say of a decoder whose answer cannot be that of a stage."""
    message = f"The decoder gave an answer that no stage gives: {flaw}."
    return StageFailure(Category.SECURITY, BAD_ANSWER, message)


def _start_failure() -> StageFailure:
    message = "No decoder process could be started."
    return StageFailure(Category.RESOURCE, "decoder-does-not-start", message)


def _failure(answer: Failed) -> StageFailure:
    code, message = answers.code(answer.code), answers.message(answer.message)
    if answer.bad_image:
        return BadImage(code, message, answer.category)
    return StageFailure(answer.category, code, message)
