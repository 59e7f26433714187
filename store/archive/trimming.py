"""Removes entries from the stream that the archive has: whole segments, exactly.

A segment leaves the stream once all of this holds:

| condition | why |
|---|---|
| its file was read back, whole, and each entry equals that in the stream | no entry can be lost |
| it is older than the retention, or the stream is larger than its bound | an operator wants it |
| the dispatchers have planned all of its events | they read the stream alone |
| it does not have the stream's last entry | the end of the stream says where the log ends |

All other readers take what they have not read from the archive. The record of what was removed is
written by the step that removes it, see ``store.log.archived``.
"""

import logging
from typing import cast

import msgspec

from store.archive.archive import Archive, Place, key_of
from store.archive.raw import RawStream, after
from store.archive.segment import Head
from store.archive.settings import TrimmingSettings
from store.errors import Corrupt
from store.log.archived import trimmed_of
from store.log.log import Log
from store.log.position import Position
from store.queue.dispatch import DISPATCH
from store.queue.liveness import log_size
from store.redis.connection import translated

logger = logging.getLogger("photolog.archive")


class Trimmer:
    """Trims the partitions of a log; hold the lease of ``Sealer`` meanwhile."""

    def __init__(
        self, log: Log, archive: Archive, settings: TrimmingSettings | None = None
    ) -> None:
        self._log = log
        self._archive = archive
        self._settings = settings or TrimmingSettings()
        self._stream = RawStream(log)
        self._script = log.redis.lua("archive/trim")
        self._restore = log.redis.lua("archive/restore_trimmed")

    @property
    def trims(self) -> bool:
        settings = self._settings
        return settings.archive_keep_s is not None or settings.archive_keep_bytes is not None

    async def trim(self, partition: int) -> int:
        """Trim the segments that are due; return how many entries were removed.

        Raises:
            Corrupt: a segment cannot be read back, or differs from the stream; it stays there.
            Unavailable: Redis or the blob store does not answer.
        """
        if not self.trims:
            return 0
        removed = 0
        while (at := await self._next(partition)) is not None:
            places = await self._archive.places(partition, fresh=False)
            head = (await self._archive.facts(places, at)).head
            if not await self._may_leave(head):
                break
            removed += await self._trim(places, at)
        return removed

    async def find_again(self, partition: int) -> None:
        """Write the record of what has left the stream again, if it was lost.

        Raises:
            Corrupt: the archive lacks entries that have left the stream.
        """
        key = self._log.keys.trimmed(partition)
        with translated():
            record = msgspec.convert(await self._log.redis.get(key), bytes | None) or b""
        if trimmed_of(partition, record) != Position.start(partition):
            return
        removed = await self._log.removed(partition)
        if not removed.entries or not (removed.exact or self.trims):
            return
        places = await self._archive.places(partition)
        heads = [facts.head for facts in await self._archive.chain(places)]
        if not removed.exact:
            first = await self._log.first_entry(partition)
            left = [head for head in heads if first is not None and head.last_position < first]
            if left:
                await self._write_again(left[-1].last_position, record)
            return
        missing = removed.entries
        for head in heads:
            missing -= head.entries  # segments leave the stream as a whole
            if missing == 0:
                await self._write_again(head.last_position, record)
                return
        raise Corrupt(
            f"partition {partition}: the archive lacks events that have left the stream, and the "
            "record of them is gone: bring the segments back from a backup"
        )

    async def _write_again(self, upto: Position, record: bytes) -> None:
        with translated():
            key = self._log.keys.trimmed(upto.partition)
            written = await self._restore(keys=[key], args=[record, str(upto)])
        if written:
            logger.warning(
                "found again that partition %d was trimmed up to %s", *(upto.partition, upto)
            )

    async def _next(self, partition: int) -> int | None:
        """Return the number of the first segment that is still in the stream."""
        trimmed = await self._log.trimmed(partition)
        places = await self._archive.places(partition, fresh=False)
        return next((at for at, place in enumerate(places) if place.first > trimmed), None)

    async def _may_leave(self, head: Head) -> bool:
        """Return whether the segment is due, and no dispatcher needs it."""
        partition, settings = head.partition, self._settings
        age_s = (await self._log.now()).timestamp() - head.last_position.ms / 1000
        is_due = settings.archive_keep_s is not None and age_s >= settings.archive_keep_s
        if not is_due and settings.archive_keep_bytes is not None:
            size = (await log_size(self._log, partition)).memory_bytes
            is_due = size is not None and size > settings.archive_keep_bytes
        if not is_due or await self._log.last_entry(partition) <= head.last_position:
            return False
        return head.last_position <= await self._planned(partition)

    async def _planned(self, partition: int) -> Position:
        """Return the position up to which dispatchers have planned all events."""
        key = self._log.keys.log(partition)
        with translated():
            for group in await self._log.redis.xinfo_groups(key):
                if group["name"] == DISPATCH.encode():
                    delivered = Position.of_entry(partition, group["last-delivered-id"])
                    held = await self._log.redis.xpending_range(key, DISPATCH, "-", "+", 1)
                    if held:
                        first = cast("bytes", held[0]["message_id"])
                        return Position.of_entry(partition, first).before
                    return delivered
        return Position.start(partition)

    async def _trim(self, places: list[Place], at: int) -> int:
        """Read the segment back, compare it with the stream, and trim it."""
        place = places[at]
        self._archive.forget(place.key)  # read it from the store, not from memory
        sealed = await self._archive.entries(places, at)
        head = (await self._archive.segment(places, at)).head
        first, last = head.first_position, head.last_position
        stored = await self._stream.all(first, last)
        if stored != sealed:
            differing = next(
                (theirs for theirs, ours in zip(stored, sealed, strict=False) if theirs != ours),
                (stored or sealed)[-1],
            )
            raise Corrupt(
                f"segment {key_of(first)} differs from the stream at "
                f"{Position.of_entry(first.partition, differing.entry_id)}: it is not trimmed"
            )
        partition = first.partition
        with translated():
            reply = await self._script(
                keys=[
                    self._log.keys.log(partition),
                    self._log.keys.trimmed(partition),
                    self._log.keys.identity(partition),
                ],
                args=[self._log.log_id, first.entry_id, after(last).entry_id, str(last)],
            )
            removed = msgspec.convert(reply, int)
        if removed < 0:
            raise Corrupt(
                f"partition {partition} does not begin at {first} any more, or has another log"
            )
        return removed
