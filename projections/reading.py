"""Reads pages of events ahead of a fold, and makes the pages of the history from them."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from projections.models.history_pages import Paged, Pager, Stored
from projections.new_photos import NewPhotos
from projections.unpacker import Ended, Unpacker
from projections.unpacking import Unpack, Unpacked
from store.log.archived import Page as Entries
from store.log.archived import Sealed
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded, events_in

LEAST_SEGMENTS = 16
"""From how many segments on it is worth to start another process, which takes a fifth of a second
of CPU time: as long as the fold of three or four. Meanwhile this one folds."""

AHEAD = 2
"""Segments that the other process has at a time: one that it unpacks, and the next one."""

logger = logging.getLogger("photolog.projector")


class Page(NamedTuple):
    """The next events of one partition, up to ``upto``, and what they bring.

    ``recorded`` are those that are to be applied; the rows of ``new`` photos are made already.
    """

    upto: Position
    events: int
    recorded: Sequence[Recorded]
    paged: Paged
    new: NewPhotos | None = None


Opening = Callable[[], Page | None]
"""Decodes a page that was read, None if it has no events; raises Corrupt. Call it in the thread
that folds the page: two busy threads of Python only take turns."""


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
        self._is_behind = False

    async def run(self, into: MemoryObjectSendStream[Opening]) -> None:
        """Send the pages in order, and close the stream after the last one."""
        async with into:
            if self._unpacker is not None:
                await self._unpack(self._unpacker, into)
            await self._read(Pager(self._waiting), self._upto, into)

    async def _read(
        self,
        pager: Pager,
        upto: Position | None,
        into: MemoryObjectSendStream[Opening],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send the pages up to there, or until it is stopped; ``pager`` makes the history's."""
        while (upto is None or self._position < upto) and not stopped():
            entries = await self._log.page(self._position, self._count)
            if not entries:
                break
            self._position = Position.of_entry(self._position.partition, entries[-1][0])
            await into.send(partial(self._opened, entries, pager))

    def _opened(self, entries: Entries, pager: Pager) -> Page | None:
        recorded = events_in(self._position.partition, entries)
        upto = self._upto
        if upto is not None and recorded and recorded[-1].position > upto:
            recorded = [each for each in recorded if each.position <= upto]
        if not recorded:
            return None
        return Page(recorded[-1].position, len(recorded), recorded, pager.add(recorded))

    async def _unpack(self, unpacker: Unpacker, into: MemoryObjectSendStream[Opening]) -> None:
        """Send the pages of what has left the stream, as far as the other process lives."""
        end = await self._log.trimmed(self._position.partition)
        if self._upto is not None:
            end = min(end, self._upto)
        if end <= self._position:
            return  # nothing has left the stream: the archive may not even be there
        if await self._log.archive.segments(self._position, end) < LEAST_SEGMENTS:
            return
        await self.read_until_ready(unpacker, end, into)
        if end <= self._position:
            return
        ended_well = False
        try:
            ended_well = await self._share(unpacker, end, into)
        finally:
            if not ended_well:  # what it still answers is nobody's
                unpacker.stop()

    async def _share(
        self, unpacker: Unpacker, end: Position, into: MemoryObjectSendStream[Opening]
    ) -> bool:
        """Send the pages that the other process makes; return False if it ends too early."""
        ended_well = False
        asked, answered = anyio.create_memory_object_stream[Sealed](AHEAD - 1)
        with answered:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._ask, unpacker, self._position, end, asked)
                    await self._answer(unpacker, answered, into)
                ended_well = True
            except* Ended:
                logger.warning("the process that unpacks the archive has ended: going on without")
        return ended_well

    async def read_until_ready(
        self, unpacker: Unpacker, end: Position, into: MemoryObjectSendStream[Opening]
    ) -> None:
        """Send pages while the other process starts, at most up to ``end``."""
        pager, ready = Pager(self._waiting), anyio.Event()

        async def start() -> None:
            with suppress(Ended):  # whoever asks it notices that
                await unpacker.start()
            ready.set()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start)
                await self._read(pager, end, into, ready.is_set)
                tasks.cancel_scope.cancel()  # nothing may be left for it
        finally:
            if not ready.is_set():
                unpacker.stop()
        self._waiting = await _rest_of(pager, into)

    async def _ask(
        self,
        unpacker: Unpacker,
        after: Position,
        end: Position,
        asked: MemoryObjectSendStream[Sealed],
    ) -> None:
        """Ask for one segment after the other; the other process folds while this one is behind."""
        with asked, suppress(Ended):  # whoever waits for the answers notices it
            await unpacker.begin(self._waiting)
            while after < end:
                sealed = await self._log.archive.sealed(after)
                await asked.send(sealed)
                request = Unpack(sealed.data, after[1:], end[1:], fold=self._is_behind)
                await unpacker.send(request)
                after = sealed.last

    async def _answer(
        self,
        unpacker: Unpacker,
        answered: MemoryObjectReceiveStream[Sealed],
        into: MemoryObjectSendStream[Opening],
    ) -> None:
        async for sealed in answered:
            answer = await unpacker.receive(sealed)
            self._is_behind = is_behind(into)
            for note in answer.notes:
                logger.warning("%s", note)
            if answer.upto is not None:
                self._position = Position(self._position.partition, *answer.upto)
                self._waiting = answer.rest if answer.pages else self._waiting + answer.rest
                await into.send(partial(_unpacked, self._position, answer))


async def _rest_of(pager: Pager, into: MemoryObjectSendStream[Opening]) -> list[Stored]:
    """Return what fills no page yet, once all that was sent is opened."""
    opened = anyio.Event()

    def note() -> None:
        anyio.from_thread.run_sync(opened.set)

    await into.send(note)
    await opened.wait()
    return pager.rest


def is_behind(pages: MemoryObjectSendStream[Opening]) -> bool:
    """Return whether the thread that folds the pages has one at hand, rather than waits for it."""
    return pages.statistics().tasks_waiting_receive == 0


def _unpacked(upto: Position, answer: Unpacked) -> Page:
    recorded = answer.left.recorded(upto.partition)
    paged = Paged(answer.pages, answer.members, answer.rest)
    return Page(upto, answer.count, recorded, paged, answer.new)
