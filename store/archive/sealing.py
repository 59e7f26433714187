"""Seals ranges of a partition into segments: one archiver at a time, each range once.

| step | after a crash before the next one |
|---|---|
| take the lease of the partition | it expires |
| read the entries after the last segment, once they are safe | nothing has happened |
| write the segment as a draft | the next process of this name removes the draft |
| commit it under its key, which must be unused | the segment is there, and counts |
| read it back, and compare it with what was written | the next reader checks it too |

The lease only saves work. If two archivers seal at once, the store accepts one of the two files:
both have the same key, which the first entry decides. The other archiver goes on after it.

A segment is sealed only if the stream still has the last entry of the segment before it. Otherwise
a failover has lost events that are in the archive, and an operator has to decide. The same goes if
somebody has deleted a sealed event from the stream.
"""

import logging
import uuid

import msgspec

from store.archive.archive import Archive, Facts, key_of
from store.archive.cataloguer import discard
from store.archive.comparing import differences
from store.archive.naming import ends_early, named
from store.archive.raw import READ_COUNT, RawStream, after
from store.archive.segment import Entry, Head, Previous, encode
from store.archive.settings import SealingSettings
from store.blobs.interface import Blobs
from store.errors import Corrupt, Exists
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import translated

logger = logging.getLogger("photolog.archive")

LEASE_S = 60.0
"""How long an archiver may be silent before another one takes over."""


class _Seen(msgspec.Struct, kw_only=True):
    """The entries of a partition that are not due yet: how many and how large, up to ``next``."""

    first: Position
    next: Position
    oldest: Entry | None = None
    count: int = 0
    size: int = 0


