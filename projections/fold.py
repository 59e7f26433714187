"""Folding the log into a file: rows and checkpoint in one transaction, each event once."""

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
"""Called with ``(done, total)`` in milliseconds of the log's time, over all partitions."""


def create(path: Path, log_id: str) -> Connection:
    """A file without events, for a fold of that log; of no use to anyone until ``finish``."""
    db = open_writer(path)
    db.execute("PRAGMA synchronous = OFF")  # it would make the fold half as fast
    with db.transaction():
        db.execute(SCHEMA)
        checkpoints.set_log_id(db, log_id)
    return db


def finish(db: Connection) -> None:
    """Make a created file durable and fit for use; from now on commits are as safe as elsewhere."""
    db.execute("PRAGMA synchronous = NORMAL")
    # This commit leaves something to check-point, so that the sync takes place and includes all
    # pages written before.
    db.execute(f"PRAGMA user_version = {FORM}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def unfit(db: Connection, log_id: str) -> str | None:
    """Why this code cannot go on with the generation; None if it can."""
    if db.execute("PRAGMA user_version") != [(FORM,)]:
        return "the read model has the form of another version"
    if checkpoints.log_id(db) != log_id:
        return "the read model is a fold of another log"
    return None


def damage(db: Connection) -> str | None:
    """What SQLite finds wrong with the file, which it reads whole; None if nothing is."""
    found = db.execute("PRAGMA quick_check(1)")
    return None if found == [("ok",)] else f"the read model is damaged: {found[0][0]}"


async def in_log(log: Log, position: Position) -> bool:
    """Whether the log still has the event at ``position``.

    A log that lost its last events may have grown beyond ``position`` since, so the log's end
    would not tell.
    """
    if position == Position.start(position.partition):
        return True
    found = await log.read(_before(position), count=1, safe=False)
    return bool(found) and found[0].position == position


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Fold events of one partition, in order, inside the caller's transaction.

    Events at or before the checkpoint are skipped: applied twice, an event changes nothing.
    """
    if not recorded:
        return
    checkpoint = checkpoints.get(db, recorded[0].position.partition)
    news = [each for each in recorded if each.position > checkpoint]
    if not news:
        return
    for model in READ_MODELS:
        model.apply(db, news)
    checkpoints.advance(db, news[-1].position)


async def catch_up(
    log: Log,
    db: Connection,
    *,
    upto: Mapping[int, Position] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fold until the end of every partition, or exactly ``upto``.

    Without ``upto`` less than a page can be missing when events keep coming.
    """
    meter = await _Meter.of(log, upto, progress) if progress else None
    passed = READ_COUNT
    while passed >= READ_COUNT:
        passed = 0
        for partition in range(log.partitions):
            limit = upto[partition] if upto else None
            passed += await _catch_up_partition(log, db, partition, limit, meter)


async def catch_up_partition(log: Log, db: Connection, upto: Position) -> Position:
    """Fold ``upto``'s partition alone up to there; return how far it is."""
    await _catch_up_partition(log, db, upto.partition, upto, None)
    return await to_thread.run_sync(checkpoints.get, db, upto.partition)


async def _catch_up_partition(
    log: Log, db: Connection, partition: int, upto: Position | None, meter: "_Meter | None"
) -> int:
    position = await to_thread.run_sync(checkpoints.get, db, partition)
    count = 0
    while upto is None or position < upto:
        page = await log.read(position)
        news = [each for each in page if upto is None or each.position <= upto]
        if not news:
            break
        await to_thread.run_sync(_commit, db, news)
        position = news[-1].position
        count += len(news)
        if meter:
            meter.moved(position)
    return count


def _commit(db: Connection, recorded: Sequence[Recorded]) -> None:
    with db.transaction():
        apply(db, recorded)


class _Meter:
    """Turns positions into a share of the whole. ``spans`` has a begin and a length in ms."""

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

    def moved(self, position: Position) -> None:
        begin, length = self._spans[position.partition]
        self._done[position.partition] = min(position.ms - begin, length)
        self._progress(sum(self._done.values()), sum(length for _, length in self._spans.values()))


def _before(position: Position) -> Position:
    if position.seq > 0:
        return position._replace(seq=position.seq - 1)
    return position._replace(ms=position.ms - 1, seq=2**64 - 1)
