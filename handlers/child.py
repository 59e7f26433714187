"""The process that decodes: ``python -m handlers.child <setup>``.

It reads the files it is told to and nothing else, writes none, and opens no connection. One bad
file can crash, hang or starve this process, never the worker.
"""

import ctypes
import hashlib
import os
import re
import resource
import signal
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
from PIL import AvifImagePlugin

from domain.failures import Category
from handlers import heic
from handlers.picture import Picture, load
from handlers.protocol import HEADER, Done, Failed, Ready, Request, Setup, frame
from handlers.registry import ORIGINAL, Stage, find_stages
from handlers.stage import BadImage, Context, Output, StageFailed

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

NICENESS = 5
"""Decoding gives way to what people wait for: answers, events, and the next task for a decoder."""

MESSAGE_CHARS = 500
TRACEBACK_FRAMES = 20
TRACEBACK_CHARS = 8_000

_PATH = re.compile(r"/[^\s'\"]+")


class Pictures:
    """Decoded originals by photo, the least recently used dropped first.

    A photo's original never changes, so its picture is never stale.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pictures: OrderedDict[str, Picture] = OrderedDict()

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(self._pictures)

    def get(self, photo: str) -> Picture | None:
        if photo in self._pictures:
            self._pictures.move_to_end(photo)
        return self._pictures.get(photo)

    def put(self, photo: str, picture: Picture) -> None:
        self._pictures[photo] = picture
        while sum(each.size_bytes for each in self._pictures.values()) > self._max_bytes:
            self._pictures.popitem(last=False)

    def clear(self) -> None:
        self._pictures.clear()


class Decoder:
    """Answers requests, one after the other; ``say`` gets the tracebacks of bugs."""

    def __init__(
        self,
        stages: dict[str, Stage],
        context: Context,
        pictures: Pictures,
        say: Callable[[str], object],
    ) -> None:
        self._stages = stages
        self._context = context
        self._pictures = pictures
        self._say = say

    def answer(self, request: Request) -> Done | Failed:
        """What came of it; whatever goes wrong is an answer too."""
        try:
            output = self._run(request)
        except StageFailed as failure:
            return self._failed(failure)
        except MemoryError:
            self._pictures.clear()
            message = "The picture needs more memory than a decoder may use."
            return self._failed(StageFailed(Category.RESOURCE, "out-of-memory", message))
        # The worker has to hear of a bug in a stage: it ends the job, and not this process.
        except Exception as error:
            self._say(_traceback(error))
            message = f"{type(error).__name__}: {_PATH.sub('…', str(error))}"
            message = message[:MESSAGE_CHARS]
            return self._failed(StageFailed(Category.LOGIC, "stage-crashed", message))
        return Done(
            result=msgspec.Raw(msgspec.msgpack.encode(output.result)),
            renditions=output.renditions,
            held=self._pictures.held,
        )

    def _run(self, request: Request) -> Output:
        stage = self._stages.get(request.stage)
        if stage is None:
            message = f"There is no stage {request.stage}."
            raise StageFailed(Category.CONFIGURATION, "unknown-stage", message)
        return stage.run(self._picture(request, stage), self._context)

    def _picture(self, request: Request, stage: Stage) -> Picture:
        if stage.needs != ORIGINAL:
            return load(_read(request), self._context)
        picture = self._pictures.get(request.photo)
        if picture is None:
            picture = load(_read(request), self._context)
            self._pictures.put(request.photo, picture)
        return picture

    def _failed(self, failure: StageFailed) -> Failed:
        return Failed(
            category=failure.category,
            code=failure.code,
            message=failure.message,
            bad_image=isinstance(failure, BadImage),
            held=self._pictures.held,
        )


def _traceback(error: Exception) -> str:
    lines = traceback.format_exception(error, limit=-TRACEBACK_FRAMES)
    return "".join(lines)[:TRACEBACK_CHARS] + "\n"


def _read(request: Request) -> bytes:
    try:
        data = Path(request.path).read_bytes()
    except OSError as error:
        message = f"The file cannot be read: {error.strerror}."
        raise StageFailed(Category.TEMPORARY, "unreadable-file", message) from error
    if request.sha256 not in (None, hashlib.sha256(data).hexdigest()):
        message = "The blob store gives other bytes than those that were uploaded."
        raise StageFailed(Category.CONFIGURATION, "blob-damaged", message)
    return data


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends; it may have ended before we asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def _confine(memory_bytes: int) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # A core dump would hold somebody's photo.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # One process a core is decoding already.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    heic.confine()


def _next_request(requests: BinaryIO) -> Request | None:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    return msgspec.msgpack.decode(requests.read(length), type=Request)


def _hush() -> Callable[[str], object]:
    """From now on this process writes to the worker's log by the function alone.

    Decoders write a line there for each oddity of a file, and so as many as its sender likes.
    """
    log = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="replace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    # A library that prints shall not break the frames.
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return log.write


def main() -> None:
    """Serve until the input ends."""
    setup = msgspec.json.decode(sys.argv[1], type=Setup)
    _die_with(setup.parent)
    # Ctrl-C and a stopped unit signal the whole group: when decoding ends, the worker decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _confine(setup.memory_bytes)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    stages = find_stages(setup.registry)
    decoder = Decoder(stages, setup.context, Pictures(max_bytes=setup.cache_bytes), _hush())
    answers.write(frame(Ready()))
    answers.flush()
    while (request := _next_request(requests)) is not None:
        answers.write(frame(decoder.answer(request)))
        answers.flush()


if __name__ == "__main__":
    main()
