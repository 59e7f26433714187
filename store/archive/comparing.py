"""Compares sealed entries with those that should still be in the stream.

The archive is evidence: it was written before somebody could remove or change an event of the
stream. Entries that are not events are left out, since an operator may remove them.
"""

import msgspec

from store.archive.archive import Archive, Place
from store.archive.raw import RawStream
from store.archive.segment import Entry
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import is_foreign


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stream differs from a segment.

    ``sealed`` is the entry of the segment; None if only the stream has one there. ``stored`` is
    that of the stream; None if only the segment has one.
    """

    segment: str
    position: Position
    sealed: Entry | None
    stored: Entry | None

    @property
    def problem(self) -> str:
        if self.stored is None:
            return "it was removed from the stream"
        if self.sealed is None:
            return "it was inserted into the stream"
        return "it was changed in the stream"


async def differences(log: Log, archive: Archive, places: list[Place], at: int) -> list[Difference]:
    """Return where the stream differs from the segment: nothing if the segment has left it.

    Raises:
        Corrupt: the segment is damaged.
        Unavailable: Redis or the blob store does not answer.
    """
    partition = places[at].first.partition
    if places[at].first <= await log.trimmed(partition):
        return []
    entries = await archive.entries(places, at)
    head = (await archive.segment(places, at)).head
    found = await RawStream(log).all(head.first_position, head.last_position)
    if found == entries or head.first_position <= await log.trimmed(partition):  # left meanwhile
        return []
    sealed, stored = _events(entries), _events(found)
    return [
        Difference(
            segment=places[at].key,
            position=Position.of_entry(partition, entry_id),
            sealed=sealed.get(entry_id),
            stored=stored.get(entry_id),
        )
        for entry_id in sorted(
            sealed.keys() | stored.keys(), key=lambda each: Position.of_entry(partition, each)
        )
        if sealed.get(entry_id) != stored.get(entry_id)
    ]


def _events(entries: list[Entry]) -> dict[bytes, Entry]:
    return {each.entry_id: each for each in entries if not is_foreign(each.fields)}
