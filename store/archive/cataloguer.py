"""Writes the catalogs of segments that have left the stream; see ``store.archive.catalog``.

Equal segments give equal catalogs, so several archivers do no harm: the first one that commits a
catalog wins. One that was killed leaves a draft, which the next process of its name removes. A
catalog that is damaged, or of other segments, is written again. An archiver that starts reads the
heads of those that are there; later, it reads them whole, one after the other.
"""

import logging

from store.archive import catalog
from store.archive.archive import Archive, Place, digest_of
from store.archive.catalog import Head
from store.blobs.interface import Blobs
from store.errors import Corrupt, Exists
from store.log.log import Log
from store.log.position import Position

logger = logging.getLogger("photolog.archive")


class Cataloguer:
    """Writes the catalogs of a log."""

    def __init__(self, log: Log, blobs: Blobs, archive: Archive) -> None:
        self._log = log
        self._blobs = blobs
        self._archive = archive
        self._written: dict[int, dict[str, None]] = {}
        self._examined: set[str] = set()

    async def write(self, partition: int) -> int:
        """Write the catalogs that are missing; return how many there were.

        Raises:
            Corrupt: the index of a segment is damaged.
            Full: the blob store has no room.
            Unavailable: Redis or the blob store does not answer.
        """
        group, count = self._archive.catalogs.group, 0
        places = await self._archive.places(partition, fresh=False)
        if len(places) < group:
            return 0
        trimmed = await self._log.trimmed(partition)
        written = self._written.setdefault(partition, {})
        there: dict[str, int] | None = None
        for begin in range(0, len(places) - group + 1, group):
            key = catalog.key_of(places[begin].first)
            if key in written:
                continue
            end = begin + group
            last = await self._archive.facts(places, end - 1)
            if last.head.last_position > trimmed:
                break
            head = Head(
                log=self._log.log_id,
                partition=partition,
                first=places[begin].first.entry_id,
                last=places[end - 1].first.entry_id,
                segments=group,
                sha256=last.sha256,
            )
            there = await self._archive.catalogs.look(partition) if there is None else there
            if key not in there or not await self._is_written(key, head):
                await self._write(key, head, places, begin)
                count += 1
            written[key] = None
        return count

    def examine(self, partition: int) -> None:
        """Read one of the partition's catalogs back, in turn, when others are written next."""
        written = self._written.get(partition)
        if written:
            key = next(iter(written))
            del written[key]
            self._examined.add(key)

    async def _is_written(self, key: str, head: Head) -> bool:
        """Return whether the catalog is this one; remove another one that has its name."""
        catalogs = self._archive.catalogs
        is_whole = catalogs.is_usable if key in self._examined else catalogs.is_named
        self._examined.discard(key)
        if await is_whole(key, head):
            return True
        logger.warning("the catalog %s is damaged, or of other segments: it is written again", key)
        await self._blobs.delete(key)
        catalogs.forget(key)
        return False

    async def _write(self, key: str, head: Head, places: list[Place], begin: int) -> None:
        photos: list[tuple[int, int]] = []
        for at in range(begin, begin + head.segments):
            ids = await self._archive.photos_of(places, at)
            photos += [(digest_of(photo_id), at - begin) for photo_id in ids]
        try:
            async with self._blobs.draft(key) as draft:
                await draft.write(catalog.encode(head, photos))
                await draft.commit()
        except Exists:
            pass


async def discard(blobs: Blobs, archive: Archive, lost: Position) -> None:
    """Delete the catalogs that may cover the segment that begins at ``lost``."""
    for key in await archive.catalogs.look(lost.partition):
        if await _may_cover(blobs, key, lost):
            await blobs.delete(key)
            archive.catalogs.forget(key)


async def _may_cover(blobs: Blobs, key: str, lost: Position) -> bool:
    page = b"".join([chunk async for chunk in blobs.read(key, 0, catalog.PAGE)])
    try:
        last = Position.parse(f"{lost.partition}:{catalog.decode_head(page).last}")
    except (Corrupt, ValueError):
        return True
    return last >= lost
