"""Fold one partition again after the log has lost some of its events.

The partition is folded into a file beside the live generation and compared with its rows there. One
transaction then replaces the rows that differ, together with the checkpoint: readers see either the
old or the new fold. The other partitions are followed meanwhile; they only wait for that
transaction, which writes nothing but the differences.

The live generation may be the only evidence of the lost events. They are therefore kept in a file
of their own before their rows are removed, see ``Generations.keep_of``.
"""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

from anyio import to_thread

from projections import fold
from projections.generation import READ_MODELS
from projections.models import clients, history
from projections.models.checkpoints import Coverage
from store.errors import Corrupt, Unavailable
from store.log import codec
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, Row, Value
from store.sqlite.generations import Generations

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger("photolog.projector")

DIFFERENCE = """
CREATE TABLE photo_ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE client_ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lost_events (partition INTEGER, ms INTEGER, seq INTEGER, body BLOB);
"""
"""The photos and clients of the events that only one fold has, and those of the live one."""

REPLACE_CHECKPOINT = """
DELETE FROM live.checkpoints WHERE partition = :partition;
INSERT INTO live.checkpoints SELECT * FROM main.checkpoints WHERE partition = :partition;
"""


class Live(Protocol):
    """The live generation, opened by its projector."""

    @property
    def path(self) -> Path: ...

    def check(self) -> None:
        """Raise an error if readers would not see a commit."""

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Call the function in a thread, excluding other commits of this process."""
        ...


async def refold(log: Log, generations: Generations, live: Live, lost: Position) -> Position:
    """Fold the partition of ``lost`` again in the live generation; return its new checkpoint.

    ``lost`` is the live checkpoint of the partition.

    Raises:
        Unavailable: Redis does not answer, the partition has a new owner, or another projector was
            faster. The live generation stays as it was.
        Full: the disk has no space for the fold.
        Corrupt: the log has an entry that is not an event.
    """
    began = time.monotonic()
    partition = lost.partition
    owner = log.owner(partition)
    covers = Coverage((partition,), log.partitions)
    with (
        generations.scratch() as path,
        generations.scratch() as evidence,
        closing(await to_thread.run_sync(fold.create_bare, path, log.log_id, covers)) as db,
    ):
        position = Position.start(partition)
        for _ in range(2):  # the second time is short
            position = await fold.catch_up_partition(log, db, await log.end(partition))
        if log.owner(partition) != owner:
            raise Unavailable(f"partition {partition} has a new owner")
        try:
            events = await to_thread.run_sync(_compare, db, live.path, partition)
        except Corrupt:
            generations.doubt(live.path)
            await live.run(live.check)
            raise
        if events:
            await to_thread.run_sync(_copy_events, evidence, path, log.log_id, covers)
        keep = _Evidence(generations, evidence, lost) if events else None
        began_swap = time.monotonic()
        await live.run(_swap, db, live, lost, keep)
    now = time.monotonic()
    logger.info(
        "partition %d was folded again in %.1f s, up to %s; its rows were replaced in %.3f s",
        *(partition, now - began, position, now - began_swap),
    )
    return position


class _Evidence:
    """The file with the events that are about to be removed, up to ``lost``."""

    def __init__(self, generations: Generations, file: Path, lost: Position) -> None:
        self._generations = generations
        self._file = file
        self._lost = lost

    def keep(self) -> None:
        partition = self._lost.partition
        kept = self._generations.keep_of(partition, self._lost.entry_id, self._file)
        if kept is None:
            logger.error(
                "the lost events of partition %d up to %s are not kept: %d files with lost events "
                "are already kept in %s",
                *(partition, self._lost, self._generations.most_kept),
                self._generations.folder / "kept",
            )
        else:
            logger.error("the lost events of partition %d are kept in %s", partition, kept)


def _compare(db: Connection, live: Path, partition: int) -> int:
    """List in ``db`` the rows that differ from the live generation, which is not changed.

    Return how many events of the live generation are missing from ``db`` or differ there.
    """
    db.execute("ATTACH DATABASE ? AS live", (str(live),))
    values: dict[str, Value] = {"partition": partition}
    with db.transaction(write=False):
        db.execute(DIFFERENCE)
        db.execute_many("INSERT INTO lost_events VALUES (?, ?, ?, ?)", _lost(db, partition))
        for table, condition in _conditions().items():
            key, others = _columns(db, table)
            same = " AND ".join(
                [f"fresh.{column} = old.{column}" for column in key]
                + [f"fresh.{column} IS old.{column}" for column in others]
            )
            listed = ", ".join(key)
            db.execute(
                f"CREATE TABLE old_{table} AS SELECT {listed} FROM live.{table} AS old "  # noqa: S608 # names of our own schema
                f"WHERE {condition} AND NOT EXISTS (SELECT 1 FROM main.{table} AS fresh "
                f"WHERE {same})",
                values if ":partition" in condition else {},
            )
            db.execute(
                f"CREATE TABLE new_{table} AS SELECT {listed} FROM main.{table} AS fresh "  # noqa: S608
                f"WHERE NOT EXISTS (SELECT 1 FROM live.{table} AS old WHERE {same})"
            )
        return db.execute("SELECT count(*) FROM lost_events")[0][0]


def _lost(db: Connection, partition: int) -> Generator[Row]:
    """Yield the events that are to be removed; note the photos and clients of all that differ."""
    photo_ids: set[str] = set()
    client_ids: set[str] = set()
    for old, fresh in history.differing(db, partition, "live", "main"):
        for stored in (old, fresh):
            if stored is not None:
                event = codec.decode_event(stored.body)
                photo_ids.add(event.data.photo_id)
                client_ids.add(event.metadata.client_id)
        if old is not None:
            yield partition, *old
    for table, ids in (("photo_ids", photo_ids), ("client_ids", client_ids)):
        db.execute_many(f"INSERT INTO {table} VALUES (?)", [(id_,) for id_ in ids - {""}])  # noqa: S608


def _copy_events(evidence: Path, fresh: Path, log_id: str, covers: Coverage) -> None:
    """Write the events that only the live generation has to a separate, durable file."""
    with closing(fold.create(evidence, log_id, covers)) as db:
        db.execute("ATTACH DATABASE ? AS fresh", (str(fresh),))
        db.execute("INSERT INTO history SELECT * FROM fresh.lost_events")
        db.execute("DETACH DATABASE fresh")
        fold.finish(db)


def _swap(db: Connection, live: Live, lost: Position, evidence: _Evidence | None) -> None:
    """Replace the rows that differ, and the checkpoint, in one transaction."""
    values: dict[str, Value] = {"partition": lost.partition}
    with db.transaction():
        live.check()  # in the transaction: a rebuild holds this lock while it switches
        found = db.execute("SELECT * FROM live.checkpoints WHERE partition = :partition", values)
        if found != [tuple(lost)]:
            raise Unavailable(f"another projector has folded partition {lost.partition}")
        if evidence is not None:
            evidence.keep()
        for table in _conditions():
            key, others = _columns(db, table)
            listed, all_of_them = ", ".join(key), ", ".join(key + others)
            db.execute(
                f"DELETE FROM live.{table} WHERE ({listed}) IN (SELECT * FROM old_{table})"  # noqa: S608
            )
            db.execute(
                f"INSERT INTO live.{table} ({all_of_them}) "  # noqa: S608
                f"SELECT {all_of_them} FROM main.{table} "
                f"WHERE ({listed}) IN (SELECT * FROM new_{table})"
            )
        clients.replace_counts(db, lost.partition)
        db.execute(REPLACE_CHECKPOINT, values)


def _conditions() -> dict[str, str]:
    return {table: sql for model in READ_MODELS for table, sql in model.OF_PARTITION.items()}


def _columns(db: Connection, table: str) -> tuple[list[str], list[str]]:
    """Return the names of the columns in the primary key, and of the others that are stored."""
    columns = db.execute(f"PRAGMA main.table_info({table})")
    return [c[1] for c in columns if c[5]], [c[1] for c in columns if not c[5]]
