"""Writes the catalogs of segments that have left the stream; see ``store.archive.catalog``.

Equal segments give equal catalogs, so several archivers do no harm: the first one that commits a
catalog wins. One that was killed leaves a draft, which the next process of its name removes.
"""

from store.archive import catalog
from store.archive.archive import Archive, Place, digest_of
from store.archive.catalog import Head
from store.blobs.interface import Blobs
from store.errors import Corrupt, Exists
from store.log.log import Log
from store.log.position import Position


class Cataloguer:
    """Writes the catalogs of a log."""

    def __init__(self, log: Log, blobs: Blobs, archive: Archive) -> None:
        self._log = log
        self._blobs = blobs
        self._archive = archive
        self._written: dict[int, set[str]] = {}

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
        if partition not in self._written:
            self._written[partition] = set(await self._archive.catalogs.look(partition))
        written, trimmed = self._written[partition], await self._log.trimmed(partition)
        for begin in range(0, len(places) - group + 1, group):
            key = catalog.key_of(places[begin].first)
            if key in written:
                continue
            end = begin + group
            if (await self._archive.facts(places, end - 1)).head.last_position > trimmed:
                break
            await self._write(key, places, begin, end)
            written.add(key)
            count += 1
        return count

    async def _write(self, key: str, places: list[Place], begin: int, end: int) -> None:
        photos: list[tuple[int, int]] = []
        for at in range(begin, end):
            ids = await self._archive.photos_of(places, at)
            photos += [(digest_of(photo_id), at - begin) for photo_id in ids]
        head = Head(
            log=self._log.log_id,
            partition=places[begin].first.partition,
            first=places[begin].first.entry_id,
            last=places[end - 1].first.entry_id,
            segments=end - begin,
        )
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
