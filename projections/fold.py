"""Fold the log into a file: rows and checkpoint in one transaction, each event once."""

import gc
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import anyio
from anyio import to_thread

from projections import new_photos
from projections.generation import FORM, INDEXES, MEANING, OF_ONE_PHOTO, READ_MODELS, SCHEMA
from projections.models import checkpoints, history, history_pages
from projections.models.checkpoints import Coverage
from projections.reading import Opening, Page, Reading
from projections.unpacker import Unpacker
from projections.unpacking import GARBAGE
from store.errors import Corrupt
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.log.stream import READ_COUNT
from store.sqlite.connection import Connection, open_writer

Progress = Callable[[int, int], None]
"""A function called with ``(done, total)``, in milliseconds of log time over all partitions."""


BATCH = 4_000
"""Events of one commit of a fold of the whole log: most photos are then written once."""

CACHE_KIB = 65_536
"""Pages that a fold of the whole log may keep in memory; the indexes are sorted in as much."""

READ_AHEAD = 1
"""Batches that wait for their fold, beside the one that is read and the one that is folded."""

CHECKPOINT_PAGES = 16_384
"""Pages in the WAL after which they are written to the file: a page changes many times."""


def create(path: Path, log_id: str, covers: Coverage) -> Connection:
    """Create a file without events for a fold of these partitions of that log.

    It is not durable before ``finish``.
    """
    db = create_bare(path, log_id, covers)
    db.execute(INDEXES)
    return db


def create_bare(path: Path, log_id: str, covers: Coverage) -> Connection:
    """Create a file as ``create`` does, without the indexes that only queries need.

    ``finish`` makes them, which is faster when the events of a whole log come first.
    """
    db = open_writer(path)
    _hasten(db)
    with db.transaction():
        db.execute(SCHEMA)
        checkpoints.create(db, log_id, covers)
    return db


def continue_bare(path: Path, log_id: str, covers: Coverage) -> Connection | None:
    """Open a file that ``create_bare`` has created and that is to be folded further.

    Return None if it does not belong to that log, covers other partitions, or was created only in
    part.
    """
    db = open_writer(path)
    try:
        if checkpoints.log_id(db) == log_id and checkpoints.coverage(db) == covers:
            _hasten(db)
            return db
    except (Corrupt, IndexError):
        pass
    db.close()
    return None


