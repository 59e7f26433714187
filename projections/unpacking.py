"""Unpack segments of the archive in a process of its own, for a rebuild: ``Unpacker`` starts it.

It also makes the pages of the history and, of some segments, the rows of new photos. It reads
requests from standard input and writes the answers to standard output, in order, each as its length
and MessagePack. It has no connections and no settings, and it ends with its input.
"""

import gc
import logging
import struct
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

import msgspec

from projections import new_photos
from projections.models.history_pages import Pager, Stored
from projections.new_photos import NewPhotos
from store.archive.segment import Segment
from store.errors import Corrupt
from store.log.codec import Subject, subject_in
from store.log.position import Position
from store.log.recorded import Recorded, body_of, recorded_of

Place = tuple[int, int]
"""The time and the number of a position."""

UNKNOWN: Subject = "", "", "", None

LENGTH = struct.Struct("<Q")

GARBAGE = 1_000_000
"""Objects that are made between two collections of garbage: a batch makes 40,000, and no cycles."""

logger = logging.getLogger("photolog.projector")


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Begin a partition, whose events ``waiting`` do not fill a page of the history yet."""

    waiting: list[Stored]
    page_size: int


class Unpack(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Unpack the events after one place and up to another from the bytes of a segment.

    With ``fold``, fold the events of new photos too.
    """

    segment: bytes
    after: Place
    upto: Place
    fold: bool = False


class Events(msgspec.Struct, frozen=True, array_like=True):
    """Events of one partition, with their times and numbers."""

    ms: list[int]
    seq: list[int]
    bodies: list[bytes]

    def at(self, numbers: Sequence[int]) -> "Events":
        """Return the events with these numbers, from 0 on."""
        return Events(
            ms=[self.ms[number] for number in numbers],
            seq=[self.seq[number] for number in numbers],
            bodies=[self.bodies[number] for number in numbers],
        )

    def recorded(self, partition: int) -> list[Recorded]:
        """Decode the events; raises Corrupt."""
        return recorded_of(Position.of_numbers(partition, self.ms, self.seq), self.bodies)


class Unpacked(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The ``count`` events of a segment; ``upto`` is the place of the last one, None without any.

    ``left`` are those that are still to be applied: all of them, unless ``new`` has the rows of new
    photos. ``pages``, ``members`` and ``rest`` are as in ``Paged``. ``sha256`` is that of the
    segment, and ``notes`` are what was logged.
    """

    sha256: str
    count: int
    upto: Place | None
    left: Events
    pages: list[tuple[int, int, bytes]]
    members: list[list[int]]
    rest: list[Stored]
    new: NewPhotos | None = None
    notes: list[str] = []


class Damaged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What is wrong with the segment."""

    what: str


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The first message: the process has started."""


Request = Begin | Unpack
Answer = Ready | Unpacked | Damaged

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_encoder = msgspec.msgpack.Encoder()


def frame(message: Request | Answer) -> bytes:
    content = _encoder.encode(message)
    return LENGTH.pack(len(content)) + content


def receive(source: IO[bytes]) -> bytes | None:
    """Return the next message; None if the other side has ended."""
    header = source.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    content = source.read(length)
    return content if len(content) == length else None


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer each request to unpack until the input ends.

    A thread writes the answers: the next one is made while the other process is busy.
    """
    pager = Pager(())
    written: Future[None] | None = None
    _write(sink, frame(Ready()))
    with ThreadPoolExecutor(1) as writer:
        while (message := receive(source)) is not None:
            match _requests.decode(message):
                case Begin(waiting=waiting, page_size=size):
                    pager = Pager(waiting, size)
                case Unpack() as request:
                    answer = frame(_answer(request, pager))
                    if written is not None:
                        written.result()
                    written = writer.submit(_write, sink, answer)


def _write(sink: IO[bytes], answer: bytes) -> None:
    sink.write(answer)
    sink.flush()


def _answer(request: Unpack, pager: Pager) -> Answer:
    try:
        return _unpacked(request, pager)
    except Corrupt as error:
        return Damaged(str(error))


def _unpacked(request: Unpack, pager: Pager) -> Unpacked:
    segment = Segment(request.segment)
    partition = segment.head.partition
    events = _events(segment, request)
    left, new = events, None
    with _noted() as notes:
        recorded = _decoded(events, partition) if request.fold else None
        if recorded is not None:
            new, numbers = new_photos.fold(recorded)
            left = events.at(numbers)
            paged = pager.add(recorded)
        else:
            subjects = [_subject(body) for body in events.bodies]
            paged = pager.add_stored(events.ms, events.seq, events.bodies, subjects)
    return Unpacked(
        sha256=segment.sha256,
        count=len(events.ms),
        upto=(events.ms[-1], events.seq[-1]) if events.ms else None,
        left=left,
        pages=paged.pages,
        members=paged.members,
        rest=paged.rest,
        new=new,
        notes=notes,
    )


def _events(segment: Segment, request: Unpack) -> Events:
    """Return the events that are asked for; raises Corrupt if the segment is damaged."""
    begin = segment.head.partition, *request.after
    end = segment.head.partition, *request.upto
    events = Events([], [], [])
    for positions, entries in segment.placed():
        for position, entry in zip(positions, entries, strict=True):
            body = body_of(entry.parts)
            if body is not None and begin < position <= end:
                events.ms.append(position[1])
                events.seq.append(position[2])
                events.bodies.append(body)
    return events


def _decoded(events: Events, partition: int) -> list[Recorded] | None:
    """Return the events; None if one cannot be decoded: whoever applies them will say so."""
    try:
        return events.recorded(partition)
    except Corrupt:
        return None


class _Notes(logging.Handler):
    """Keeps what is logged, for the process that has a log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@contextmanager
def _noted() -> Generator[list[str]]:
    """Yield the list of what is logged in the block."""
    notes = _Notes()
    logger.addHandler(notes)
    try:
        yield notes.found
    finally:
        logger.removeHandler(notes)


def _subject(body: bytes) -> Subject:
    """Return the subject; whoever decodes the events finds those that have none."""
    try:
        return subject_in(body)
    except Corrupt:
        return UNKNOWN


if __name__ == "__main__":
    gc.set_threshold(GARBAGE)
    logger.propagate = False
    serve(sys.stdin.buffer, sys.stdout.buffer)
