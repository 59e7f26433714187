"""Reads the events of a log by position: from the archive, then from a partition's Redis Stream.

| what stands in a stream | what a reader does |
|---|---|
| an event | returns it |
| an entry with all of ``FIELDS`` that this code cannot decode | raises Corrupt |
| a foreign entry: anything else, written by another program | skips it |

The second may be damaged, or of a newer version: skipping it would lose facts. A foreign entry is
not an event: the dispatcher that finds one logs it, health reports it, and an audit lists each.

Readers do not know where an event is stored: those that have left the stream come from the archive,
see ``store.log.archived``.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from store.errors import ArchiveAway, BadSegment, Corrupt, StoreError, Unavailable
from store.keys import Keys
from store.log.archived import Archived, Entries, NoArchive, Page, trimmed_of
from store.log.position import Position
from store.log.recorded import Recorded, events_in, fields_of, is_foreign, sift
from store.redis.connection import Client, Wait, translated
from store.redis.durability import Durability

logger = logging.getLogger("photolog.log")

READ_COUNT = 500

_NOTHING: Page = []


class Removed(NamedTuple):
    """How many ``entries`` have left a stream; ``exact``: none of them was deleted singly."""

    entries: int
    exact: bool


class Stream:
    """Reads the streams under ``keys``; with ``wait``, only events that are safe."""

    def __init__(self, redis: Client, keys: Keys, wait: Wait | None = None) -> None:
        self.redis = redis
        self.keys = keys
        self.durability = Durability(redis, keys, wait)
        self.archive: Archived = NoArchive()

    async def read(
        self,
        after: Position,
        *,
        count: int = READ_COUNT,
        block_ms: int | None = None,
        safe: bool = True,
    ) -> list[Recorded]:
        """Return the next events after ``after`` in its partition; wait ``block_ms`` for the first.

        The list is empty only if no event follows. Without ``safe``, a failover may take back what
        is returned: use it only to count or to look something up.

        Raises:
            Unavailable: no answer, or what follows is not known to be safe.
        """
        start = after.entry_id
        while entries := await self._page_after(
            after.partition, start, count=count, block_ms=block_ms, safe=safe
        ):
            events = events_in(after.partition, entries)
            if events:
                return events
            start = entries[-1][0].decode()
        return []

    async def at(self, position: Position, *, safe: bool = True) -> Recorded | None:
        """Return the event at the position, None if the log has none there; raises as ``read``."""
        found = await self.read(position.before, count=1, safe=safe)
        return found[0] if found and found[0].position == position else None

    async def entries_after(
        self,
        partition: int,
        start: str,
        *,
        count: int = READ_COUNT,
        block_ms: int | None = None,
        safe: bool = True,
    ) -> Entries:
        """Return the next entries after the id ``start``, events or not; see ``read``."""
        page = await self._page_after(partition, start, count=count, block_ms=block_ms, safe=safe)
        return [(entry_id, fields_of(parts)) for entry_id, parts in page]

    async def page(self, after: Position, count: int) -> Page:
        """Return the next entries after a position, events or not, for ``events_in``; see ``read``.

        It takes a fraction of the time of ``read``, and the rest can be done in a thread.
        """
        partition, start = after.partition, after.entry_id
        return await self._page_after(partition, start, count=count, block_ms=None, safe=True)

    async def _page_after(
        self, partition: int, start: str, *, count: int, block_ms: int | None, safe: bool
    ) -> Page:
        found, continues = await self._live_entries(partition, start, count, block_ms, safe=safe)
        if continues:
            return found
        after = Position.of_entry(partition, start.encode())
        # An empty stream may have lost the entries that are never trimmed, but not the archive.
        cut = await self._cut(partition) if found else await self.trimmed(partition)
        if after >= cut:
            return found
        async with self._asking_archive(partition):
            return await self.archive.page(after, count)

    async def _live_entries(
        self, partition: int, start: str, count: int, block_ms: int | None, *, safe: bool
    ) -> tuple[Page, bool]:
        """Return the next entries in the stream, and whether they continue what was before them.

        They do if the stream still has the entry with the id ``start`` after they were read, or if
        no id is between it and theirs. Otherwise entries in between may have been trimmed. The same
        goes for no entries.
        """
        key = self.keys.log(partition)
        page = "XREAD", "COUNT", count, "STREAMS", key, start
        before = "XRANGE", key, start, start
        confirmed = safe and self.durability.wait is not None
        if not confirmed or block_ms is not None:
            block = () if block_ms is None else ("BLOCK", block_ms)
            with translated():
                replies = await self.redis.exchange([(page[0], *block, *page[1:]), before], None)
            found, continues = _continued(partition, start, replies)
            if not (confirmed and found):
                return found, continues
        return _continued(partition, start, await self.durability.read_all(partition, page, before))

    async def trimmed(self, partition: int) -> Position:
        """Return the position up to which the partition's events are in the archive alone.

        It is the start if there are none, and if the record was lost; see ``removed``.
        """
        with translated():
            reply = await self.redis.get(self.keys.trimmed(partition))
            return trimmed_of(partition, msgspec.convert(reply, bytes | None))

    async def removed(self, partition: int) -> Removed:
        """Return how many entries have left the stream, by its counters."""
        with translated():
            if not await self.redis.exists(self.keys.log(partition)):
                return Removed(0, exact=True)
            return _removed(await self.redis.xinfo_stream(self.keys.log(partition)))

    async def first_entry(self, partition: int) -> Position | None:
        """Return the position of the stream's first entry, event or foreign."""
        with translated():
            reply = await self.redis.xrange(self.keys.log(partition), count=1)
            entries = msgspec.convert(reply, Entries)
        return Position.of_entry(partition, entries[0][0]) if entries else None

    async def _cut(self, partition: int) -> Position:
        """Return ``trimmed``; raises Corrupt if its record was lost."""
        key = self.keys.trimmed(partition)
        with translated():
            value, info = await self.redis.in_a_row(
                ("GET", key), ("XINFO STREAM", self.keys.log(partition))
            )
            position = trimmed_of(partition, msgspec.convert(value, bytes | None))
            removed = _removed(info)
        if removed.entries and position == Position.start(partition):
            first = None if removed.exact else await self.first_entry(partition)
            if first is None or await self._has_before(first):
                raise Corrupt(
                    f"partition {partition}: {removed.entries:,} entries have left the stream, but "
                    f"the key {key}, which says up to where, is gone: run `photolog log archive`, "
                    "which finds it again"
                )
        return position

    async def _has_before(self, first: Position) -> bool:
        async with self._asking_archive(first.partition):
            return await self.archive.has_before(first)

    @asynccontextmanager
    async def _asking_archive(self, partition: int) -> AsyncGenerator[None]:
        """Tell the archivers of a segment that cannot be used, and callers who does not answer."""
        try:
            yield
        except BadSegment as error:
            if error.key:
                with suppress(StoreError), translated():
                    await self.redis.set(self.keys.doubted(partition), error.key)
            raise
        except ArchiveAway:
            raise
        except Unavailable as error:
            raise ArchiveAway(str(error)) from error

    async def settle(self, partition: int) -> None:
        """See ``Durability.settle``."""
        await self.durability.settle(partition)

    async def scan(
        self, partition: int, *, after: Position | None = None
    ) -> AsyncIterator[Recorded]:
        """Yield every event of the partition ``after`` a position, in order, up to the end."""
        position = after or Position.start(partition)
        while page := await self.read(position):
            for recorded in page:
                yield recorded
            position = page[-1].position

    async def later_of(self, photo_id: str, after: Position) -> tuple[list[Recorded], Position]:
        """Return the photo's events after a position, and the position of the last entry read.

        Reads all that follows in the partition, and decodes only the photo's. Raises as ``read``.
        """
        found: Entries = []
        partition, start, wanted = after.partition, after.entry_id, photo_id.encode()
        while entries := await self.entries_after(partition, start):
            found += [each for each in entries if each[1].get(b"p") == wanted]
            start = entries[-1][0].decode()
        return sift(partition, found)[0], Position.of_entry(partition, start.encode())

    async def sealed_of(self, partition: int, photo_id: str) -> tuple[list[Recorded], Position]:
        """Return the photo's events in the archive, and the position up to which there are any.

        While the stream still has all events, an archive that cannot be read is not needed.

        Raises:
            Corrupt, Unavailable: the archive cannot be read, and it alone has some of the events.
        """
        try:
            async with self._asking_archive(partition):
                entries, upto = await self.archive.of_photo(partition, photo_id)
        except StoreError as error:
            if await self.trimmed(partition) != Position.start(partition):
                raise
            logger.warning("read the stream because the archive cannot be read: %s", error)
            return [], Position.start(partition)
        if upto > (trimmed := await self.trimmed(partition)) and not await self._has(upto):
            # The log was restored from an older copy: it has not what was sealed since.
            entries = [each for each in entries if Position.of_entry(partition, each[0]) <= trimmed]
            upto = trimmed
        return sift(partition, entries)[0], upto

    async def _has(self, position: Position) -> bool:
        """Return whether the stream has an entry there."""
        entry_id = position.entry_id
        with translated():
            key = self.keys.log(position.partition)
            return bool(await self.redis.xrange(key, entry_id, entry_id, count=1))

    async def now(self) -> datetime:
        """Return the time by the server's clock, which also stamps the log's entries."""
        redis: Any = self.redis
        with translated():
            seconds, micros = msgspec.convert(await redis.time(), tuple[int, int])
            return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)

    async def end(self, partition: int) -> Position:
        """Return the position of the partition's last event."""
        before = "+"
        while entries := await self._back(partition, before):
            entry_id, fields = entries[0]
            if not is_foreign(fields):
                return Position.of_entry(partition, entry_id)
            before = f"({entry_id.decode()}"
        return Position.start(partition)

    async def last_entry(self, partition: int) -> Position:
        """Return the position of the stream's last entry, event or foreign."""
        entries = await self._back(partition, "+")
        return Position.of_entry(partition, entries[0][0]) if entries else Position.start(partition)

    async def _back(self, partition: int, before: str) -> Entries:
        with translated():
            reply = await self.redis.xrevrange(self.keys.log(partition), before, "-", count=1)
            return msgspec.convert(reply, Entries)


def _continued(partition: int, start: str, replies: Sequence[object]) -> tuple[Page, bool]:
    """Return the entries in the first reply, and whether they continue the entry ``start``.

    The second reply is about that entry: empty if the stream does not have it.
    """
    page, before = replies
    with translated():
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        found = _page_of(page)
        if not found or before:
            return found, bool(before)
        first = Position.of_entry(partition, found[0][0])
        return found, first.before == Position.of_entry(partition, start.encode())


def _removed(info: dict[str, Any]) -> Removed:
    entries = int(info["entries-added"]) - int(info["length"])
    return Removed(entries, exact=info["max-deleted-entry-id"] == b"0-0")  # a trim keeps it


def _page_of(reply: object) -> Page:
    """Return the entries in the server's reply about a single stream; raises ValueError."""
    if reply is None:
        return _NOTHING
    found = msgspec.convert(reply, dict[bytes, list[tuple[bytes, list[bytes]]]])
    return next(iter(found.values()), _NOTHING)
