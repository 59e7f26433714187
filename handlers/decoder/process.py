"""A decoder child as its worker sees it: a process that may end at any request, or lie.

An attacker's code in the child may have written its answers. So they are bounded before they are
read, decoded strictly, and checked (see ``handlers.decoder.answers``). A child that gives an
invalid answer is killed.

A process that does not start raises ``StartFailure``, and one that ends before it has read a
request raises ``NotTaken``: neither is the fault of a photo.
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
from handlers.decoder.shortage import StartFailure, reason_of_end, shortage, unavailable
from handlers.stage import BadImage, StageFailure
from store.queue.decoder_outages import Reason

logger = logging.getLogger("photolog.worker")

START_TIMEOUT_S = 30.0

BAD_ANSWER = "bad-answer"
DECODER_DIED = "decoder-died"

MEMORY_LIMIT = "memory-limit"
"""Reported as missing if decoders limit themselves: the worker may not limit another user."""

ROOM_BYTES = 256 << 20
"""Address space beyond a decode's memory: fragments, arenas, stacks of a codec's threads."""

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # The JPEG decoder imports NumPy, whose linear algebra would start a thread for each core.
    "OPENBLAS_NUM_THREADS": "1",
    # Reuse the memory of one picture for the next instead of returning it in between: page faults
    # drop from 500,000 to 24,000 in 40 photos, and the time by a tenth (glibc, mallopt(3)).
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


def environment() -> dict[str, str]:
    """Return a decoder's environment: the import path, and nothing else of the worker's."""
    path = os.pathsep.join(entry or "." for entry in sys.path)
    return _ENVIRONMENT | {"PYTHONPATH": path}


_answers = msgspec.msgpack.Decoder(Answer)


class NotTaken(Exception):
    """The process ended before it had read the request, or the machine could not pass it on."""


class DecoderProcess:
    """One decoder process. ``held`` names the photos whose decoded pictures it keeps.

    ``is_ready`` once it has started; ``has_worked`` once it has read a request.
    """

    def __init__(self, setup: Setup, process: Process, line: UNIXSocketStream) -> None:
        self._setup = setup
        self._process = process
        self._line = line
        self._incoming = BufferedByteReceiveStream(line)
        self._idle_bytes: int | None = None
        self.held: tuple[str, ...] = ()
        self.confinement = Confinement()
        self.is_ready = self.has_worked = False

    @classmethod
    async def launch(cls, setup: Setup) -> "DecoderProcess":
        """Start the process; call ``become_ready`` before ``ask``.

        Raises:
            StartFailure: the system has no room for another process.
        """
        argument = msgspec.json.encode(setup).decode()
        try:
            own_end, child_end = socket.socketpair()
        except OSError as error:
            raise StartFailure(shortage(error) or "no-descriptors") from error
        with child_end:
            line = await UNIXSocketStream.from_socket(own_end)
            try:
                process = await anyio.open_process(
                    [sys.executable, "-P", "-m", "handlers.decoder.child", argument],
                    stdin=child_end.fileno(),
                    stderr=None,
                    stdout=None,
                    env=environment(),
                )
            # Python 3.11 starts a thread that waits for the process: that may fail too.
            except (OSError, RuntimeError, MemoryError) as error:
                await line.aclose()
                raise StartFailure(shortage(error) or "not-executable") from error
            except BaseException:  # cancelled: the process ends with its line
                with anyio.CancelScope(shield=True):
                    await line.aclose()
                raise
        return cls(setup, process, line)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    @property
    def reason_of_end(self) -> Reason:
        """Why the process has ended, if no request is the cause."""
        return reason_of_end(self._process.returncode)

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()

    def cpu_s(self) -> float | None:
        """Return the processor time used; None if the process has ended or it is unknown."""
        try:
            return time.clock_gettime(_cpu_clock(self._process.pid))
        except OSError:
            return None

    async def become_ready(self) -> None:
        """Wait until the child has loaded everything, so that no task waits for that.

        Raises:
            StartFailure: the child did not start and is gone; its standard error may say why.
        """
        answer = None
        with anyio.move_on_after(START_TIMEOUT_S) as waiting, contextlib.suppress(_Gone):
            answer = await self._receive()
        if not isinstance(answer, Ready):
            status = await self._end()
            raise StartFailure("no-answer" if waiting.cancelled_caught else reason_of_end(status))
        self.is_ready = True
        self._idle_bytes = answer.size_bytes
        self.confinement = answer.confinement
        if self._setup.limits_itself:
            missing = *answer.confinement.missing, MEMORY_LIMIT
            self.confinement = msgspec.structs.replace(answer.confinement, missing=missing)

    async def ask(self, request: Request, file: Path | None, timeout_s: float) -> Done | Costly:
        """Send a request for a file or a held picture, and return the answer.

        Raises:
            NotTaken: the process has ended, or is to be ended, and has not read the request.
            StageFailure: the child's own failure, ``unreadable-file``, ``decoders-unavailable``,
                or one that ends the process: ``decode-timeout``, ``decoder-died``,
                ``forbidden-call``, ``bad-answer``.
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
            self.has_worked = True
            raise await self._exit_failure() from error
        self.has_worked = True
        held = {*self.held, request.photo}
        self.held = tuple(each for each in answer.held if each in held)
        if isinstance(answer, Failed):
            if answer.trace:
                logger.error("a bug in stage %s:%s", request.stage, answers.quoted(answer.trace))
            raise _failure(answer)
        if flaw := answers.flaw(answer):
            await self.kill()
            raise bad_answer(flaw)
        return answer

    async def kill(self) -> None:
        """Kill the process if it is running, and close the socket to it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        with anyio.CancelScope(shield=True):
            await self._line.aclose()
            await self._process.aclose()

    def _limit(self, decode_bytes: int) -> int | None:
        """Limit the address space for one decode; return the limit, None if nothing is known."""
        if self._idle_bytes is None:
            return None
        hard = self._setup.memory_bytes
        most = self._idle_bytes + self._setup.cache_bytes + ROOM_BYTES + decode_bytes
        most = min(most, hard)
        if sys.platform == "linux" and not self._setup.limits_itself:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._process.pid, resource.RLIMIT_AS, (most, hard))
        return most

    async def _end(self) -> int:
        """End the process if it does not end by itself, and return its exit status."""
        with anyio.move_on_after(1):
            await self._process.wait()
        await self.kill()
        return self._process.returncode or 0

    async def _exit_failure(self) -> StageFailure:
        """End the process if it has not ended, and return how it ended as a failure."""
        status = await self._end()
        if status == -signal.SIGSYS:
            message = "The sandbox ended the decoder because it made a forbidden system call."
            return StageFailure(Category.SECURITY, "forbidden-call", message)
        how = _signal_name(-status) if status < 0 else f"exit status {status}"
        message = f"The decoder process ended: {how}."
        return StageFailure(Category.RESOURCE, DECODER_DIED, message)

    async def _exchange(self, request: Request, file: Path | None) -> Done | Failed | Costly:
        try:
            if file is None:
                await self._line.send(frame(request))
            else:
                with await _open(file) as descriptor:
                    await self._line.send_fds(frame(request), [descriptor])
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise await self._not_taken() from error
        try:
            answer = await self._receive()
        except _Gone as gone:
            # The kernel resets a connection that ends before all that was sent is read: unix(7).
            if isinstance(gone.__cause__, anyio.BrokenResourceError):
                raise await self._not_taken() from gone
            raise
        if isinstance(answer, Ready):
            raise _Gone
        return answer

    async def _not_taken(self) -> NotTaken:
        await self.kill()
        return NotTaken("the decoder ended before it had read the request")

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
    """Measures processor time, so that nobody pays for other load on the machine; or real time, if
    the process started or ended meanwhile or its processor time is unknown."""

    def __init__(self, process: DecoderProcess | None) -> None:
        self._process = process
        self._cpu_s = process.cpu_s() if process else None
        self._began = anyio.current_time()

    def seconds(self, process: DecoderProcess | None) -> float:
        """Return the time since the stopwatch was made; ``process`` is the one that works now."""
        cpu_s = process.cpu_s() if process and process is self._process else None
        if cpu_s is None or self._cpu_s is None:
            return anyio.current_time() - self._began
        return cpu_s - self._cpu_s


class _Gone(Exception):
    """The connection to the child ended, or it sent something other than an answer."""


@contextlib.contextmanager
def _closing(descriptor: int) -> Generator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _open(file: Path) -> contextlib.AbstractContextManager[int]:
    """Open the file for reading until the end of the context."""
    try:
        descriptor = await to_thread.run_sync(os.open, file, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, RuntimeError, MemoryError) as error:
        if shortage(error):
            raise unavailable() from error
        if not isinstance(error, OSError):
            raise
        message = f"The file cannot be read: {error.strerror}."
        raise StageFailure(Category.TEMPORARY, "unreadable-file", message) from error
    return _closing(descriptor)


def _cpu_clock(pid: int) -> int:
    """Return the clock that clock_getcpuclockid(3) gives on Linux; elsewhere it does not exist."""
    return (~pid << 3) | 2


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def bad_answer(flaw: str) -> StageFailure:
    """Return the failure of a decoder whose answer no stage can have given."""
    message = f"The decoder returned an invalid answer: {flaw}."
    return StageFailure(Category.SECURITY, BAD_ANSWER, message)


def _failure(answer: Failed) -> StageFailure:
    code, message = answers.code(answer.code), answers.message(answer.message)
    if answer.bad_image:
        return BadImage(code, message, answer.category)
    return StageFailure(answer.category, code, message)
