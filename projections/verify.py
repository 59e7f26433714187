"""Verify the read model: compare the live generation with a fresh fold of the log."""

import hashlib
from collections.abc import Generator
from contextlib import closing
from heapq import merge
from itertools import groupby, islice
from pathlib import Path

import msgspec
from anyio import to_thread

from projections import fold
from projections.fold import Progress, Tally
from projections.generation import TABLES
from projections.models import checkpoints
from projections.models.checkpoints import Coverage
from projections.unpacker import Unpacker
from store.errors import Corrupt, Missing
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, Row, Value, open_reader
from store.sqlite.generations import Generations

PAGE = 1_000
NAMED = 10
"""The most differing rows of a table that a report names."""

Key = tuple[Value, ...]


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of a table: equal digests mean equal rows, to the byte. ``sha256`` is in hex."""

    rows: int
    sha256: str


class TableReport(msgspec.Struct, frozen=True, kw_only=True):
    """``differing`` has the primary keys of the first rows that differ, at most ``NAMED``."""

    table: str
    live: Digest
    fresh: Digest
    differing: tuple[Key, ...] = ()

    @property
    def equal(self) -> bool:
        return self.live == self.fresh


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of both folds as of ``positions``, one for each partition that they cover."""

    positions: tuple[Position, ...]
    tables: tuple[TableReport, ...]

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)


async def verify(
    log: Log, generations: Generations, progress: Progress | None = None
) -> VerifyReport:
    """Compare the live generation with a second fold of the log, in a temporary file.

    Raises:
        Missing: there is no read model.
        Unavailable: Redis does not answer.
        Corrupt: the live generation cannot be read, or belongs to another log or version.
        Full: the disk has no space for the second fold.
    """
    live = live_generation(generations)
    covers = await to_thread.run_sync(_coverage, live, log.log_id)
    with generations.scratch() as path:
        fresh = await to_thread.run_sync(fold.create_bare, path, log.log_id, covers)
        try:
            return await compare(log, live, fresh, progress)
        finally:
            fresh.close()


def _coverage(live_path: Path, log_id: str) -> Coverage:
    """Return what the live generation covers; raises Corrupt if this code cannot continue it."""
    with closing(open_reader(live_path)) as live:
        reason = fold.mismatch(live, log_id)
        if reason is not None:
            raise Corrupt(reason)
        return checkpoints.coverage(live)


def live_generation(generations: Generations) -> Path:
    """Return the path of the live generation; raises Missing if there is none."""
    path = generations.current()
    if path is None:
        raise Missing("there is no read model yet: is the projector running?")
    return path


async def compare(
    log: Log,
    live_path: Path,
    fresh: Connection,
    progress: Progress | None = None,
    tally: Tally | None = None,
    unpacker: Unpacker | None = None,
) -> VerifyReport:
    """Fold the log into the file ``fresh``, up to the live checkpoints, and compare both.

    The live generation may advance meanwhile; a snapshot from the beginning is compared.

    Raises:
        Missing: ``fresh`` is ahead of the live generation already.
        Corrupt: the live generation cannot be continued, or covers other partitions.
    """
    covers = await to_thread.run_sync(checkpoints.coverage, fresh)
    live = open_reader(live_path)
    try:
        with live.transaction(write=False):
            reason = fold.mismatch(live, log.log_id, covers)
            if reason is not None:
                raise Corrupt(reason)
            positions = checkpoints.get_all(live)
            if any(
                position > positions[partition]
                for partition, position in checkpoints.get_all(fresh).items()
            ):
                raise Missing("the live generation is behind the fold that it is compared with")
            await fold.catch_up(
                log, fresh, upto=positions, progress=progress, tally=tally, unpacker=unpacker
            )
            return VerifyReport(
                positions=tuple(positions.values()),
                tables=await to_thread.run_sync(_tables, live, fresh),
            )
    finally:
        live.close()


def _tables(live: Connection, fresh: Connection) -> tuple[TableReport, ...]:
    return tuple(_table(live, fresh, table) for table in TABLES)


def _table(live: Connection, fresh: Connection, table: str) -> TableReport:
    ours, theirs = digest(live, table), digest(fresh, table)
    differing = () if ours == theirs else tuple(islice(_differing(live, fresh, table), NAMED))
    return TableReport(table=table, live=ours, fresh=theirs, differing=differing)


def _differing(live: Connection, fresh: Connection, table: str) -> Generator[Key]:
    """Yield the keys of rows that only one file has, or that differ between the files."""
    both = merge(_rows(live, table), _rows(fresh, table), key=lambda row: row[0])
    for key, found in groupby(both, key=lambda row: row[0]):
        first, *others = found
        if others != [first]:
            yield key


def digest(db: Connection, table: str) -> Digest:
    """Return the digest of all rows in primary-key order, whatever order they were inserted in."""
    rows, sha256 = 0, hashlib.sha256()
    for _, row in _rows(db, table):
        sha256.update(msgspec.msgpack.encode(row))
        rows += 1
    return Digest(rows=rows, sha256=sha256.hexdigest())


def _rows(db: Connection, table: str) -> Generator[tuple[Key, Row]]:
    """Yield each row after its primary key, in the order of the keys."""
    columns = db.execute(f"PRAGMA table_info({table})")
    key = [column[1] for column in sorted(columns, key=_place_in_key) if _place_in_key(column)]
    listed, marks = ", ".join(key), ", ".join("?" * len(key))
    everything = f"SELECT {listed}, * FROM {table}"  # noqa: S608 # names of our own schema
    ordered = f"ORDER BY {listed} LIMIT {PAGE}"
    page = db.execute(f"{everything} {ordered}")
    while page:
        for row in page:
            yield row[: len(key)], row
        page = db.execute(
            f"{everything} WHERE ({listed}) > ({marks}) {ordered}", page[-1][: len(key)]
        )


def _place_in_key(column: Row) -> int:
    return column[5]
