"""The projector: follows the log and keeps the live generation as new as the log.

| what it finds | what it does |
|---|---|
| no read model; one that is damaged, of another log or of another form | folds a new one |
| a reader has found it damaged | looks into it, and folds a new one if it is |
| a file beside it, the WAL or its index, is gone or replaced | folds a new one |
| the log no longer has the event that a partition of it ends with | folds that partition again |
| a rebuild has put another generation in place | goes on with that one |
| Redis away, the disk full | waits and tries again, for ever |

Readers keep what they have until a new generation has caught up.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import msgspec
from anyio import to_thread

from projections import fold
from projections.data_loss import LOOKED_BACK, Loss, measure, tell
from projections.models import checkpoints, history
from projections.models.history import HistoryEntry
from projections.rebuild import rebuild, sweep
from projections.refold import refold
from store.background import Background
from store.errors import Corrupt, StoreError, Unavailable
from store.log.doorbell import ring
from store.log.log import Log
from store.log.position import Position
from store.log.stream import Recorded
from store.observing import ignore
from store.redis.connection import BLOCK_MS
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations, inodes

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger("photolog.projector")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

GATHER_S = 0.05
"""While many events come, how long they gather to be folded together."""

AT_ONCE = 16
"""Commits that are made at once before events gather: as many as one photo needs."""

GONE = "a file of the read model is gone"


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one partition that a transaction has folded in; ``began_ns`` since 1970."""

    recorded: Sequence[Recorded]
    began_ns: int
    seconds: float


class Projector:
    """The one projector of a folder of generations; any number of processes read them.

    ``observe`` is told of every commit to the live generation, not of those of a rebuild.
    """

    def __init__(
        self,
        log: Log,
        generations: Generations,
        observe: Callable[[Committed], None] = ignore,
        background: Background | None = None,
    ) -> None:
        self._log = log
        self._background = background or Background()
        self._observe = observe
        self._generations = generations
        self._outage = _Outage("the projector")
        self._looking_back = anyio.Lock()
        self._told: dict[int, Position] = {}

    async def run(self) -> None:
        """Follow the log until cancelled; what was begun is committed first.

        Raises:
            Exception: an unexpected error that came again and again.
        """
        await self._background.keep("projector", self._run)

    async def _run(self) -> None:
        await sweep(self._generations)
        while True:
            try:
                await self._on_live(self._follow)
            except StoreError as error:
                await self._outage.wait(error)

    async def catch_up(self) -> None:
        """Apply all that is in the log. Not beside ``run``.

        Raises:
            StoreError: it was not possible; what was committed until then stays.
        """
        await self._on_live(self._to_the_end)

    async def _on_live(self, work: Callable[["_Live"], Awaitable[None]]) -> None:
        """Do the work on the live generation, and again on the next one if it is replaced."""
        while True:
            try:
                live = await _Live.open(self._generations, self._log.log_id)
                try:
                    return await work(live)
                finally:
                    live.close()
            except _Superseded:
                logger.info("the live generation has changed: going on with what is live now")
            except _Unfit as reason:
                expected = isinstance(reason, _Absent)  # as at the very first start
                level = logging.INFO if expected else logging.WARNING
                logger.log(level, "%s: folding the log anew", reason)
                report = await rebuild(self._log, self._generations)
                if report.kept is not None:
                    logger.error("%s", report)  # noqa: TRY400 # what was unfit was told above

    async def _follow(self, live: "_Live") -> None:
        """Follow all partitions until the generation is no longer to be written."""
        over: list[Exception] = []

        async def follow(partition: int) -> None:
            try:
                await self._follow_partition(live, partition)
            except (_Superseded, _Unfit) as end:
                over.append(end)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for partition in range(self._log.partitions):
                keep = partial(
                    self._background.keep,
                    "projection",
                    partial(follow, partition),
                    part=f"partition {partition}",
                )
                tasks.start_soon(keep)
        raise over[0]

    async def _follow_partition(self, live: "_Live", partition: int) -> None:
        outage = _Outage(f"partition {partition} of the projector")
        pace = _Pace()
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
                await outage.wait(error)

    async def _to_the_end(self, live: "_Live") -> None:
        for partition in range(self._log.partitions):
            position = await self._resume(live, partition)
            while (reached := await self._step(live, position)) != position:
                position = reached

    async def _resume(self, live: "_Live", partition: int) -> Position:
        """Where to go on; looked at after every outage, and when a partition has another owner,
        because the log may have lost events."""
        position = await live.checkpoint(partition)
        if await fold.in_log(self._log, position):
            return position
        await self._log.confirm()  # of another log nothing is folded
        await self._log.confirm(partition)
        await self._tell_losses(live, partition)
        logger.warning(
            "the log no longer has %s, which the read model has: folding partition %d again",
            *(position, partition),
        )
        reached = await refold(self._log, self._generations, live, position)
        with suppress(Unavailable):
            await ring(self._log)
        return reached

    async def _tell_losses(self, live: "_Live", partition: int) -> None:
        """Name the loss of the partition while the read model still knows of it, once.

        Names those of the other partitions too, as far as they answer: of several alerts within a
        minute only the first is recorded.
        """
        async with self._looking_back:
            found: list[Loss] = []
            others = set(range(self._log.partitions)) - {partition}
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
                await tell(self._log, found)
            for loss in found:
                self._told[loss.upto.partition] = loss.upto

    async def _loss(self, live: "_Live", partition: int) -> Loss | None:
        """What the partition has lost; None if that is nothing, or was named."""
        upto = await live.checkpoint(partition)
        if self._told.get(partition) == upto or await fold.in_log(self._log, upto):
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
        """Commit what comes next; nothing of an ``owner`` that is another one now."""
        recorded = await self._log.read(position, block_ms=block_ms)
        if owner is not None and self._log.owner(position.partition) != owner:
            return position
        began_ns, began = time.time_ns(), time.perf_counter()
        await live.commit(recorded)
        if not recorded:
            return position
        seconds = time.perf_counter() - began
        self._observe(Committed(recorded=recorded, began_ns=began_ns, seconds=seconds))
        with suppress(Unavailable):  # readers also look by themselves
            await ring(self._log)
        return recorded[-1].position


