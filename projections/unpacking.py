"""Unpack segments of the archive in a process of its own, for a rebuild: ``Unpacker`` starts it.

It reads requests from standard input and writes the answers to standard output, in order, each as
its length and MessagePack. It has no connections and no settings, and it ends with its input.
"""

import struct
import sys
from typing import IO

import msgspec

from projections.models.history_pages import Pager, Stored
from store.archive.segment import Segment
from store.errors import Corrupt
from store.log.codec import Subject, subject_in
from store.log.position import Position
from store.log.stream import body_of

Place = tuple[int, int]
"""The time and the number of a position."""

UNKNOWN: Subject = "", "", "", None

LENGTH = struct.Struct("<Q")


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Begin a partition, whose events ``waiting`` do not fill a page of the history yet."""

    waiting: list[Stored]
    page_size: int


class Unpack(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Unpack the events after one place and up to another from the bytes of a segment."""

    segment: bytes
    after: Place
    upto: Place


class Unpacked(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Events with their places; ``pages``, ``members`` and ``rest`` are as in ``Paged``.

    ``rest`` counts the last of these events. ``sha256`` is that of the segment.
    """

    sha256: str
    ms: list[int]
    seq: list[int]
    bodies: list[bytes]
    pages: list[tuple[int, int, bytes]]
    members: list[list[int]]
    rest: int


class Damaged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What is wrong with the segment."""

    what: str


Request = Begin | Unpack
Answer = Unpacked | Damaged

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
    """Answer each request to unpack until the input ends."""
    pager = Pager(())
    while (message := receive(source)) is not None:
        match _requests.decode(message):
            case Begin(waiting=waiting, page_size=size):
                pager = Pager(waiting, size)
            case Unpack() as request:
                sink.write(frame(_answer(request, pager)))
                sink.flush()


def _answer(request: Unpack, pager: Pager) -> Answer:
    try:
        return _unpacked(request, pager)
    except Corrupt as error:
        return Damaged(str(error))


def _unpacked(request: Unpack, pager: Pager) -> Unpacked:
    segment = Segment(request.segment)
    ms: list[int] = []
    seq: list[int] = []
    bodies: list[bytes] = []
    for entry in segment.entries():
        _, *place = Position.of_entry(segment.head.partition, entry.entry_id)
        body = body_of(entry.parts)
        if body is not None and request.after < (place[0], place[1]) <= request.upto:
            ms.append(place[0])
            seq.append(place[1])
            bodies.append(body)
    paged = pager.add_stored(ms, seq, bodies, [_subject(body) for body in bodies])
    return Unpacked(
        sha256=segment.sha256,
        ms=ms,
        seq=seq,
        bodies=bodies,
        pages=paged.pages,
        members=paged.members,
        rest=len(paged.rest),
    )


def _subject(body: bytes) -> Subject:
    """Return the subject; whoever decodes the events finds those that have none."""
    try:
        return subject_in(body)
    except Corrupt:
        return UNKNOWN


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
