"""The history: every event as the log has it, for rooms, resume, audit and a photo's history.

The events of a partition are in the log's order. Live delivery and resume both read them, and they
commit together with the rows that they have changed. ``history_pages`` stores them: the bytes of
the log, of which the wire format is made when they are read.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from domain.photo.events import Event
from projections.models import checkpoints, history_pages
from projections.models.history_pages import (
    Name,
    Paged,
    Stored,
    of_client,
    of_photo,
    of_session,
    of_type,
)
from store.errors import Corrupt
from store.log import codec
from store.log.codec import WireEvent
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection
from store.sqlite.packing import unpack

TABLES = ("history", "history_pages", "history_members")

OF_PARTITION: dict[str, str] = dict.fromkeys(TABLES, "partition = :partition")

SCHEMA = history_pages.SCHEMA

LATEST_MS = history_pages.MOST

PAGE = 500
"""How many events of a former layout are read at once."""

Kind = Literal["client", "session", "photo", "global"]


_wire = msgspec.json.Decoder(WireEvent)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of events: ``id`` names the client, session or photo; ``global`` ignores it.

    Clients name their sessions themselves: with ``client_id`` the room has that client's session,
    without it the sessions of that name of all clients.
    """

    kind: Kind
    id: str
    client_id: str | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the history; ``body`` is its JSON, the same bytes for every reader."""

    position: Position
    client_id: str
    session_id: str | None
    photo_id: str
    type: str
    body: bytes


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    history_pages.add(db, recorded)


def apply_paged(db: Connection, partition: int, paged: Paged) -> None:
    """Do what ``apply`` does with the events of which a ``pager`` has made ``paged``."""
    history_pages.store(db, partition, paged)


def room_events(
    db: Connection,
    room: Room,
    partition: int,
    after: Position,
    upto: Position | None,
    limit: int,
) -> list[HistoryEntry]:
    """Return the room's first ``limit`` events after ``after``, up to and including ``upto``.

    Call this in a transaction, as the other queries here, so that it reads one state.

    Raises:
        NotCovered: as ``has``, ``latest`` and ``last_of_client`` do.
    """
    checkpoints.check(db, [partition])
    found = history_pages.ascending(db, after._replace(partition=partition), _name(room))
    return list(islice(_of_room(found, room, partition, upto), limit))


def _name(room: Room) -> Name | None:
    match room.kind:
        case "global":
            return None
        case "client":
            return of_client(room.id)
        case "session":
            return of_session(room.id, room.client_id)
        case "photo":
            return of_photo(room.id)


def _of_room(
    stored: Iterable[Stored], room: Room, partition: int, upto: Position | None
) -> Generator[HistoryEntry]:
    """Yield the events of the room, up to ``upto``."""
    for each in stored:
        if upto is not None and each[:2] > upto[1:]:
            return
        event = codec.decode_event(each.body)
        if _belongs(event, room):
            yield _entry(Position(partition, each.ms, each.seq), event)


def _belongs(event: Event, room: Room) -> bool:
    metadata = event.metadata
    match room.kind:
        case "global":
            return True
        case "client":
            return metadata.client_id == room.id
        case "session":
            return metadata.session_id == room.id and room.client_id in (None, metadata.client_id)
        case "photo":
            return event.data.photo_id == room.id


EVERYTHING = Room(kind="global", id="", client_id=None)


def since(db: Connection, after: Position, limit: int) -> list[HistoryEntry]:
    """Return the first ``limit`` events after ``after`` in its partition."""
    return room_events(db, EVERYTHING, after.partition, after, None, limit)


def everything(db: Connection) -> Generator[HistoryEntry]:
    """Yield all events, one partition after the other, in order; also those of a former layout."""
    with db.transaction(write=False):
        for position, body in _stored(db):
            yield _entry(position, codec.decode_event(body))


def has(db: Connection, position: Position, client_id: str | None = None) -> bool:
    """Return whether the event at ``position`` is folded, and is the client's if one is given.

    The start of a partition, which has no event, counts for every client.
    """
    checkpoints.check(db, [position.partition])
    if position == Position.start(position.partition):
        return True
    body = history_pages.at(db, position)
    if body is None:
        return False
    return client_id is None or codec.decode_event(body).metadata.client_id == client_id


def last_of_client(db: Connection, client_id: str, upto: Position) -> Position:
    """Return the position of the client's last event up to ``upto``, or the partition's start."""
    checkpoints.check(db, [upto.partition])
    room = Room(kind="client", id=client_id, client_id=client_id)
    found = history_pages.descending(db, upto, _name(room))
    entry = next(_of_room(found, room, upto.partition, None), None)
    return Position.start(upto.partition) if entry is None else entry.position


def latest(db: Connection, upto: Position, limit: int) -> list[HistoryEntry]:
    """Return the partition's last ``limit`` events up to and including ``upto``, last one first."""
    checkpoints.check(db, [upto.partition])
    found = _of_room(history_pages.descending(db, upto), EVERYTHING, upto.partition, None)
    return list(islice(found, limit))


