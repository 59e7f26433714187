"""Reads the archive: the sealed segments of a log, in its blob store.

| key | what |
|---|---|
| ``log/segments/07/<ms>-<seq>`` | a segment of partition 7; the id of its first entry, in digits |

The keys are in the order of their entries. Each segment names the one before it, so a missing or
foreign one is noticed as soon as its neighbour is read. Nothing here trusts a name or an index
alone: an entry is returned only from bytes whose checksum is right.

The entries of one photo are found by catalogs, see ``store.archive.catalog``, and by the indexes of
the segments that have none yet. Such an index is read once by a process, which then keeps eight
bytes for each photo of a segment.
"""

import bisect
import hashlib
import re
import time
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple, Protocol

import anyio
import msgspec

from store.archive.catalog import GROUP
from store.archive.catalogs import Catalogs
from store.archive.naming import FOLDER, listing, named
from store.archive.raw import after as following
from store.archive.segment import (
    SEGMENT_BYTES_MAX,
    TAIL_BYTES,
    Entry,
    Head,
    Index,
    Segment,
    Tail,
    blocks_of,
    decode_block,
    decode_tail,
    index_offset,
)
from store.blobs.interface import Blob, Readable
from store.concurrently import for_each
from store.errors import BadSegment, Corrupt, Missing
from store.log.archived import Entries, Page, Sealed
from store.log.position import Position

SET_ASIDE = "log/set-aside"
"""Where a recovery moves segments that are not part of the log any more."""

OPEN_MAX = 4
"""How many segments a process keeps in memory."""

READ_AT_ONCE = 16
"""How many indexes are read at once."""

LISTED_S = 10.0
"""How old a list of segments may be to look for a photo: the rest is read one after another."""

_NAME = re.compile(rf"{FOLDER}/(\d{{2,5}})/(\d{{16}})-(\d{{20}})", re.ASCII)


def key_of(first: Position) -> str:
    """Return the key of the segment that begins there."""
    return f"{FOLDER}/{first.partition:02d}/{first.ms:016d}-{first.seq:020d}"


def is_segment(key: str) -> bool:
    """Return whether this can be the key of a segment."""
    return bool(_NAME.fullmatch(key))


class Listed(Readable, Protocol):
    """Blobs that can be read and listed."""

    def keys(self, prefix: str) -> Awaitable[list[Blob]]:
        """See ``Blobs.keys``."""
        ...


class Place(NamedTuple):
    """Where a segment is: its key, the position of its first entry, its size in bytes."""

    key: str
    first: Position
    size: int