class Sealer:
    """Seals the partitions of a log; ``name`` distinguishes it from other archivers."""

    def __init__(
        self,
        log: Log,
        blobs: Blobs,
        archive: Archive,
        settings: SealingSettings | None = None,
        *,
        name: str = "archiver",
    ) -> None:
        self._log = log
        self._blobs = blobs
        self._archive = archive
        self._settings = settings or SealingSettings()
        self._name = f"{name}:{uuid.uuid4().hex[:8]}"
        self._stream = RawStream(log)
        self._lease = log.redis.lua("archive/lease")
        self._ends: dict[int, tuple[str, Entry]] = {}
        self._seen: dict[int, _Seen] = {}
        self._deletions: dict[int, tuple[Position, int]] = {}

    async def hold(self, partition: int) -> bool:
        """Take or renew the lease of the partition; return False if another archiver has it."""
        return await self._leased(partition, LEASE_S)

    async def release(self, partition: int) -> None:
        """Give the lease up, if it is ours."""
        await self._leased(partition, 0)

    async def _leased(self, partition: int, seconds: float) -> bool:
        with translated():
            reply = await self._lease(
                keys=[self._log.keys.archiving(partition)],
                args=[self._name, int(seconds * 1000)],
            )
            return bool(msgspec.convert(reply, int))

    async def seal(self, partition: int, *, now: bool = False) -> list[Head]:
        """Seal what is due, or with ``now`` everything; return the heads of the new segments.

        Hold the lease meanwhile. Returns early if another archiver has taken it over.

        Raises:
            Corrupt: the archive is damaged, or has events that the stream has lost.
            Full: the blob store has no room.
            Unavailable: Redis or the blob store does not answer.
        """
        sealed: list[Head] = []
        while head := await self._seal_next(partition, now=now):
            sealed.append(head)
            if not await self.hold(partition):
                break
        return sealed

    async def _seal_next(self, partition: int, *, now: bool) -> Head | None:
        """Seal the next range; None if none is due."""
        last = await self._archive.last(partition, fresh=False)
        begin = Position.start(partition) if last is None else last.head.last_position
        entries = await self._due(after(begin), now=now)
        # Only now: another archiver may have sealed and trimmed entries before they were read.
        if await self._log.trimmed(partition) > begin:
            return await self._continue_after(partition, begin)
        if last is not None:
            await self._check_end(partition, last)
        if not entries:
            return None
        await self._check_deletions(partition)
        previous = last and Previous(first=last.head.first, sha256=last.sha256)
        data = encode(
            entries, log_id=self._log.log_id, partition=partition, previous=previous or None
        )
        await self._log.confirm(partition)
        first = Position.of_entry(partition, entries[0].entry_id)
        key = key_of(first)
        try:
            with named(key, first):
                async with self._blobs.draft(key) as draft:
                    await draft.write(data)
                    await draft.commit()
        except Exists:
            logger.info("%s was sealed by another archiver", key)
            places = await self._archive.places(partition)
        else:
            await self._check_written(key, data)
            # A listing takes longer the more segments there are. None can be missing: another
            # archiver would have used this key for the segment after the last one.
            self._archive.add(first, len(data))
            places = await self._archive.places(partition, fresh=False)
        return (await self._archive.facts(places, len(places) - 1)).head

    async def _continue_after(self, partition: int, begin: Position) -> Head:
        """Look for the segments that another archiver has sealed since; return the last one."""
        last = await self._archive.last(partition)
        if last is None or last.head.last_position <= begin:
            raise Corrupt(ends_early(begin, await self._log.trimmed(partition)))
        return last.head

    async def _check_written(self, key: str, data: bytes) -> None:
        stored = b"".join([chunk async for chunk in self._blobs.read(key)])
        if stored != data:
            raise Corrupt(
                f"segment {key}: it was read back with other bytes than were written; delete the "
                "file, so that its events are sealed again, and check the disk"
            )

    async def _check_end(self, partition: int, last: Facts) -> None:
        """Check that the stream continues the last segment."""
        end = last.head.last_position
        known = self._ends.get(partition)
        if known is None or known[0] != last.sha256:
            places = await self._archive.places(partition, fresh=False)
            entries = await self._archive.entries(places, len(places) - 1)
            known = self._ends[partition] = last.sha256, entries[-1]
        found = await self._stream.read(end, end, count=1)
        if found == [known[1]] or (not found and end <= await self._log.trimmed(partition)):
            return
        raise Corrupt(
            f"segment {key_of(last.head.first_position)} ends with {end}, but the stream has "
            f"{'another entry' if found else 'no entry'} there: events were lost after they were "
            "archived. Nothing is archived or trimmed any more. Restore the log from its backup; "
            "or discard what it lacks with `photolog log archive --discard-lost`"
        )

    async def _check_deletions(self, partition: int) -> None:
        """Check that no sealed event was deleted from the stream, if Redis says that one may be.

        The stream's counters show each ``XDEL`` at once, so the segments are compared only then. A
        stream that was written again as a whole has new counters: comparing all of its segments
        each time would read the archive again and again, and `photolog verify` does that.
        """
        with translated():
            info = await self._log.redis.xinfo_stream(self._log.keys.log(partition))
        newest = Position.of_entry(partition, info["max-deleted-entry-id"])
        mark = newest, int(info["entries-added"]) - int(info["length"])
        if newest <= await self._log.trimmed(partition) or self._deletions.get(partition) == mark:
            return
        places = await self._archive.places(partition, fresh=False)
        for at, place in enumerate(places):
            if place.first > newest:
                break
            for each in await differences(self._log, self._archive, places, at):
                raise Corrupt(
                    f"segment {each.segment} has the event at {each.position}, but "
                    f"{each.problem}: somebody changed the log. Nothing is archived or trimmed any "
                    "more; `photolog verify` names all such events"
                )
        self._deletions[partition] = mark

    async def discard_lost(self, partition: int) -> list[Head]:
        """Delete the segments at the end that have events that the stream has lost.

        Hold the lease meanwhile. Returns the heads of the deleted segments, the last one first.

        Raises:
            Corrupt: the archive is damaged.
            Unavailable: Redis or the blob store does not answer.
        """
        discarded: list[Head] = []
        while (last := await self._archive.last(partition)) is not None:
            end = last.head.last_position
            if end <= await self._log.trimmed(partition):
                break
            if await self._stream.read(end, end, count=1) or not await self.hold(partition):
                break
            key = key_of(last.head.first_position)
            await discard(self._blobs, self._archive, last.head.first_position)
            await self._blobs.delete(key)
            self._archive.forget(key)
            discarded.append(last.head)
        return discarded

    async def _due(self, first: Position, *, now: bool) -> list[Entry]:
        """Return the entries of the next segment; none if it is not due."""
        settings, partition = self._settings, first.partition
        now_ms = int((await self._log.now()).timestamp() * 1000)
        upto = None
        if not now:
            youngest_ms = now_ms - int(settings.archive_settle_s * 1000)
            upto = Position(partition, max(youngest_ms, 0), 0)
            if not await self._may_be_due(first, upto, now_ms):
                return []
        found: list[Entry] = []
        size, start = 0, first
        while page := await self._stream.read(start, upto):
            for entry in page:
                size += entry.size
                if found and size > settings.archive_segment_bytes:
                    return found
                found.append(entry)
                if len(found) == settings.archive_segment_entries:
                    return found
            if len(page) < READ_COUNT:
                break
            start = after(Position.of_entry(partition, page[-1].entry_id))
        return found if now or (found and self._is_old(partition, found[0], now_ms)) else []

    async def _may_be_due(self, first: Position, upto: Position, now_ms: int) -> bool:
        """Count the entries since the last call, so that each is read once until they are due."""
        partition, settings = first.partition, self._settings
        seen = self._seen.get(partition)
        if seen is None or seen.first != first:
            seen = self._seen[partition] = _Seen(first=first, next=first)
        while True:
            page = await self._stream.read(seen.next, upto)
            for entry in page:
                seen.oldest = seen.oldest or entry
                seen.count += 1
                seen.size += entry.size
            if page:
                seen.next = after(Position.of_entry(partition, page[-1].entry_id))
            is_full = (
                seen.count >= settings.archive_segment_entries
                or seen.size > settings.archive_segment_bytes
            )
            if is_full or len(page) < READ_COUNT:
                break
        return is_full or (seen.oldest is not None and self._is_old(partition, seen.oldest, now_ms))

    def _is_old(self, partition: int, entry: Entry, now_ms: int) -> bool:
        age_ms = now_ms - Position.of_entry(partition, entry.entry_id).ms
        return age_ms >= self._settings.archive_after_s * 1000
