"""A decoder child as its worker sees it: a process that may end at any request."""

import contextlib
import os
import signal
import sys
from typing import cast

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from domain.failures import Category
from handlers.protocol import (
    HEADER,
    MAX_FRAME_BYTES,
    Answer,
    Done,
    Failed,
    Ready,
    Request,
    Setup,
    frame,
)
from handlers.stage import BadImage, StageFailed

START_TIMEOUT_S = 30.0

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

    def __init__(self, process: Process) -> None:
        self._process = process
        # Both are pipes: anyio makes them so unless told otherwise.
        self._requests = cast("ByteSendStream", process.stdin)
        self._incoming = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        self.held: tuple[str, ...] = ()

    @classmethod
    async def launch(cls, setup: Setup) -> "DecoderProcess":
        """Start the process; it can be asked after ``become_ready``.

        Raises:
            StageFailed: the system has no room for another process.
        """
        argument = msgspec.json.encode(setup).decode()
        try:
            process = await anyio.open_process(
                [sys.executable, "-P", "-m", "handlers.child", argument],
                stderr=None,
                env=environment(),
            )
        except OSError as error:
            raise _no_start() from error
        return cls(process)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def become_ready(self) -> None:
        """Wait until the child has imported everything, so that no task has to.

        Raises:
            StageFailed: it did not come so far and is gone; its standard error says why.
        """
        answer = None
        with anyio.move_on_after(START_TIMEOUT_S), contextlib.suppress(_Gone):
            answer = await self._receive()
        if not isinstance(answer, Ready):
            await self.kill()
            raise _no_start()

    async def ask(self, request: Request, timeout_s: float) -> Done:
        """The answer to one request.

        Raises:
            StageFailed: as the child says, or ``decode-timeout`` and ``decoder-died``, after which
                the process is gone.
        """
        try:
            with anyio.fail_after(timeout_s):
                answer = await self._exchange(request)
        except TimeoutError as error:
            await self.kill()
            message = f"The stage took longer than {timeout_s:g} s and was stopped."
            raise StageFailed(Category.RESOURCE, "decode-timeout", message) from error
        except _Gone as error:
            message = f"The decoder process ended: {await self._end()}."
            raise StageFailed(Category.RESOURCE, "decoder-died", message) from error
        self.held = answer.held
        if isinstance(answer, Failed):
            raise _failure(answer)
        return answer

    async def kill(self) -> None:
        """End the process, if it has not ended, and close its pipes."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        with anyio.CancelScope(shield=True):
            await self._process.aclose()

    async def _end(self) -> str:
        """How it ended; one whose pipes are closed is about to, or is made to."""
        with anyio.move_on_after(1):
            await self._process.wait()
        await self.kill()
        status = self._process.returncode or 0
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    async def _exchange(self, request: Request) -> Done | Failed:
        try:
            await self._requests.send(frame(request))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _Gone from error
        answer = await self._receive()
        if isinstance(answer, Ready):
            raise _Gone
        return answer

    async def _receive(self) -> Answer:
        try:
            (length,) = HEADER.unpack(await self._incoming.receive_exactly(HEADER.size))
            if length > MAX_FRAME_BYTES:
                raise _Gone
            return _answers.decode(await self._incoming.receive_exactly(length))
        except (
            anyio.IncompleteRead,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            msgspec.DecodeError,
        ) as error:
            raise _Gone from error


class _Gone(Exception):
    """The child's pipes ended, or carry something that is no answer."""


def _no_start() -> StageFailed:
    message = "No decoder process could be started."
    return StageFailed(Category.RESOURCE, "decoder-does-not-start", message)


def _failure(answer: Failed) -> StageFailed:
    if answer.bad_image:
        return BadImage(answer.code, answer.message, answer.category)
    return StageFailed(answer.category, answer.code, answer.message)
