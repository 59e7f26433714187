"""What this process was answered for, so that it can tell when the log has lost it.

A failover may lose events whose append was answered, and a read model may never have seen them: a
master that was frozen wakes, answers what waited for it, and is then told that another one has
taken its place. Nobody but whoever got the answer knows of such an event.

Answers of each partition are kept in memory, in two parts:

| part | what is known of it |
|---|---|
| fresh | answered since the last look |
| found | was in the log at the last look |

What one server loses in a failover is always the end of what it had. So while a partition has the
same owner, and has answered all the time, its newest answer stands for all. After that each fresh
answer is looked for, and those found earlier from the newest on, until one is still there.
"""

from collections import deque

import msgspec

from store.log import codec
from store.log.position import Position
from store.log.stream import Stream


class Remembering(msgspec.Struct, frozen=True, kw_only=True):
    """``answers_remembered`` are those of one process, in equal parts for its partitions; they are
    looked for each ``answers_checked_s``."""

    answers_remembered: int = 10_000
    answers_checked_s: float = 2.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An event that an answer rests on. ``digest`` is empty where only the photo is known.

    ``owner`` is the server that gave it; None if that changed at this very time.
    """

    position: Position
    photo_id: str
    digest: str
    owner: str | None


class _Kept:
    """The answers of one partition."""

    def __init__(self, most: int, owner: str) -> None:
        self.fresh: deque[Answer] = deque(maxlen=most)
        self.found: deque[Answer] = deque(maxlen=most)
        self.owner = owner
        self.doubted = False


class Answered:
    """The answers of one process; once there are too many the oldest are forgotten."""

    def __init__(self, stream: Stream, partitions: int, remembered: int) -> None:
        self._stream = stream
        self._most = max(1, remembered // partitions)
        self._kept: dict[int, _Kept] = {}

    @property
    def partitions(self) -> list[int]:
        """Those of which there are answers."""
        return list(self._kept)

    def owner(self, partition: int) -> str:
        return self._stream.redis.owner(self._stream.keys.log(partition))

    def note(self, position: Position, photo_id: str, digest: str, *, asked: str) -> None:
        """Remember an answer; ``asked`` is who owned the partition before it was asked."""
        partition = position.partition
        owner = self.owner(partition)
        kept = self._kept.setdefault(partition, _Kept(self._most, asked))
        answer = Answer(
            position=position,
            photo_id=photo_id,
            digest=digest,
            owner=owner if owner == asked else None,
        )
        kept.fresh.append(answer)

    def doubt(self, partition: int) -> None:
        """Look for each fresh answer: the partition did not answer for a while."""
        if (kept := self._kept.get(partition)) is not None:
            kept.doubted = True

    async def lost(self, partition: int) -> list[Answer]:
        """Return the answers whose event the log does not have, oldest first, and forget them.

        Raises:
            StoreError: that was not to be found out; nothing is forgotten.
        """
        kept = self._kept.get(partition)
        if kept is None or not (kept.fresh or kept.found):
            return []
        while True:
            owner, doubted, kept.doubted = self.owner(partition), kept.doubted, False
            fresh = list(kept.fresh)
            try:
                gone = await self._missing(kept, fresh, owner, each=doubted or owner != kept.owner)
            except BaseException:
                kept.doubted = kept.doubted or doubted
                raise
            if self.owner(partition) == owner:
                break
            kept.doubted = True  # what was read may have been the old owner's
        left = {each.position for each in gone}
        looked_at = {id(each) for each in fresh}
        kept.found = deque(
            (each for each in (*kept.found, *fresh) if each.position not in left), self._most
        )
        kept.fresh = deque((each for each in kept.fresh if id(each) not in looked_at), self._most)
        kept.owner = owner
        return sorted(gone, key=_place)

    async def _missing(
        self, kept: _Kept, fresh: list[Answer], owner: str, *, each: bool
    ) -> list[Answer]:
        newest = max((*fresh, *kept.found), key=_place)
        suspect = [one for one in fresh if each or one.owner != owner]
        gone = [one for one in suspect if not await self._is_there(one)]
        if not each and not gone and await self._is_there(newest):
            return []
        checked = {id(one) for one in suspect}
        gone += [one for one in fresh if id(one) not in checked and not await self._is_there(one)]
        for one in sorted(kept.found, key=_place, reverse=True):
            if await self._is_there(one):
                break
            gone.append(one)
        return gone

    async def _is_there(self, answer: Answer) -> bool:
        """Another event may have come to stand at the same position."""
        entries = await self._stream.read(answer.position.before, count=1, safe=False)
        if not entries or entries[0].position != answer.position:
            return False
        if not answer.digest:
            return entries[0].event.data.photo_id == answer.photo_id
        return codec.digest(entries[0].body) == answer.digest


def _place(answer: Answer) -> Position:
    return answer.position
