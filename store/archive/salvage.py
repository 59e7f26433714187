"""Reads what is left of an archive, for a recovery: every whole segment, and the gaps between them.

``Archive`` stops at the first segment that is damaged, missing or foreign, as readers must. Here it
becomes a ``Gap``: the segments around it say where it begins and ends.
"""

from collections.abc import AsyncIterator

import msgspec

from store.archive.archive import FOLDER, Listed, Place, key_of, place_of
from store.archive.segment import SEGMENT_BYTES_MAX, Entry, Head, Previous, Segment
from store.errors import Corrupt, Missing
from store.log.position import Position


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Entries after ``after`` and before ``before`` may be lost; None is the end of the archive."""

    after: Position
    before: Position | None
    reason: str


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A whole segment and its entries."""

    place: Place
    head: Head
    entries: list[Entry]


async def pieces(blobs: Listed, log_id: str, partition: int) -> AsyncIterator[Sealed | Gap]:
    """Yield the partition's whole segments and the gaps between them, in order.

    Raises:
        Unavailable: the blob store does not answer.
    """
    end, previous = Position.start(partition), None
    problems: list[str] = []
    for place in await places(blobs, partition):
        try:
            sealed, sha256 = await _read(blobs, log_id, place, end)
        except Corrupt as error:
            problems.append(f"segment {place.key}: {error}")
            continue
        if problems or sealed.head.previous != previous:
            reason = "; ".join(problems) or _missing(sealed.head, previous)
            yield Gap(after=end, before=place.first, reason=reason)
            problems.clear()
        yield sealed
        end = sealed.head.last_position
        previous = Previous(first=sealed.head.first, sha256=sha256)
    if problems:
        yield Gap(after=end, before=None, reason="; ".join(problems))


async def places(blobs: Listed, partition: int) -> list[Place]:
    """Return where the partition's segments are, in order; raises Unavailable."""
    found = [place_of(blob) for blob in await blobs.keys(f"{FOLDER}/{partition:02d}")]
    return sorted(
        (each for each in found if each is not None and each.first.partition == partition),
        key=lambda place: place.first,
    )


async def _read(blobs: Listed, log_id: str, place: Place, end: Position) -> tuple[Sealed, str]:
    if place.size > SEGMENT_BYTES_MAX:
        raise Corrupt(f"it has {place.size:,} bytes: too many for a segment")
    try:
        data = b"".join([chunk async for chunk in blobs.read(place.key)])
    except Missing as error:
        raise Corrupt("it is missing") from error
    segment = Segment(data)
    head = segment.head
    if head.log != log_id:
        raise Corrupt(f"it belongs to the log {head.log}, not to {log_id}")
    if head.partition != place.first.partition or head.first_position != place.first:
        raise Corrupt(f"it begins at {head.first_position}: the file has another one's name")
    if place.first <= end:
        raise Corrupt(f"it begins before {end}, where the segment before it ends")
    return Sealed(place=place, head=head, entries=list(segment.entries())), segment.sha256


def _missing(head: Head, previous: Previous | None) -> str:
    if head.previous is None:
        return f"segment {key_of(head.first_position)} does not continue the segment before it"
    first = Position.parse(f"{head.partition}:{head.previous.first}")
    if previous is not None and previous.first == head.previous.first:
        return f"segment {key_of(head.first_position)} was sealed after other bytes than remain"
    return f"segment {key_of(first)} is missing"
