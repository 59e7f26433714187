"""Removes the cached states of photos and sessions at rest from Redis, segment by segment.

The last event of a photo, or of an upload session, is in exactly one segment. So once each segment
that has left the stream is looked at, every one at rest has been: one that is not at rest now gets
another event, which a later segment has. A segment is looked at when its last event is old enough.

A crash at any step leaves states that the next look removes: ``store.log.eviction`` records how far
the looks have come only after the states of a segment are gone. Several archivers do no harm.
"""

import bisect
from collections.abc import Awaitable, Callable

from domain.sessions.events import CHAIN
from store.archive.archive import Archive, Place
from store.archive.settings import TrimmingSettings
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import sift


class Evictor:
    """Removes the states of a log's photos and sessions."""

    def __init__(
        self, log: Log, archive: Archive, settings: TrimmingSettings | None = None
    ) -> None:
        self._log = log
        self._archive = archive
        self._after_s = (settings or TrimmingSettings()).archive_keep_states_s

    async def evict(self, partition: int, hold: Callable[[], Awaitable[bool]]) -> int:
        """Remove the states that are due; return how many there were.

        ``hold`` renews the lease of the partition after each segment; False ends the work early.

        Raises:
            Corrupt: the index of a segment is damaged.
            Unavailable: Redis or the blob store does not answer.
        """
        if self._after_s is None:
            return 0
        eviction, removed = self._log.eviction, 0
        trimmed = await self._log.trimmed(partition)
        done = await eviction.evicted(partition)
        until_ms = ((await self._log.now()).timestamp() - self._after_s) * 1000
        places = await self._archive.places(partition, fresh=False)
        for at in range(bisect.bisect_right(places, done, key=_first), len(places)):
            last = (await self._archive.facts(places, at)).head.last_position
            if last > trimmed or last.ms > until_ms:
                break
            ids = await self._archive.photos_of(places, at)
            chains = [each for each in ids if each.startswith(CHAIN)]
            if chains:
                ends, _ = sift(partition, await self._archive.last_of(places, at, chains))
                removed += await eviction.evict_sessions(partition, ends)
            removed += await eviction.evict(
                last, [each for each in ids if not each.startswith(CHAIN)]
            )
            await eviction.record(last)
            if not await hold():
                break
        return removed


def _first(place: Place) -> Position:
    return place.first
