"""The projector: follow the log and keep the live generation up to date.

| what it finds | what it does |
|---|---|
| no read model; one that is damaged, or belongs to another log or version | rebuilds it |
| one that covers other partitions than those it follows | rebuilds it |
| one of another version with the same tables | makes its indexes, and continues with it |
| a reader has reported damage | checks the file, and rebuilds it if it is damaged |
| a file beside it, the WAL or its index, is missing or replaced | rebuilds it |
| the log no longer has the last event of a partition | folds that partition again |
| a rebuild has replaced the live generation | continues with the new one |
| an operator has requested a rebuild | begins it, and follows the log meanwhile |
| Redis does not answer, the disk is full | waits and retries without end |

Readers use the old generation until a new one has caught up.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import msgspec
from anyio import to_thread

from domain.pipeline.rebuilds import RebuildRequested
from projections import fold, other_versions
from projections.data_loss import LOOKED_BACK, Loss, measure, report
from projections.models import checkpoints, history
from projections.models.checkpoints import Coverage
from projections.models.history import HistoryEntry
from projections.pace import Pace
from projections.rebuild import rebuild, sweep
from projections.refold import refold
from projections.requested import Objection, no_objection, rebuild_as_requested
from store.background import Background
from store.errors import Corrupt, StoreError, Unavailable
from store.log.doorbell import ring
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.observing import ignore
from store.outage import Outage
from store.redis.connection import BLOCK_MS
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations, inodes

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger("photolog.projector")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

MISSING = "a file of the read model is missing"

Mismatch = Callable[[Connection], str | None]
"""Returns why a generation cannot be continued; None if it can."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one partition that one transaction has folded; ``began_ns`` counts from 1970."""

    recorded: Sequence[Recorded]
    began_ns: int
    seconds: float


