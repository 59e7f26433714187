"""The archiver: seals each partition, trims what has been sealed, removes the cached states of
photos at rest, and splits large keys of content hashes, until cancelled.

| what it finds | what it does |
|---|---|
| Redis or the blob store away, a full disk | waits, and says so once |
| a segment that is damaged, missing or foreign | the same, and names it; nothing is trimmed |
| one that it does not need now, every ``EXAMINE_S`` | names it, and goes on |
| one that a reader could not use | the same, at its next look |
| another archiver at work | leaves the partition to it until its lease ends |
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio
import msgspec

from store.archive import reports
from store.archive.archive import Archive
from store.archive.cataloguer import Cataloguer
from store.archive.evictor import Evictor
from store.archive.sealing import Sealer
from store.archive.segment import Head
from store.archive.settings import SealingSettings, TrimmingSettings
from store.archive.trimming import Trimmer
from store.background import Background
from store.blobs.interface import Blobs
from store.errors import StoreError, Unavailable
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.observing import ignore
from store.outage import Outage

logger = logging.getLogger("photolog.archive")

FIRST_PAUSE_S = 1.0
REMIND_S = 600.0

UNANSWERED_S = 30.0
"""How long Redis or the blob store may not answer before health says so of the archive too."""

EXAMINE_S = 600.0
"""How often the chain of the segments is checked, and one of them, in turn, read back."""


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a partition: new and discarded segments, how many entries left the stream, and
    how many states of photos at rest left Redis.

    ``held`` is False if another archiver is at work there: then nothing was done.
    """

    partition: int
    sealed: list[Head] = []
    trimmed: int = 0
    evicted: int = 0
    discarded: list[Head] = []
    held: bool = True


class Archiver:
    """Archives all partitions of a log; any number of archivers may run.

    ``failing`` has the partitions that it cannot archive now. What lasts for ``unanswered_s`` is
    reported to health, and everything else that keeps it from its work at once.
    """

    def __init__(
        self,
        log: Log,
        blobs: Blobs,
        archive: Archive,
        *,
        sealing: SealingSettings | None = None,
        trimming: TrimmingSettings | None = None,
        name: str = "archiver",
        background: Background | None = None,
        observe: Callable[[Passed], None] = ignore,
        unanswered_s: float = UNANSWERED_S,
    ) -> None:
        self._log = log
        self._unanswered_s = unanswered_s
        self._archive = archive
        self._turns: Counter[int] = Counter()
        self._sealer = Sealer(log, blobs, archive, sealing, name=name)
        self._trimmer = Trimmer(log, archive, trimming)
        self._cataloguer = Cataloguer(log, blobs, archive)
        self._evictor = Evictor(log, archive, trimming)
        self._splitter = HashSplitter(log)
        self._every_s = (sealing or SealingSettings()).archive_every_s
        self._background = background or Background()
        self._observe = observe
        self.failing: Counter[int] = Counter()

    async def run(self) -> None:
        """Archive until cancelled.

        Raises:
            Exception: an unexpected error that keeps recurring.
        """
        async with anyio.create_task_group() as tasks:
            for partition in range(self._log.partitions):
                keep = partial(
                    self._background.keep,
                    "archive",
                    partial(self._follow, partition),
                    part=f"partition {partition}",
                )
                tasks.start_soon(keep)

    async def archive(
        self, partition: int, *, now: bool = False, discard_lost: bool = False
    ) -> Passed:
        """Seal what is due, or with ``now`` everything; trim, evict and split what is due.

        With ``discard_lost``, first delete segments with events that the stream has lost.

        Raises:
            Corrupt: the archive is damaged, or differs from the stream.
            Full: the blob store has no room.
            Unavailable: Redis or the blob store does not answer.
        """
        await self._log.confirm()
        if not await self._sealer.hold(partition):
            return Passed(partition=partition, held=False)
        try:
            await self._trimmer.find_again(partition)
            discarded = await self._sealer.discard_lost(partition) if discard_lost else []
            sealed = await self._sealer.seal(partition, now=now)
            removed = await self._trimmer.trim(partition)
            if self._trimmer.trims:
                await self._cataloguer.write(partition)
            evicted = await self._evictor.evict(partition, partial(self._sealer.hold, partition))
            await self._splitter.split(partition)
        finally:
            await self._sealer.release(partition)
        return Passed(
            partition=partition,
            sealed=sealed,
            trimmed=removed,
            evicted=evicted,
            discarded=discarded,
        )

    async def examine(self, partition: int) -> None:
        """Check that the segments form one chain, and read one of them back, in turn.

        One of the catalogs is read back, in turn, when others are written next.

        Raises:
            Corrupt: a segment is damaged, missing or foreign.
            Unavailable: the blob store does not answer.
        """
        self._cataloguer.examine(partition)
        places = await self._archive.check(partition)
        if places:
            at = self._turns[partition] % len(places)
            await self._archive.examine(places, at)
            self._turns[partition] += 1

    async def examine_doubted(self, partition: int) -> None:
        """Read the segment back that a reader could not use, if any; raises as ``examine``."""
        key = await reports.doubted(self._log, partition)
        if key is None:
            return
        places = await self._archive.check(partition)
        for at, place in enumerate(places):
            if place.key == key:
                await self._archive.examine(places, at)
        await reports.trust(self._log, partition)

    async def _follow(self, partition: int) -> None:
        outage = Outage(
            logger,
            f"partition {partition} is not archived for now",
            f"partition {partition} is archived again",
            first_s=FIRST_PAUSE_S,
            remind_s=REMIND_S,
        )
        examine_at, reported = 0.0, True
        while True:
            try:
                passed = await self.archive(partition)
                self._observe(passed)
                if not passed.held:  # this says nothing about the archive
                    await anyio.sleep(self._every_s)
                    continue
                if anyio.current_time() >= examine_at:
                    await self.examine(partition)
                    examine_at = anyio.current_time() + EXAMINE_S
                await self.examine_doubted(partition)
                if reported:
                    await reports.withdraw(self._log, partition)
                    reported = False
                outage.over()
                self.failing.pop(partition, None)
                await anyio.sleep(self._every_s)
            except StoreError as error:
                self.failing[partition] = 1
                reported = True
                if not isinstance(error, Unavailable) or outage.waited_s >= self._unanswered_s:
                    with suppress(StoreError):
                        await reports.report(self._log, partition, error)
                await outage.wait(error, longest_s=max(self._every_s, FIRST_PAUSE_S))
