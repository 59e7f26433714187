"""Remembers confirmed events, to detect when the log has lost them.

A failover may lose events whose append was confirmed, and a read model may never have seen them: a
frozen master wakes, confirms the appends that waited for it, and only then learns that it has been
replaced. Only the process that got the answer knows of such an event.

The answers of each partition are kept in memory, in two parts:

| part | its answers |
|---|---|
| fresh | came since the last check |
| found | had their events in the log at the last check |

A server loses only the newest of its events in a failover. So while a partition keeps its owner and
has answered without a break, finding its newest answer vouches for all. Otherwise each fresh answer
is looked up, then the found ones from the newest on, until one is still there.
"""

from collections import deque

import msgspec

from store.log import codec
from store.log.position import Position
from store.log.stream import Stream


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event that an answer rests on. ``digest`` is empty if only the photo is known.

    ``owner`` is the server that gave the answer; None if the owner changed during the call.
    """

    position: Position
    photo_id: str
    digest: str
    owner: str | None


class _Remembered:
    """The answers of one partition."""

    def __init__(self, most: int, owner: str) -> None:
        self.fresh: deque[Answer] = deque(maxlen=most)
        self.found: deque[Answer] = deque(maxlen=most)
        self.owner = owner
        self.doubted = False


class Answered:
    """The answers of one process; the oldest are dropped when there are too many."""

    def __init__(self, stream: Stream, partitions: int, remembered: int) -> None:
        self._stream = stream
        self._most = max(1, remembered // partitions)
        self._kept: dict[int, _Remembered] = {}

    @property
    def partitions(self) -> list[int]:
        """The partitions with answers."""
        return list(self._kept)

    def owner(self, partition: int) -> str:
        return self._stream.redis.owner(self._stream.keys.log(partition))

    def note(self, position: Position, photo_id: str, digest: str, *, asked: str) -> None:
        """Remember an answer; ``asked`` is the partition's owner from before the call."""
        partition = position.partition
        owner = self.owner(partition)
        if (kept := self._kept.get(partition)) is None:
            kept = self._kept[partition] = _Remembered(self._most, asked)
        answer = Answer(
            position=position,
            photo_id=photo_id,
            digest=digest,
            owner=owner if owner == asked else None,
        )
        kept.fresh.append(answer)

    def doubt(self, partition: int) -> None:
        """Have each fresh answer looked up: the partition has failed to answer."""
        if (kept := self._kept.get(partition)) is not None:
            kept.doubted = True

    async def lost(self, partition: int) -> list[Answer]:
        """Return the answers whose event the log has lost, oldest first, and forget them.

        Raises:
            StoreError: the check failed; nothing is forgotten.
        """
        kept = self._kept.get(partition)
        if kept is None or not (kept.fresh or kept.found):
            return []
        while True:
            owner, doubted, kept.doubted = self.owner(partition), kept.doubted, False
            fresh = list(kept.fresh)
            try:
                gone = await self._lost_among(
                    kept, fresh, owner, each=doubted or owner != kept.owner
                )
            except BaseException:
                kept.doubted = kept.doubted or doubted
                raise
            if self.owner(partition) == owner:
                break
            kept.doubted = True  # the reads may have gone to the old owner
        left = {each.position for each in gone}
        looked_at = {id(each) for each in fresh}
        kept.found = deque(
            (each for each in (*kept.found, *fresh) if each.position not in left), self._most
        )
        kept.fresh = deque((each for each in kept.fresh if id(each) not in looked_at), self._most)
        kept.owner = owner
        return sorted(gone, key=_position_of)

    async def _lost_among(
        self, kept: _Remembered, fresh: list[Answer], owner: str, *, each: bool
    ) -> list[Answer]:
        newest = max((*fresh, *kept.found), key=_position_of)
        suspect = [one for one in fresh if each or one.owner != owner]
        gone = [one for one in suspect if not await self._is_in_log(one)]
        if not each and not gone and await self._is_in_log(newest):
            return []
        checked = {id(one) for one in suspect}
        gone += [one for one in fresh if id(one) not in checked and not await self._is_in_log(one)]
        for one in sorted(kept.found, key=_position_of, reverse=True):
            if await self._is_in_log(one):
                break
            gone.append(one)
        return gone

    async def _is_in_log(self, answer: Answer) -> bool:
        """Return whether the log has the event; another one may have taken its position."""
        found = await self._stream.at(answer.position, safe=False)
        if found is None:
            return False
        if not answer.digest:
            return found.event.data.photo_id == answer.photo_id
        return codec.digest(found.body) == answer.digest


def _position_of(answer: Answer) -> Position:
    return answer.position
