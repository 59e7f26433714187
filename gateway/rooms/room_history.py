"""Queries of the rooms on the history; each reads one snapshot of the read model."""

from collections.abc import Iterable

import msgspec

from domain.pipeline.recoveries import LogRecovered
from gateway.rooms.rooms import Admission, Positions
from gateway.rooms.subscription import Fetch
from projections.models import checkpoints, history
from projections.models.history import HistoryEntry
from store.log.position import Position
from store.sqlite.connection import Connection

ENTRIES_PER_READ = 1_000
"""Entries of a partition that the hub reads at once."""


class _Recovery(msgspec.Struct):
    data: LogRecovered


_recovery = msgspec.json.Decoder(_Recovery)


def missing(db: Connection, positions: Positions, own: str | None) -> list[Position]:
    """Return the positions missing from the history or, with ``own``, not of this client."""
    return [each for each in positions.values() if not history.has(db, each, own)]


def of_earlier_epoch(db: Connection, positions: Positions) -> bool:
    """Return whether a position is of a time before its partition was recovered: events that its
    reader has been shown may be lost.
    """
    for recorded, event in history.of_system(db, LogRecovered.TYPE):
        if not isinstance(event.data, LogRecovered):
            continue
        begins = (event.data.begins_ms, 0) if event.data.begins_ms else recorded[1:]
        recovered = event.data.partitions or positions
        if any(positions[each][1:] < begins for each in positions.keys() & set(recovered)):
            return True
    return False


def recovered(entries: Iterable[HistoryEntry], partitions: Iterable[int]) -> set[int]:
    """Return which of the partitions the entries say to have been recovered."""
    found: set[int] = set()
    for entry in entries:
        if entry.type == LogRecovered.TYPE:
            found.update(_recovery.decode(entry.body).data.partitions or partitions)
    return found


def start_positions(
    db: Connection, admission: Admission, head: Positions, asked: Positions, own: str | None
) -> Positions:
    """Return the asked position in each partition if the history has it, or the last event before.

    If the partitions differ from the room's, the positions belong to another room or log and are
    ignored.

    Raises:
        NotCovered: the read model does not cover a partition of the room.
    """
    if asked.keys() != set(admission.partitions):
        asked = {}
    checkpoints.check(db, admission.partitions)
    client_id = admission.room.client_id
    begin: Positions = {}
    for partition in admission.partitions:
        upto = min(asked.get(partition, head[partition]), head[partition])
        if partition in asked and upto == asked[partition] and history.has(db, upto, own):
            begin[partition] = upto
        elif client_id is not None:
            begin[partition] = history.last_of_client(db, client_id, upto)
        else:
            found = history.latest(db, upto, 1)
            begin[partition] = found[0].position if found else Position.start(partition)
    return begin


def new_entries(db: Connection, head: Positions) -> tuple[list[HistoryEntry], Positions]:
    """Return the entries after the head, and the checkpoints of partitions that lost their head."""
    lost = {
        partition: checkpoints.get(db, partition)
        for partition, position in head.items()
        if not history.has(db, position)
    }
    entries = [
        entry
        for partition, after in head.items()
        if partition not in lost
        for entry in history.since(db, after, ENTRIES_PER_READ)
    ]
    return entries, lost


def pages(db: Connection, fetch: Fetch, head: Position) -> list[list[HistoryEntry]] | None:
    """Return a page for each room; None if the history no longer contains ``head``."""
    if not history.has(db, head):
        return None
    return [
        history.room_events(db, room, fetch.upto.partition, after, fetch.upto, fetch.limit)
        for room, after in fetch.rooms
    ]