def of_no_photo(
    db: Connection, type_: str, before: Position, since_ms: int, limit: int
) -> list[HistoryEntry]:
    """Return the last ``limit`` system events of a type before ``before``, last one first.

    Events older than ``since_ms`` are left out.
    """
    if before == Position.start(before.partition):
        return []
    found: list[HistoryEntry] = []
    for each in history_pages.descending(db, before.before, of_type(type_)):
        if each.ms < since_ms or len(found) == limit:
            break
        event = codec.decode_event(each.body)
        if event.type == type_:
            found.append(_entry(Position(before.partition, each.ms, each.seq), event))
    return found


def bodies(db: Connection, positions: Iterable[Position]) -> dict[Position, bytes]:
    """Return the stored bytes of the events at these positions, of those that are folded."""
    found = {position: history_pages.at(db, position) for position in positions}
    return {position: body for position, body in found.items() if body is not None}


def stored(db: Connection, after: Position, limit: int) -> list[tuple[Position, bytes]]:
    """Return the partition's first ``limit`` events after ``after``, as the log has stored them."""
    found = islice(history_pages.ascending(db, after), limit)
    return [(Position(after.partition, each.ms, each.seq), each.body) for each in found]


def of_system(db: Connection, type_: str) -> Iterator[tuple[Position, Event]]:
    """Yield the system events of the type with their positions, last one first."""
    upto = Position(0, LATEST_MS, 0)
    for each in history_pages.descending(db, upto, of_type(type_)):
        event = codec.decode_event(each.body)
        if event.type == type_:
            yield Position(0, each.ms, each.seq), event


def count(db: Connection) -> int:
    """Return how many events are folded."""
    return history_pages.count(db)


def first_missing(db: Connection, other: Path) -> Position | None:
    """Return the first event of the generation ``other`` that is missing from ``db`` or differs.

    Partitions that ``db`` does not cover are left out. The bodies are compared only if the same
    version has written both files: another version may encode the same event differently.

    Raises:
        Corrupt: ``other`` cannot be read.
    """
    db.execute("ATTACH DATABASE ? AS other", (str(other),))
    same_version = db.execute("PRAGMA other.user_version") == db.execute("PRAGMA main.user_version")
    covered = checkpoints.get_all(db)
    ours = _stored(db)
    mine = next(ours, None)
    for position, body in _stored(db, "other"):
        if position.partition not in covered:
            continue
        while mine is not None and mine[0] < position:
            mine = next(ours, None)
        if mine is None or mine[0] != position or (same_version and mine[1] != body):
            return position
    return None


def _stored(db: Connection, schema: str = "main") -> Generator[tuple[Position, bytes]]:
    """Yield every event of a generation with its position, in order; raises Corrupt."""
    columns = {column[1] for column in db.execute(f"PRAGMA {schema}.table_info(history)")}
    if not columns >= {"partition", "ms", "seq", "body"}:
        raise Corrupt("it has no history table")
    if "photo" in columns:
        yield from _former(db, schema)
        return
    for partition in history_pages.partitions(db, schema):
        for each in history_pages.ascending(db, Position.start(partition), schema=schema):
            yield Position(partition, each.ms, each.seq), each.body


def _former(db: Connection, schema: str) -> Generator[tuple[Position, bytes]]:
    """Yield the events of a file of a former layout, which kept each event in a packed row."""
    after = (-1, 0, 0)
    while rows := db.execute(
        f"SELECT partition, ms, seq, body FROM {schema}.history"  # noqa: S608 # constants
        " WHERE (partition, ms, seq) > (?, ?, ?) ORDER BY partition, ms, seq LIMIT ?",
        (*after, PAGE),
    ):
        for *place, body in rows:
            yield Position(*place), unpack(body)
        after = rows[-1][:3]


def differing(
    db: Connection, partition: int, one: str, other: str
) -> Generator[tuple[Stored | None, Stored | None]]:
    """Yield the events of a partition that only one of two attached generations has, or differ.

    Each is a pair of the event in ``one`` and that in ``other``, in the order of their positions.
    """
    start = history_pages.end_of_common(db, partition, one, other)
    ours = history_pages.ascending(db, start, schema=one)
    theirs = history_pages.ascending(db, start, schema=other)
    mine, yours = next(ours, None), next(theirs, None)
    while mine is not None or yours is not None:
        if yours is None or (mine is not None and mine[:2] < yours[:2]):
            yield mine, None
            mine = next(ours, None)
        elif mine is None or yours[:2] < mine[:2]:
            yield None, yours
            yours = next(theirs, None)
        else:
            if mine != yours:
                yield mine, yours
            mine, yours = next(ours, None), next(theirs, None)


def system_events(db: Connection, type_: str, schema: str) -> Generator[Event]:
    """Yield the system events of a type in an attached generation, in order."""
    found = history_pages.ascending(db, Position.start(0), of_type(type_), schema=schema)
    for each in found:
        event = codec.decode_event(each.body)
        if event.type == type_:
            yield event


def wire(position: Position, body: bytes) -> WireEvent:
    """Return the event at the position, of its stored bytes; raises Corrupt."""
    return _wire.decode(codec.encode_wire(codec.decode_event(body), position))


def _entry(position: Position, event: Event) -> HistoryEntry:
    return HistoryEntry(
        position=position,
        client_id=event.metadata.client_id,
        session_id=event.metadata.session_id,
        photo_id=event.data.photo_id,
        type=event.type,
        body=codec.encode_wire(event, position),
    )
