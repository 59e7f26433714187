"""Fold the log into a file: rows and checkpoint in one transaction, each event once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from anyio import to_thread

from projections.generation import FORM, READ_MODELS, SCHEMA
from projections.models import checkpoints
from store.log.log import Log
from store.log.position import Position
from store.log.stream import READ_COUNT, Recorded
from store.sqlite.connection import Connection, open_writer

Progress = Callable[[int, int], None]
"""A function called with ``(done, total)``, in milliseconds of log time over all partitions."""


def create(path: Path, log_id: str) -> Connection:
    """Create a file without events for a fold of that log. It is not durable before ``finish``."""
    db = open_writer(path)
    db.execute("PRAGMA synchronous = OFF")  # a sync at every commit halves the speed
    with db.transaction():
        db.execute(SCHEMA)
        checkpoints.set_log_id(db, log_id)
    return db


def finish(db: Connection) -> None:
    """Make a created file durable and mark it as usable; later commits are durable as usual."""
    db.execute("PRAGMA synchronous = NORMAL")
    # This commit gives the WAL something to checkpoint, which syncs all pages written before.
    db.execute(f"PRAGMA user_version = {FORM}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def mismatch(db: Connection, log_id: str) -> str | None:
    """Return why this code cannot continue the generation; None if it can."""
    if db.execute("PRAGMA user_version") != [(FORM,)]:
        return "the read model was written by another version"
    if checkpoints.log_id(db) != log_id:
        return "the read model belongs to another log"
    return None


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


async def catch_up(
    log: Log,
    db: Connection,
    *,
    upto: Mapping[int, Position] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fold every partition up to its end, or exactly up to ``upto``.

    Without ``upto``, up to one page can be missing if events keep coming.
    """
    meter = await _Meter.of(log, upto, progress) if progress else None
    count = READ_COUNT
    while count >= READ_COUNT:
        count = 0
        for partition in range(log.partitions):
            limit = upto[partition] if upto else None
            count += await _catch_up_partition(log, db, partition, limit, meter)


async def catch_up_partition(log: Log, db: Connection, upto: Position) -> Position:
    """Fold the partition of ``upto`` alone, up to there; return its checkpoint."""
    await _catch_up_partition(log, db, upto.partition, upto, None)
    return await to_thread.run_sync(checkpoints.get, db, upto.partition)


async def _catch_up_partition(
    log: Log, db: Connection, partition: int, upto: Position | None, meter: "_Meter | None"
) -> int:
    position = await to_thread.run_sync(checkpoints.get, db, partition)
    count = 0
    while upto is None or position < upto:
        page = await log.read(position)
        wanted = [each for each in page if upto is None or each.position <= upto]
        if not wanted:
            break
        await to_thread.run_sync(_commit, db, wanted)
        position = wanted[-1].position
        count += len(wanted)
        if meter:
            meter.advance(position)
    return count


def _commit(db: Connection, recorded: Sequence[Recorded]) -> None:
    with db.transaction():
        apply(db, recorded)


class _Meter:
    """Turn positions into progress. ``spans`` has the begin and length of each partition, in ms."""

    def __init__(self, progress: Progress, spans: dict[int, tuple[int, int]]) -> None:
        self._progress = progress
        self._spans = spans
        self._done = dict.fromkeys(spans, 0)

    @classmethod
    async def of(
        cls, log: Log, upto: Mapping[int, Position] | None, progress: Progress
    ) -> "_Meter":
        spans: dict[int, tuple[int, int]] = {}
        for partition in range(log.partitions):
            first = await log.read(Position.start(partition), count=1)
            end = upto[partition] if upto else await log.end(partition)
            begin = first[0].position.ms - 1 if first else end.ms
            spans[partition] = begin, end.ms - begin
        return cls(progress, spans)

    def advance(self, position: Position) -> None:
        begin, length = self._spans[position.partition]
        self._done[position.partition] = min(position.ms - begin, length)
        self._progress(sum(self._done.values()), sum(length for _, length in self._spans.values()))
