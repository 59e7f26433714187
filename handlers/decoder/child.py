"""The process that decodes: ``python -m handlers.decoder.child <setup>``.

It receives files as open descriptors, opens none itself, and confines itself before the first one
arrives (see ``handlers.decoder.sandbox``). A bad file can crash, hang, starve or take over this
process, but never the worker.
"""

import hashlib
import os
import re
import resource
import signal
import socket
import sys
import traceback
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import msgspec

from domain.photo.results import ORIGINAL
from domain.pipeline.failures import BLOB_DAMAGED, Category
from handlers.decoder.protocol import (
    HEADER,
    MAX_MESSAGE_CHARS,
    MAX_REQUEST_BYTES,
    MAX_TRACE_CHARS,
    Answer,
    Costly,
    Done,
    Failed,
    Ready,
    Request,
    Setup,
    frame,
)
from handlers.decoder.sandbox import enter
from handlers.decoder.warmup import prepare_decoders, warm_up
from handlers.imaging.cost import Cost, TooCostly
from handlers.imaging.picture import Picture, load
from handlers.imaging.tiff import complaints
from handlers.parent_death import die_with
from handlers.registry import Stage, find_stages
from handlers.stage import BadImage, Output, StageContext, StageFailure

NICENESS = 5
"""Decoding yields to what users wait for: responses, events, and the next task for a decoder."""

TRACEBACK_FRAMES = 20
READ_BYTES = 1 << 20
"""How much to read at a time from a file that grew while it was read."""

_PATH = re.compile(r"/[^\s'\"]+")