def place_of(blob: Blob) -> Place | None:
    """Return the place of the segment in the blob; None if its key is not that of a segment."""
    match = _NAME.fullmatch(blob.key)
    if match is None:
        return None
    return Place(blob.key, Position(*(int(part) for part in match.groups())), blob.size)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a process remembers of a segment; ``photos`` are the digests of their ids, in order."""

    head: Head
    sha256: str
    photos: "array[int]"

    def may_have(self, photo_id: str) -> bool:
        digest = digest_of(photo_id)
        at = bisect.bisect_left(self.photos, digest)
        return at < len(self.photos) and self.photos[at] == digest


class Archive:
    """The segments of the log ``log_id``; see ``store.log.archived.Archived`` too."""

    def __init__(self, blobs: Listed, log_id: str, group: int = GROUP) -> None:
        self.catalogs = Catalogs(blobs, log_id, group)
        self._blobs = blobs
        self._listed_at: dict[int, float] = {}
        self._log_id = log_id
        self._places: dict[int, list[Place]] = {}
        self._facts: dict[str, Facts] = {}
        self._segments: OrderedDict[str, Segment] = OrderedDict()

    async def places(self, partition: int, *, fresh: bool = True) -> list[Place]:
        """Return the partition's segments in order, from the store or as last seen."""
        if fresh or partition not in self._places:
            folder = f"{FOLDER}/{partition:02d}"
            with listing(folder):
                found = await self._blobs.keys(folder)
            self._places[partition] = [
                place
                for blob in found
                if (place := place_of(blob)) is not None and place.first.partition == partition
            ]
        return self._places[partition]

    def add(self, first: Position, size: int) -> None:
        """Note a new last segment, of this size in bytes, so that it need not be listed."""
        self._places[first.partition] = [
            *self._places.get(first.partition, []),
            Place(key_of(first), first, size),
        ]

    async def last(self, partition: int, *, fresh: bool = True) -> Facts | None:
        """Return the facts of the partition's last segment; None if it has none."""
        places = await self.places(partition, fresh=fresh)
        return await self.facts(places, len(places) - 1) if places else None

    async def facts(self, places: list[Place], at: int) -> Facts:
        """Return what the segment's index says, once its place in the chain is checked.

        Raises:
            Corrupt: it is damaged, or does not continue the segment before it.
        """
        with self._named(places, at):
            known = await self._known(places[at])
            self._check_order(places, at, known.head)
        return known

    async def chain(self, places: list[Place], begin: int = 0) -> list[Facts]:
        """Return the facts of these segments from number ``begin`` on, which must form one chain.

        Raises as ``facts``.
        """
        limit = anyio.CapacityLimiter(READ_AT_ONCE)

        async def of(at: int) -> Facts:
            async with limit:
                return await self.facts(places, at)

        numbers = range(begin, len(places))
        facts = [self._facts.get(places[at].key) for at in numbers]
        unknown = [at for at, known in zip(numbers, facts, strict=True) if known is None]
        if unknown:
            await for_each(of, unknown)
        facts = [await self.facts(places, at) for at in numbers]
        for at, known in enumerate(facts, start=begin):  # again: now those before are known too
            with self._named(places, at):
                self._check_order(places, at, known.head)
        return facts

    async def check(self, partition: int) -> list[Place]:
        """Check that the partition's segments form one chain, and return them.

        Those that catalogs cover are checked by the heads of these, without reading their indexes:
        the names of the first and the last of a group, and how many there are in between. What is
        remembered of them is forgotten, so that it does not grow with the log. Raises as ``facts``.
        """
        await self.catalogs.look(partition)
        places = await self.places(partition)
        firsts = [place.first for place in places]
        covered = await self.catalogs.covered(firsts, partial(self._sealed_as, places))
        await self.chain(places, covered)
        for at in range(covered):
            if (at + 1) % self.catalogs.group:
                self._facts.pop(places[at].key, None)
        return places

    async def _sealed_as(self, places: list[Place], at: int) -> str | None:
        """Return the SHA-256 of a segment; None if it is damaged: who needs it will say so."""
        try:
            return (await self.facts(places, at)).sha256
        except Corrupt:
            return None

    async def segment(self, places: list[Place], at: int) -> Segment:
        """Return the whole segment, with its checksum and its place in the chain checked.

        Raises as ``facts``.
        """
        place = places[at]
        found = self._segments.get(place.key)
        with self._named(places, at):
            if found is None:
                found = Segment(await self._read(place, 0, place.size))
                self._check_place(place, found.head)
                self._facts[place.key] = _facts(found.index, found.sha256)
            self._check_order(places, at, found.head)
        self._segments[place.key] = found
        self._segments.move_to_end(place.key)
        while len(self._segments) > OPEN_MAX:
            self._segments.popitem(last=False)
        return found

    async def entries(self, places: list[Place], at: int) -> list[Entry]:
        """Return all entries of a segment; raises as ``segment``."""
        segment = await self.segment(places, at)
        with self._named(places, at):
            return list(segment.entries())

    async def examine(self, places: list[Place], at: int) -> None:
        """Read the segment from the store, and check that the next one continues it.

        Raises as ``segment``.
        """
        self.forget(places[at].key)
        await self.entries(places, at)
        await self._check_link(places, at)

    def forget(self, key: str) -> None:
        """Read the segment again when it is needed next."""
        self._segments.pop(key, None)
        self._facts.pop(key, None)

    async def photos_of(self, places: list[Place], at: int) -> list[str]:
        """Return the photos and sessions with events in a segment; raises as ``facts``."""
        return list((await self._index(places, at)).photos)

    async def last_of(self, places: list[Place], at: int, photo_ids: list[str]) -> Entries:
        """Return the last entry in a segment of each of these; raises as ``facts``."""
        index = await self._index(places, at)
        return await self._entries(places, at, index, [index.photos[id_][-1] for id_ in photo_ids])

    async def page(self, after: Position, count: int) -> Page:
        """See ``Archived``."""
        places, at = await self._find(after)
        segment = await self.segment(places, at)
        with self._named(places, at):
            found = _after(segment, after, count)
            if not found:  # none would say that the log ends here
                raise Corrupt(f"it has no entry after {after}, but had one when its index was read")
            return found

    async def sealed(self, after: Position) -> Sealed:
        """See ``Archived``."""
        places, at = await self._find(after)
        place, facts = places[at], await self.facts(places, at)
        with self._named(places, at):
            data = await self._read(place, 0, place.size)
        return Sealed(place.key, data, facts.sha256, facts.head.last_position)

    async def segments(self, after: Position, upto: Position) -> int:
        """See ``Archived``."""
        places = await self.places(after.partition)
        return sum(after < place.first <= upto for place in places)

    async def _find(self, after: Position) -> tuple[list[Place], int]:
        """Return the segments, and the number of the one with the next entry after the position.

        Raises:
            Corrupt: there is none.
        """
        places = await self.places(after.partition, fresh=False)
        at = await self._holder(places, after)
        if at is None:
            places = await self.places(after.partition)
            at = await self._holder(places, after)
        if at is None:
            folder = f"{FOLDER}/{after.partition:02d}"
            raise BadSegment(
                f"the archive ends before {following(after)}: the segment with the events from "
                f"there on is missing in {folder}; bring it back from a backup"
            )
        return places, at

    async def of_photo(self, partition: int, photo_id: str) -> tuple[Entries, Position]:
        """See ``Archived``."""
        now = time.monotonic()
        fresh = now >= self._listed_at.get(partition, 0.0) + LISTED_S
        if fresh:
            await self.catalogs.look(partition)
            self._listed_at[partition] = now
        places = await self.places(partition, fresh=fresh)
        if not places:
            return [], Position.start(partition)

        firsts = [place.first for place in places]
        sealed = partial(self._sealed_as, places)
        numbers, covered = await self.catalogs.segments_of(firsts, digest_of(photo_id), sealed)
        rest = max(0, min(covered, len(places) - 1))
        facts = await self.chain(places, rest)
        numbers += [
            at
            for at, known in enumerate(facts, start=rest)
            if at >= covered and known.may_have(photo_id)
        ]
        found: Entries = []
        for at in numbers:
            if at < covered:  # the chain of the others was checked
                await self._check_link(places, at)
            found += await self._of_photo(places, at, photo_id)
        return found, facts[-1].head.last_position

    async def has_before(self, first: Position) -> bool:
        """See ``Archived``."""
        places = await self.places(first.partition)
        if not places or places[0].first >= first:
            return False
        return (await self.facts(places, 0)).head.last_position < first

    async def _of_photo(self, places: list[Place], at: int, photo_id: str) -> Entries:
        index = await self._index(places, at)
        return await self._entries(places, at, index, index.photos.get(photo_id, []))

    async def _entries(
        self, places: list[Place], at: int, index: Index, numbers: list[int]
    ) -> Entries:
        """Return the entries of these numbers."""
        found: Entries = []
        with self._named(places, at):
            for block, within in blocks_of(index, numbers):
                frame = await self._read(places[at], block.offset, block.size)
                entries = decode_block(frame, block)
                found += [(entries[number].entry_id, entries[number].fields) for number in within]
        return found

    async def _index(self, places: list[Place], at: int) -> Index:
        """Read the index of the segment; raises as ``facts``."""
        known = await self.facts(places, at)
        with self._named(places, at):
            tail = await self._tail(places[at])
            if tail.sha256 != known.sha256:
                raise Corrupt("it has other bytes than before")
        return tail.index

    async def _holder(self, places: list[Place], after: Position) -> int | None:
        """Return the number of the segment with the next entry after the position, if known."""
        at = bisect.bisect_right(places, after, key=lambda place: place.first) - 1
        if at < 0:
            return 0 if places else None
        head = (await self.facts(places, at)).head
        if after < head.last_position:
            return at
        return at + 1 if at + 1 < len(places) else None

    async def _known(self, place: Place) -> Facts:
        """Return the facts of the segment, from memory or from its index."""
        known = self._facts.get(place.key)
        if known is None:
            tail = await self._tail(place)
            self._check_place(place, tail.index.head)
            known = self._facts[place.key] = _facts(tail.index, tail.sha256)
        return known

    async def _check_link(self, places: list[Place], at: int) -> None:
        """Check one segment, and that the next one continues it, unless that one is damaged."""
        await self.facts(places, at)
        if at + 1 < len(places):
            with suppress(Corrupt, Missing):
                await self._known(places[at + 1])
            if places[at + 1].key in self._facts:
                await self.facts(places, at + 1)

    def _check_place(self, place: Place, head: Head) -> None:
        if head.log != self._log_id:
            raise Corrupt(f"it belongs to the log {head.log}, not to {self._log_id}")
        if head.partition != place.first.partition or head.first_position != place.first:
            raise Corrupt(f"it begins at {head.first_position}: the file has another one's name")

    def _check_order(self, places: list[Place], at: int, head: Head) -> None:
        before = places[at - 1].first.entry_id if at else None
        wanted = head.previous.first if head.previous else None
        if wanted == before:
            known = self._facts.get(places[at - 1].key) if at else None
            if known and head.previous and head.previous.sha256 != known.sha256:
                raise Corrupt(f"it was sealed after other bytes than {places[at - 1].key} has")
            return
        if wanted is None:
            raise Corrupt(f"it is the first segment, but {places[at - 1].key} is before it")
        first = Position.parse(f"{head.partition}:{wanted}")
        if first in [place.first for place in places[:at]]:
            raise Corrupt(
                f"it continues {key_of(first)}, but {places[at - 1].key} is between them: one of "
                "the two does not belong to the log"
            )
        raise Corrupt(f"the segment before it, {key_of(first)}, is missing")

    async def _tail(self, place: Place) -> Tail:
        tail = await self._read(place, max(0, place.size - TAIL_BYTES), TAIL_BYTES)
        begin = index_offset(tail)
        if begin < place.size - len(tail):
            tail = await self._read(place, begin, place.size - begin)
        return decode_tail(tail, place.size)

    @contextmanager
    def _named(self, places: list[Place], at: int) -> Generator[None]:
        """Name the segment in errors; after one, read it again when it is needed next.

        The operator may have put it back by then, or sealed its events again.
        """
        try:
            with named(places[at].key, places[at].first):
                yield
        except BadSegment:
            self._places.pop(places[at].first.partition, None)
            for each in places[max(0, at - 1) : at + 1]:
                self.forget(each.key)
            raise

    async def _read(self, place: Place, start: int, length: int) -> bytes:
        if place.size > SEGMENT_BYTES_MAX:
            raise Corrupt(f"it has {place.size:,} bytes: too many for a segment")
        return b"".join([chunk async for chunk in self._blobs.read(place.key, start, length)])


def _after(segment: Segment, after: Position, count: int) -> Page:
    """Return up to ``count`` entries of the segment after the position."""
    partition = segment.head.partition
    firsts = [Position.parse(f"{partition}:{block.first}") for block in segment.index.blocks]
    found: list[Entry] = []
    for number in range(max(0, bisect.bisect_right(firsts, after) - 1), len(firsts)):
        block = segment.block(number)
        begin = 0
        if firsts[number] <= after:
            begin = bisect.bisect_right(
                block, after, key=lambda entry: Position.of_entry(partition, entry.entry_id)
            )
        found += block[begin : begin + count - len(found)]
        if len(found) == count:
            break
    return found


def _facts(index: Index, sha256: str) -> Facts:
    photos = array("Q", sorted(map(digest_of, index.photos)))
    return Facts(head=index.head, sha256=sha256, photos=photos)


def digest_of(photo_id: str) -> int:
    """Return what indexes in memory, and catalogs, know a photo by."""
    return int.from_bytes(hashlib.sha256(photo_id.encode()).digest()[:8], "big")