class _Superseded(Exception):
    """Another generation is live, or the file is gone: this one is not to be written any more."""


class _Unfit(Exception):
    """The generation cannot be gone on with; the message says why."""


class _Absent(_Unfit):
    """There is none."""


class _Live:
    """The live generation, open for writing. One thread at a time uses the connection."""

    def __init__(self, generations: Generations, path: Path, db: Connection, log_id: str) -> None:
        self._generations = generations
        self._log_id = log_id
        self.path = path
        self._inodes = inodes(path)
        self._db = db
        self._lock = anyio.Lock()

    @classmethod
    async def open(cls, generations: Generations, log_id: str) -> "_Live":
        """Raises _Unfit if there is none to go on with, _Superseded if it goes meanwhile."""
        return await to_thread.run_sync(cls._open, generations, log_id)

    @classmethod
    def _open(cls, generations: Generations, log_id: str) -> "_Live":
        path = generations.current()
        if path is None:
            raise _Absent("there is no read model")
        db = None
        try:
            db = open_writer(path)
            reason = fold.unfit(db, log_id)
            if reason is None:
                return cls(generations, path, db, log_id)
        except FileNotFoundError:
            reason = GONE
        except Corrupt as error:
            reason = str(error)
        if db is not None:
            db.close()
        # A file removed a moment ago was made anew by opening it, empty.
        raise _Unfit(reason) if generations.current() == path else _Superseded

    async def latest(self, upto: Position, count: int) -> list[HistoryEntry]:
        return await self.run(history.latest, self._db, upto, count)

    async def checkpoint(self, partition: int) -> Position:
        return await self.run(checkpoints.get, self._db, partition)

    async def commit(self, recorded: Sequence[Recorded]) -> None:
        """Rows and checkpoint in one transaction; without events, look whether this is still live.

        Raises:
            _Superseded, _Unfit: this generation is over; nothing was committed.
        """
        await self.run(self._commit, recorded)

    def close(self) -> None:
        self._db.close()

    def _commit(self, recorded: Sequence[Recorded]) -> None:
        if not recorded:
            self.check()
            return
        with self._db.transaction():
            self.check()  # inside, because a rebuild holds this lock while it switches
            fold.apply(self._db, recorded)

    def check(self) -> None:
        """Whether readers, also those to come, see what is committed here."""
        try:
            found = inodes(self.path)
        except FileNotFoundError:
            found = None
        # Asked afterwards: a rebuild names its generation first, and then removes the others.
        if self._generations.current() != self.path:
            raise _Superseded
        if found is None:
            raise _Unfit(GONE)
        if found[0] != self._inodes[0]:
            raise _Superseded
        if found != self._inodes:
            raise _Unfit("the WAL of the read model was replaced")
        if self._generations.is_doubted(self.path):
            self._examine()

    def _examine(self) -> None:
        """Look with a new connection: this one may still have in memory what the file has lost."""
        with closing(open_reader(self.path)) as db:
            reason = fold.unfit(db, self._log_id) or fold.damage(db)
        if reason is not None:
            raise _Unfit(reason)
        logger.warning("a reader found the read model damaged; it is whole")
        self._generations.trust(self.path)

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        async with self._lock:
            try:
                return await to_thread.run_sync(function, *args)
            except Corrupt as error:
                raise _Unfit(str(error)) from error


class _Pace:
    """Commits of one partition: few are made at once, many one each ``GATHER_S``.

    Each wakes the gateways and whoever watches: while many come, that is what they cost.
    """

    def __init__(self) -> None:
        self._due = 0.0

    def pause_s(self, now: float) -> float:
        """After a commit at ``now``, how long to wait before the next one."""
        self._due = max(self._due, now - AT_ONCE * GATHER_S) + GATHER_S
        return max(0.0, self._due - now)


class _Outage:
    """Says once that something waits and once that it goes on; waits longer every time."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._pause_s = 0.0

    async def wait(self, error: Exception) -> None:
        if self._pause_s == 0:
            logger.warning("%s waits: %s", self._who, error)
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        await anyio.sleep(self._pause_s)

    def over(self) -> None:
        if self._pause_s > 0:
            logger.info("%s goes on", self._who)
        self._pause_s = 0.0