class Projector:
    """The only projector of a folder of generations; any number of processes may read them.

    ``observe`` is called for every commit to the live generation, not for those of a rebuild.
    ``objection`` says whether a rebuild that an operator has requested may begin. ``partitions``
    are those that the read model covers, all of the log's by default; raises ValueError.
    """

    def __init__(
        self,
        log: Log,
        generations: Generations,
        observe: Callable[[Committed], None] = ignore,
        background: Background | None = None,
        objection: Objection = no_objection,
        partitions: Iterable[int] | None = None,
    ) -> None:
        self._log = log
        every = range(log.partitions) if partitions is None else partitions
        self._covers = Coverage.some(every, log.partitions)
        self._objection = objection
        self._requested = anyio.Event()
        self._background = background or Background()
        self._observe = observe
        self._generations = generations
        self._outage = _outage("the projector")
        self._reporting = anyio.Lock()
        self._reported: dict[int, Position] = {}

    async def run(self) -> None:
        """Follow the log until cancelled; a commit that has begun is finished first.

        Raises:
            Exception: an unexpected error that keeps recurring.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    self._background.keep, "requested rebuilds", self._rebuild_when_requested
                )
                await self._background.keep("projector", self._run)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _rebuild_when_requested(self) -> None:
        while True:
            await self._requested.wait()
            self._requested = anyio.Event()
            await rebuild_as_requested(self._log, self._generations, self._objection)

    async def _run(self) -> None:
        await sweep(self._log, self._generations)
        while True:
            try:
                await self._on_live(self._follow)
            except StoreError as error:
                await self._outage.wait(error, longest_s=LONGEST_PAUSE_S)

    async def catch_up(self) -> None:
        """Fold everything that is in the log. Do not call this while ``run`` is running.

        Raises:
            StoreError: this was not possible; everything committed until then stays.
        """
        await self._on_live(self._read_to_end)

    async def _on_live(self, work: Callable[["_Live"], Awaitable[None]]) -> None:
        """Do the work on the live generation; start over whenever another one becomes live."""
        while True:
            try:
                live = await _Live.open(self._generations, self._mismatch)
                try:
                    return await work(live)
                finally:
                    live.close()
            except _Superseded:
                logger.info("the live generation was replaced: continuing with the new one")
            except _Unusable as reason:
                expected = isinstance(reason, _Absent)  # at the very first start
                level = logging.INFO if expected else logging.WARNING
                logger.log(level, "%s: rebuilding it from the log", reason)
                rebuilt = await rebuild(self._log, self._generations, covers=self._covers)
                if rebuilt.kept is not None:
                    logger.error("%s", rebuilt)  # noqa: TRY400 # the reason was logged above

    def _mismatch(self, db: Connection) -> str | None:
        return fold.mismatch(db, self._log.log_id, self._covers)

    async def _follow(self, live: "_Live") -> None:
        """Follow all partitions until this generation must no longer be written."""
        ends: list[Exception] = []

        async def follow(partition: int) -> None:
            try:
                await self._follow_partition(live, partition)
            except (_Superseded, _Unusable) as end:
                ends.append(end)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for partition in self._covers.partitions:
                keep = partial(
                    self._background.keep,
                    "projection",
                    partial(follow, partition),
                    part=f"partition {partition}",
                )
                tasks.start_soon(keep)
        raise ends[0]

    async def _follow_partition(self, live: "_Live", partition: int) -> None:
        outage = _outage(f"partition {partition} of the projector")
        pace = Pace()
        while True:
            try:
                owner = self._log.owner(partition)
                position = await self._resume(live, partition)
                position = await self._step(live, position, owner=owner)
                outage.over()
                self._outage.over()
                while self._log.owner(partition) == owner:
                    reached = await self._step(live, position, block_ms=BLOCK_MS, owner=owner)
                    if reached != position:
                        await anyio.sleep(pace.pause_s(anyio.current_time()))
                    position = reached
            except StoreError as error:
                await outage.wait(error, longest_s=LONGEST_PAUSE_S)

    async def _read_to_end(self, live: "_Live") -> None:
        for partition in self._covers.partitions:
            position = await self._resume(live, partition)
            while (reached := await self._step(live, position)) != position:
                position = reached

    async def _resume(self, live: "_Live", partition: int) -> Position:
        """Return where to continue, after checking that the log has not lost events.

        It may have after an outage, and when the partition has a new owner.
        """
        position = await live.checkpoint(partition)
        if await fold.in_log(self._log, position):
            return position
        await self._log.confirm()  # never fold another log
        await self._log.confirm(partition)
        await self._report_losses(live, partition)
        logger.warning(
            "the log no longer has %s, which the read model has: folding partition %d again",
            *(position, partition),
        )
        reached = await refold(self._log, self._generations, live, position)
        with suppress(Unavailable):
            await ring(self._log)
        return reached

    async def _report_losses(self, live: "_Live", partition: int) -> None:
        """Report the loss of the partition once, while the read model still has the lost events.

        The losses of other partitions that answer are reported in the same alert, because an alert
        that names no photo is recorded at most once a minute.
        """
        async with self._reporting:
            found: list[Loss] = []
            others = set(self._covers.partitions) - {partition}
            for number in (partition, *sorted(others)):
                try:
                    loss = await self._loss(live, number)
                except StoreError:
                    if number == partition:
                        raise
                    continue
                if loss is not None:
                    found.append(loss)
            if found:
                await report(self._log, found)
            for loss in found:
                self._reported[loss.upto.partition] = loss.upto

    async def _loss(self, live: "_Live", partition: int) -> Loss | None:
        """Return the loss of the partition; None if there is none, or it was reported already."""
        upto = await live.checkpoint(partition)
        if self._reported.get(partition) == upto or await fold.in_log(self._log, upto):
            return None
        await self._log.confirm(partition)
        return await measure(self._log, upto, await live.latest(upto, LOOKED_BACK))

    async def _step(
        self,
        live: "_Live",
        position: Position,
        *,
        block_ms: int | None = None,
        owner: str | None = None,
    ) -> Position:
        """Commit the next events, unless the partition no longer has this ``owner``."""
        recorded = await self._log.read(position, block_ms=block_ms)
        if owner is not None and self._log.owner(position.partition) != owner:
            return position
        began_ns, began = time.time_ns(), time.perf_counter()
        await live.commit(recorded)
        if not recorded:
            return position
        if any(isinstance(each.event.data, RebuildRequested) for each in recorded):
            self._requested.set()
        seconds = time.perf_counter() - began
        self._observe(Committed(recorded=recorded, began_ns=began_ns, seconds=seconds))
        with suppress(Unavailable):  # readers also poll
            await ring(self._log)
        return recorded[-1].position


class _Superseded(Exception):
    """Another generation is live, or the file was replaced: do not write this one any more."""


class _Unusable(Exception):
    """This code cannot continue the generation; the message says why."""


class _Absent(_Unusable):
    """There is no generation."""


class _Live:
    """The live generation, open for writing. One thread at a time uses the connection."""

    def __init__(
        self, generations: Generations, path: Path, db: Connection, mismatch: Mismatch
    ) -> None:
        self._generations = generations
        self._mismatch = mismatch
        self.path = path
        self._inodes = inodes(path)
        self._db = db
        self._lock = anyio.Lock()

    @classmethod
    async def open(cls, generations: Generations, mismatch: Mismatch) -> "_Live":
        """Raises _Unusable if it cannot be continued, _Superseded if it is replaced meanwhile."""
        return await to_thread.run_sync(cls._open, generations, mismatch)

    @classmethod
    def _open(cls, generations: Generations, mismatch: Mismatch) -> "_Live":
        path = generations.current()
        if path is None:
            raise _Absent("there is no read model")
        db = None
        try:
            db = open_writer(path)
            other_versions.adopt(db)
            reason = mismatch(db)
            if reason is None:
                return cls(generations, path, db, mismatch)
        except FileNotFoundError:
            reason = MISSING
        except Corrupt as error:
            reason = str(error)
        if db is not None:
            db.close()
        # Opening a file that was removed a moment ago has created it again, empty.
        raise _Unusable(reason) if generations.current() == path else _Superseded

    async def latest(self, upto: Position, count: int) -> list[HistoryEntry]:
        return await self.run(history.latest, self._db, upto, count)

    async def checkpoint(self, partition: int) -> Position:
        return await self.run(checkpoints.get, self._db, partition)

    async def commit(self, recorded: Sequence[Recorded]) -> None:
        """Commit rows and checkpoint in one transaction; without events, only call ``check``.

        Raises:
            _Superseded, _Unusable: this generation must not be written; nothing was committed.
        """
        await self.run(self._commit, recorded)

    def close(self) -> None:
        self._db.close()

    def _commit(self, recorded: Sequence[Recorded]) -> None:
        if not recorded:
            self.check()
            return
        with self._db.transaction():
            self.check()  # in the transaction: a rebuild holds this lock while it switches
            fold.apply(self._db, recorded)

    def check(self) -> None:
        """Check that all readers, including future ones, see what is committed here.

        Raises:
            _Superseded, _Unusable: they do not.
        """
        try:
            found = inodes(self.path)
        except FileNotFoundError:
            found = None
        # Read afterwards: a rebuild names its generation first, and then removes the others.
        if self._generations.current() != self.path:
            raise _Superseded
        if found is None:
            raise _Unusable(MISSING)
        if found[0] != self._inodes[0]:
            raise _Superseded
        if found != self._inodes:
            raise _Unusable("the WAL of the read model was replaced")
        if self._generations.is_doubted(self.path):
            self._examine()

    def _examine(self) -> None:
        """Check with a new connection: this one may still cache what the file has lost."""
        with closing(open_reader(self.path)) as db:
            reason = self._mismatch(db) or fold.damage(db)
        if reason is not None:
            raise _Unusable(reason)
        logger.warning("a reader reported damage, but the read model is intact")
        self._generations.trust(self.path)

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        async with self._lock:
            try:
                return await to_thread.run_sync(function, *args)
            except Corrupt as error:
                raise _Unusable(str(error)) from error


def _outage(who: str) -> Outage:
    return Outage(logger, f"{who} waits", f"{who} continues", first_s=FIRST_PAUSE_S)
