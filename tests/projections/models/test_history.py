import pytest

from projections.models import history
from projections.models.history import HistoryEntry, Room, room_sql
from store.log import codec
from store.log.position import Position
from store.sqlite.connection import Connection, Value
from tests.projections.conftest import fold_in
from tests.projections.stories import SCRIPT, Chronicle, photo_id

START = Position.start(0)

ROOMS = [
    Room(kind="global", id="", client_id=None),
    Room(kind="client", id="alice", client_id="alice"),
    Room(kind="client", id="bob", client_id="bob"),
    Room(kind="session", id="trip", client_id=None),
    Room(kind="session", id="trip", client_id="alice"),
    Room(kind="photo", id=photo_id(4), client_id="bob"),
    Room(kind="photo", id="none", client_id=None),
]


@pytest.fixture
def entries(db: Connection) -> list[HistoryEntry]:
    """Fold the story of alice and bob, and return all of its entries."""
    recorded = Chronicle.of(*SCRIPT).recorded
    fold_in(db, recorded)
    return [
        HistoryEntry(
            position=each.position,
            client_id=each.event.metadata.client_id,
            session_id=each.event.metadata.session_id,
            photo_id=each.event.data.photo_id,
            type=each.event.type,
            body=codec.encode_wire(each.event, each.position),
        )
        for each in recorded
    ]


def belongs(entry: HistoryEntry, room: Room) -> bool:
    match room.kind:
        case "global":
            return True
        case "client":
            return entry.client_id == room.id
        case "photo":
            return entry.photo_id == room.id
        case "session":
            mine = room.client_id in (None, entry.client_id)
            return mine and entry.session_id == room.id


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.kind}:{room.client_id}")
def test_a_room_has_its_events_in_order(
    db: Connection, entries: list[HistoryEntry], room: Room
) -> None:
    expected = [entry for entry in entries if belongs(entry, room)]

    assert history.room_events(db, room, 0, START, None, 1_000) == expected


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: f"{room.kind}:{room.client_id}")
def test_a_room_resumes_anywhere_without_gap_or_repetition(
    db: Connection, entries: list[HistoryEntry], room: Room
) -> None:
    for cut in entries:
        before = history.room_events(db, room, 0, START, cut.position, 1_000)
        after = history.room_events(db, room, 0, cut.position, None, 1_000)
        assert before + after == [entry for entry in entries if belongs(entry, room)]


def test_a_page_is_the_first_events_after_the_position(
    db: Connection, entries: list[HistoryEntry]
) -> None:
    assert history.since(db, START, 3) == entries[:3]
    assert history.since(db, entries[2].position, 3) == entries[3:6]
    assert history.since(db, entries[-1].position, 3) == []


def test_other_partitions_are_not_in_the_room(db: Connection, entries: list[HistoryEntry]) -> None:
    assert entries
    assert history.since(db, Position.start(1), 10) == []


def test_events_are_counted(db: Connection, entries: list[HistoryEntry]) -> None:
    assert history.count(db) == len(entries)


@pytest.mark.parametrize(
    ("room", "index"),
    [
        (ROOMS[0], "PRIMARY KEY (partition=? AND (ms,seq)>(?,?) AND (ms,seq)<(?,?))"),
        (ROOMS[1], "INDEX history_of_client (client_id=? AND partition=? AND (ms,seq)>(?,?) AND"),
        (ROOMS[3], "INDEX history_of_session (session_id=? AND partition=? AND (ms,seq)>(?,?) AND"),
        (ROOMS[4], "INDEX history_of_session (session_id=? AND partition=? AND (ms,seq)>(?,?) AND"),
        (ROOMS[5], "INDEX history_of_photo (photo_id=? AND partition=? AND (ms,seq)>(?,?) AND"),
    ],
)
def test_every_room_is_read_from_an_index_in_its_order(
    db: Connection, room: Room, index: str
) -> None:
    bounds = ("partition", "after_ms", "after_seq", "upto_ms", "upto_seq", "limit")
    values: dict[str, Value] = dict.fromkeys(("id", "client_id", *bounds), 0)
    plan = db.execute(f"EXPLAIN QUERY PLAN {room_sql(room)}", values)

    (step,) = [row[3] for row in plan]
    assert index in step
