"""The sources of a recovery of the log: sealed segments, and the histories of read models.

A segment that is whole counts more than a read model. Where segments are damaged or missing, and
after the last one, events come from the read model that has folded most of the partition: its
history has them as they were stored.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from anyio import to_thread

from projections import fold
from projections.models import checkpoints, history
from store.archive.archive import FOLDER, Listed, Place
from store.archive.salvage import Gap, Sealed, pieces, places
from store.archive.segment import Entry
from store.errors import Corrupt, Missing, StoreError
from store.log import codec
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader

Origin = Literal["archive", "read model"]

PAGE = 1_000
"""Events read from a read model at once."""


class Remaining(NamedTuple):
    """An entry of the lost log; ``place`` is that of its segment, None from a read model."""

    position: Position
    entry: Entry
    place: Place | None


class Covered(NamedTuple):
    """A gap in the archive that a read model has filled up to its end, if ``upto`` is not None."""

    gap: Gap
    upto: Position | None


class ReadModels:
    """Read models of one log, as far as this version can read them.

    ``unused`` says why others are not used.
    """

    def __init__(self) -> None:
        self.unused: list[str] = []
        self.log_ids: set[str] = set()
        self._opened: list[tuple[Path, Connection]] = []

    async def open(self, paths: Sequence[Path], log_id: str | None) -> None:
        """Open the files, of the log ``log_id`` if that is known."""
        await to_thread.run_sync(self._open_all, paths, log_id)

    def _open_all(self, paths: Sequence[Path], log_id: str | None) -> None:
        for path in paths:
            try:
                db = open_reader(path)
            except (StoreError, FileNotFoundError) as error:
                self.unused.append(f"{path}: {error}")
                continue
            try:
                found = checkpoints.log_id(db)
                reason = fold.mismatch(db, log_id or found) or fold.damage(db)
            except (Corrupt, IndexError) as error:
                found, reason = "", f"it cannot be read: {error}"
            if reason is not None:
                self.unused.append(f"{path}: {reason}")
                db.close()
                continue
            self.log_ids.add(found)
            self._opened.append((path, db))

    def close(self) -> None:
        for _, db in self._opened:
            db.close()

    @property
    def partitions(self) -> set[int]:
        """The partitions of which there are events."""
        reached = [each for _, db in self._opened for each in checkpoints.get_all(db).values()]
        return {each.partition for each in reached if each != Position.start(each.partition)}

    def reached(self, partition: int) -> tuple[Path | None, Position]:
        """Return the file that has folded most of the partition, and how far."""
        best = self._best(partition)
        if best is None:
            return None, Position.start(partition)
        return best[0], checkpoints.get(best[1], partition)

    async def events(self, after: Position, before: Position | None) -> AsyncIterator[Remaining]:
        """Yield the partition's events after one position and before the other, in order."""
        best = self._best(after.partition)
        if best is None:
            return
        while page := await to_thread.run_sync(history.stored, best[1], after, PAGE):
            for position, body in page:
                if before is not None and position >= before:
                    return
                yield Remaining(position, _entry_of(position, body), None)
            after = page[-1][0]

    def _best(self, partition: int) -> tuple[Path, Connection] | None:
        found = [checkpoints.get_all(db).get(partition) for _, db in self._opened]
        reached = [(each, -n) for n, each in enumerate(found) if each is not None]
        best = max(reached, default=None)
        if best is None or best[0] == Position.start(partition):
            return None
        return self._opened[-best[1]]


async def remaining(
    blobs: Listed, models: ReadModels, log_id: str, partition: int
) -> AsyncIterator[Remaining | Covered]:
    """Yield what is left of the partition in order: its entries, and where some may be lost.

    Raises:
        Unavailable: the blob store does not answer.
        Corrupt: a read model is damaged.
    """
    _, reached = models.reached(partition)
    end = Position.start(partition)
    async for piece in pieces(blobs, log_id, partition):
        if isinstance(piece, Sealed):
            for entry in piece.entries:
                end = Position.of_entry(partition, entry.entry_id)
                yield Remaining(end, entry, piece.place)
            continue
        filled = end
        async for each in models.events(piece.after, piece.before):
            filled = each.position
            yield each
        end = filled
        is_whole = piece.before is not None and reached >= piece.before
        yield Covered(piece, filled if is_whole else None)
    async for each in models.events(end, None):
        yield each


async def owner_of(blobs: Listed, key: str) -> str | None:
    """Return the id of the log that the blobs belong to, which is under ``key``; None without."""
    try:
        return b"".join([chunk async for chunk in blobs.read(key)]).decode("utf-8", "replace")
    except Missing:
        return None


async def archived_partitions(blobs: Listed) -> set[int]:
    """Return the partitions that have segments."""
    numbers = {
        int(name)
        for blob in await blobs.keys(FOLDER)
        if (name := blob.key.removeprefix(f"{FOLDER}/").partition("/")[0]).isdecimal()
    }
    return {number for number in numbers if await places(blobs, number)}


def _entry_of(position: Position, body: bytes) -> Entry:
    """Return the entry that an append has made of the event."""
    event = codec.decode_event(body)
    version = b"%d" % event.metadata.photo_version
    fields = b"t", event.type.encode(), b"p", event.data.photo_id.encode(), b"v", version, b"b"
    return Entry(position.entry_id.encode(), [*fields, body])
