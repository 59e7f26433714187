"""Reads pages of events ahead of a fold, and makes the pages of the history from them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from projections.models.history_pages import Paged, Pager, Stored
from projections.unpacker import Ended, Unpacker
from projections.unpacking import Unpack, Unpacked
from store.log.archived import Sealed
from store.log.log import Log
from store.log.position import Position
from store.log.stream import Recorded, recorded_of

LEAST_SEGMENTS = 8
"""From how many segments on it is worth starting another process, which takes half a second."""

AHEAD = 2
"""Segments that the other process has at a time: one that it unpacks, and the next one."""

logger = logging.getLogger("photolog.projector")


class Page(NamedTuple):
    """Events of one partition, and what they bring to the history."""

    recorded: Sequence[Recorded]
    paged: Paged


class Reading:
    """Reads the events of a partition after a position, up to ``upto``, at most ``count`` at once.

    ``waiting`` are the events up to there that do not fill a page of the history yet. What has left
    the stream is unpacked by ``unpacker``, if there is one and it is worth it.
    """

    def __init__(
        self,
        log: Log,
        after: Position,
        upto: Position | None,
        waiting: list[Stored],
        count: int,
        unpacker: Unpacker | None = None,
    ) -> None:
        self._log = log
        self._position = after
        self._upto = upto
        self._waiting = waiting
        self._count = count
        self._unpacker = unpacker

    async def run(self, into: MemoryObjectSendStream[Page]) -> None:
        """Send the pages in order, and close the stream after the last one."""
        async with into:
            if self._unpacker is not None:
                await self._unpack(self._unpacker, into)
            pager = Pager(self._waiting)
            while page := await self._next(pager):
                self._position = page.recorded[-1].position
                await into.send(page)

    async def _next(self, pager: Pager) -> Page | None:
        after, upto = self._position, self._upto
        if upto is not None and after >= upto:
            return None
        found = await self._log.read(after, count=self._count)
        if upto is not None and found and found[-1].position > upto:
            found = [each for each in found if each.position <= upto]
        if not found:
            return None
        return Page(found, await to_thread.run_sync(pager.add, found))

    async def _unpack(self, unpacker: Unpacker, into: MemoryObjectSendStream[Page]) -> None:
        """Send the pages of what has left the stream, as far as the other process lives."""
        end = await self._log.trimmed(self._position.partition)
        if self._upto is not None:
            end = min(end, self._upto)
        if await self._log.archive.segments(self._position, end) < LEAST_SEGMENTS:
            return
        asked, answered = anyio.create_memory_object_stream[Sealed](AHEAD - 1)
        with answered:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._ask, unpacker, self._position, end, asked)
                    await self._answer(unpacker, answered, into)
            except* Ended:
                logger.warning("the process that unpacks the archive has ended: going on without")

    async def _ask(
        self,
        unpacker: Unpacker,
        after: Position,
        end: Position,
        asked: MemoryObjectSendStream[Sealed],
    ) -> None:
        with asked, suppress(Ended):  # whoever waits for the answers notices it
            await unpacker.begin(self._waiting)
            while after < end:
                sealed = await self._log.archive.sealed(after)
                await asked.send(sealed)
                await unpacker.send(Unpack(sealed.data, after[1:], end[1:]))
                after = sealed.last

    async def _answer(
        self,
        unpacker: Unpacker,
        answered: MemoryObjectReceiveStream[Sealed],
        into: MemoryObjectSendStream[Page],
    ) -> None:
        async for sealed in answered:
            page = self._page(await unpacker.receive(sealed))
            if page.recorded:
                self._position = page.recorded[-1].position
                self._waiting = [*(() if page.paged.pages else self._waiting), *page.paged.rest]
                await into.send(page)

    def _page(self, answer: Unpacked) -> Page:
        partition = self._position.partition
        positions = [
            Position(partition, ms, seq) for ms, seq in zip(answer.ms, answer.seq, strict=True)
        ]
        recorded = recorded_of(positions, answer.bodies)
        rest = [
            Stored(each.position.ms, each.position.seq, each.body)
            for each in recorded[len(recorded) - answer.rest :]
        ]
        return Page(recorded, Paged(answer.pages, answer.members, rest))