class PictureCache:
    """Decoded originals by photo; the least recently used are dropped first.

    A photo's original never changes, so an entry is never stale.
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
    """Answers requests one at a time."""

    def __init__(
        self, stages: dict[str, Stage], context: StageContext, pictures: PictureCache
    ) -> None:
        self._stages = stages
        self._context = context
        self._pictures = pictures

    def answer(self, request: Request, file: int | None) -> Done | Failed | Costly:
        """Run the request; return its answer, also for any failure. Leaves ``file`` open."""
        try:
            output = self._run(request, file)
        except TooCostly as found:
            return Costly(cost=found.cost, held=self._pictures.held)
        except StageFailure as failure:
            return self._failed(failure)
        except MemoryError:
            self._pictures.clear()
            message = "The picture needs more memory than a decoder may use."
            return self._failed(StageFailure(Category.RESOURCE, "out-of-memory", message))
        # The worker must learn of a bug in a stage: the bug ends the job, not this process.
        except Exception as error:
            message = f"{type(error).__name__}: {_PATH.sub('…', str(error))}"
            failure = StageFailure(Category.LOGIC, "stage-crashed", message[:MAX_MESSAGE_CHARS])
            return self._failed(failure, _traceback(error))
        return Done(
            result=msgspec.Raw(msgspec.msgpack.encode(output.result)),
            renditions=output.renditions,
            held=self._pictures.held,
        )

    def _run(self, request: Request, file: int | None) -> Output:
        stage = self._stages.get(request.stage)
        if stage is None:
            message = f"There is no stage {request.stage} in this worker's table."
            raise StageFailure(Category.CONFIGURATION, "unknown-stage", message)
        return stage.run(self._picture(request, file, stage), self._context)

    def _picture(self, request: Request, file: int | None, stage: Stage) -> Picture:
        if stage.needs != ORIGINAL:
            return self._load(request, file)
        picture = self._pictures.get(request.photo)
        if picture is None:
            picture = self._load(request, file)
            self._pictures.put(request.photo, picture)
        return picture

    def _load(self, request: Request, file: int | None) -> Picture:
        def admit(cost: Cost) -> None:
            if not cost.is_within(request.allowed):
                raise TooCostly(cost)

        return load(_read(request, file), self._context, admit)

    def _failed(self, failure: StageFailure, trace: str = "") -> Failed:
        return Failed(
            category=failure.category,
            code=failure.code,
            message=failure.message,
            bad_image=isinstance(failure, BadImage),
            held=self._pictures.held,
            trace=trace,
        )


class Channel:
    """The child's end of the socket to its worker; ``most`` bounds the bytes of an answer."""

    def __init__(self, end: socket.socket, most: int) -> None:
        self._end = end
        self._most = most

    def next_request(self) -> tuple[Request, int | None] | None:
        """Return the next request and the descriptor sent with it, if any; None at the end."""
        header, files, _, _ = socket.recv_fds(self._end, HEADER.size, 1)
        header += self._rest(HEADER.size - len(header))
        if len(header) < HEADER.size:
            return None
        (length,) = HEADER.unpack(header)
        if length > MAX_REQUEST_BYTES:
            return None
        request = msgspec.msgpack.decode(self._rest(length), type=Request)
        return request, files[0] if files else None

    def send(self, answer: Answer) -> None:
        sent = frame(answer)
        if len(sent) > self._most:
            message = f"The stage's answer has more than {self._most} bytes."
            held = answer.held if isinstance(answer, Done) else ()
            sent = frame(
                Failed(
                    category=Category.CONFIGURATION,
                    code="answer-too-large",
                    message=message,
                    bad_image=False,
                    held=held,
                )
            )
        left = memoryview(sent)
        while left:
            left = left[os.write(self._end.fileno(), left) :]

    def _rest(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length and (part := os.read(self._end.fileno(), length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _traceback(error: Exception) -> str:
    lines = traceback.format_exception(error, limit=-TRACEBACK_FRAMES)
    return "".join(lines)[:MAX_TRACE_CHARS]


def _read(request: Request, file: int | None) -> bytes:
    if file is None:
        raise StageFailure(Category.TEMPORARY, "unreadable-file", "No file came with the request.")
    try:
        # In one read, so that the file is in memory only once.
        data = os.read(file, os.lseek(file, 0, os.SEEK_END) + os.lseek(file, 0, os.SEEK_SET))
        while part := os.read(file, READ_BYTES):
            data += part
    except OSError as error:
        message = f"The file cannot be read: {error.strerror}."
        raise StageFailure(Category.TEMPORARY, "unreadable-file", message) from error
    if request.sha256 not in (None, hashlib.sha256(data).hexdigest()):
        message = "The blob store returned other bytes than those that were uploaded."
        raise StageFailure(Category.DATA, BLOB_DAMAGED, message)
    return data


def _detach_standard_streams() -> socket.socket:
    """Return the socket from standard input, and connect the standard streams to /dev/null.

    Decoders print a line for each oddity of a file, so its sender could flood the log.
    """
    end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return end


def _size_bytes() -> int | None:
    """Return the size of this process's address space (proc_pid_statm(5)), None if unknown."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        return pages * resource.getpagesize()
    return None


def main() -> None:
    """Serve requests until the input ends."""
    setup = msgspec.json.decode(sys.argv[1], type=Setup)
    die_with(setup.parent)
    # Ctrl-C and service managers signal the whole group, but the worker decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    prepare_decoders()
    stages = find_stages(setup.registry)
    warm_up()
    resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes, setup.memory_bytes))
    decoder = Decoder(stages, setup.context, PictureCache(max_bytes=setup.cache_bytes))
    end = _detach_standard_streams()
    channel = Channel(end, setup.answer_bytes)
    size_bytes = _size_bytes()
    last = max(end.fileno(), complaints.listen())
    confinement = enter(setup.sandbox, setup.become, keep=last, limits_itself=setup.limits_itself)
    channel.send(Ready(confinement=confinement, size_bytes=size_bytes))
    while (received := channel.next_request()) is not None:
        request, file = received
        if setup.limits_itself and request.limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (request.limit_bytes, setup.memory_bytes))
        answer = decoder.answer(request, file)
        if file is not None:
            os.close(file)
        channel.send(answer)


if __name__ == "__main__":
    main()