def _hasten(db: Connection) -> None:
    """Write fast until ``finish``: the file survives a kill, but not a crash of the machine."""
    db.execute("PRAGMA synchronous = OFF")  # a sync at every commit halves the speed
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def finish(db: Connection) -> None:
    """Make a created file durable and mark it as usable; later commits are durable as usual."""
    with db.transaction():
        db.execute(INDEXES.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    db.execute("PRAGMA synchronous = NORMAL")
    # This commit gives the WAL something to checkpoint, which syncs all pages written before.
    db.execute(f"PRAGMA application_id = {MEANING}")
    db.execute(f"PRAGMA user_version = {FORM}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def mismatch(db: Connection, log_id: str, covers: Coverage | None = None) -> str | None:
    """Return why this code cannot continue the generation; None if it can.

    With ``covers``, it must cover exactly these partitions: nobody would follow others.
    """
    if db.execute("PRAGMA user_version") != [(FORM,)]:
        return "the read model was written by another version"
    if checkpoints.log_id(db) != log_id:
        return "the read model belongs to another log"
    return None if covers is None else covers.difference(checkpoints.coverage(db))


def damage(db: Connection) -> str | None:
    """Let SQLite read the whole file; return the first damage it finds, or None."""
    found = db.execute("PRAGMA quick_check(1)")
    return None if found == [("ok",)] else f"the read model is damaged: {found[0][0]}"


async def in_log(log: Log, position: Position) -> bool:
    """Return whether the log still has the event at ``position``.

    Comparing with the log's end is not enough: a log that has lost its last events may have grown
    beyond ``position`` since.
    """
    if position == Position.start(position.partition):
        return True
    return await log.at(position, safe=False) is not None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Fold events of one partition, in order, inside the caller's transaction.

    Events at or before the checkpoint are skipped: applied twice, an event changes nothing.
    """
    if not recorded:
        return
    checkpoint = checkpoints.get(db, recorded[0].position.partition)
    new = [each for each in recorded if each.position > checkpoint]
    if not new:
        return
    for model in READ_MODELS:
        model.apply(db, new)
    checkpoints.advance(db, new[-1].position)


def apply_page(db: Connection, page: Page) -> None:
    """Fold a page that follows the checkpoint, inside the caller's transaction."""
    others = page.recorded
    if page.new is not None:
        new_photos.store(db, page.new)
        ids = page.new.ids
        others = [each for each in others if each.event.data.photo_id not in ids]
    for model in READ_MODELS:
        if model is history:
            history.apply_paged(db, page.upto.partition, page.paged)
        else:
            model.apply(db, others if model in OF_ONE_PHOTO else page.recorded)
    checkpoints.advance(db, page.upto)


class Tally:
    """Counts the events that are folded."""

    def __init__(self) -> None:
        self.events = 0


async def catch_up(
    log: Log,
    db: Connection,
    *,
    upto: Mapping[int, Position] | None = None,
    progress: Progress | None = None,
    tally: Tally | None = None,
    unpacker: Unpacker | None = None,
) -> None:
    """Fold every partition that the file covers up to its end, or exactly up to ``upto``.

    Partitions that ``upto`` lacks stay as they are. ``unpacker`` is a process that helps with what
    is in the archive.

    Without ``upto``, up to one page can be missing if events keep coming.
    """
    covered = (await to_thread.run_sync(checkpoints.coverage, db)).partitions
    folded = covered if upto is None else [each for each in covered if each in upto]
    meter = await _Meter.of(log, folded, upto, progress, tally) if progress else None
    count = READ_COUNT
    while count >= READ_COUNT:
        count = 0
        for partition in folded:
            limit = None if upto is None else upto[partition]
            count += await _catch_up_partition(log, db, partition, limit, meter, unpacker)


async def catch_up_partition(log: Log, db: Connection, upto: Position) -> Position:
    """Fold the partition of ``upto`` alone, up to there; return its checkpoint."""
    await _catch_up_partition(log, db, upto.partition, upto)
    return await to_thread.run_sync(checkpoints.get, db, upto.partition)


async def _catch_up_partition(
    log: Log,
    db: Connection,
    partition: int,
    upto: Position | None,
    meter: "_Meter | None" = None,
    unpacker: Unpacker | None = None,
) -> int:
    """Fold page after page; the next ones are read while a thread folds."""
    with _few_collections():
        return await _fold_pages(log, db, partition, upto, meter, unpacker)


@contextmanager
def _few_collections() -> Generator[None]:
    """Collect garbage rarely inside the block: a page makes 40,000 objects, and no cycles."""
    usual = gc.get_threshold()
    gc.set_threshold(GARBAGE, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


async def _fold_pages(
    log: Log,
    db: Connection,
    partition: int,
    upto: Position | None,
    meter: "_Meter | None" = None,
    unpacker: Unpacker | None = None,
) -> int:
    position = await to_thread.run_sync(checkpoints.get, db, partition)
    waiting = await to_thread.run_sync(history_pages.waiting, db, partition)
    reading = Reading(log, position, upto, waiting, BATCH, unpacker)
    into, pages = anyio.create_memory_object_stream[Opening](READ_AHEAD)
    count = 0
    try:
        with pages:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reading.run, into)
                async for opening in pages:
                    found = await to_thread.run_sync(_commit, db, opening)
                    if found is None:
                        continue
                    position, events = found
                    count += events
                    if meter:
                        meter.advance(position, events)
    except BaseExceptionGroup as group:
        raise _only(group) from None
    return count


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error: that of reading or that of folding."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _only(cast("BaseExceptionGroup[BaseException]", first))
    return first


def _commit(db: Connection, opening: Opening) -> tuple[Position, int] | None:
    """Return the last position and the number of the events; None if there were none."""
    page = opening()
    if page is None:
        return None
    with db.transaction():
        apply_page(db, page)
    return page.upto, page.events


class _Meter:
    """Turn positions into progress. ``spans`` has the begin and length of each partition, in ms."""

    def __init__(
        self, progress: Progress, spans: dict[int, tuple[int, int]], tally: Tally | None
    ) -> None:
        self._progress = progress
        self._tally = tally or Tally()
        self._spans = spans
        self._done = dict.fromkeys(spans, 0)

    @classmethod
    async def of(
        cls,
        log: Log,
        partitions: Iterable[int],
        upto: Mapping[int, Position] | None,
        progress: Progress,
        tally: Tally | None,
    ) -> "_Meter":
        spans: dict[int, tuple[int, int]] = {}
        for partition in partitions:
            first = await log.read(Position.start(partition), count=1)
            end = upto[partition] if upto else await log.end(partition)
            begin = first[0].position.ms - 1 if first else end.ms
            spans[partition] = begin, end.ms - begin
        return cls(progress, spans, tally)

    def advance(self, position: Position, events: int) -> None:
        self._tally.events += events
        begin, length = self._spans[position.partition]
        self._done[position.partition] = min(position.ms - begin, length)
        self._progress(sum(self._done.values()), sum(length for _, length in self._spans.values()))
