"""The history: rooms, pages, and files of a former layout."""

from contextlib import closing
from pathlib import Path

import pytest

from projections.models import history, history_pages
from projections.models.history import HistoryEntry, Room
from projections.models.history_pages import FIRST_PAGE, NEXT_PAGE, NEXT_PAGE_OF
from store.log import codec
from store.log.position import Position
from store.sqlite.connection import Connection, Value, open_writer
from store.sqlite.packing import pack
from tests.projections.conftest import fold_in
from tests.projections.stories import SCRIPT, Chronicle, photo_id

pytestmark = pytest.mark.usefixtures("small_pages")

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


def test_the_last_events_are_found_from_the_end(
    db: Connection, entries: list[HistoryEntry]
) -> None:
    for number, entry in enumerate(entries):
        before = entries[: number + 1]
        assert history.latest(db, entry.position, 3) == before[::-1][:3]
        last = next((each.position for each in before[::-1] if each.client_id == "bob"), START)
        assert history.last_of_client(db, "bob", entry.position) == last


def test_it_has_the_events_that_were_folded_and_no_others(
    db: Connection, entries: list[HistoryEntry]
) -> None:
    for entry in entries:
        assert history.has(db, entry.position)
        assert history.has(db, entry.position, entry.client_id)
        assert not history.has(db, entry.position, "mallory")
        assert not history.has(db, entry.position._replace(seq=7))
    positions = [entry.position for entry in entries]
    assert [*history.bodies(db, [*positions, Position(0, 1, 1)])] == positions


def test_most_events_are_in_pages(db: Connection, entries: list[HistoryEntry]) -> None:
    pages = db.execute("SELECT count(*) FROM history_pages")[0][0]

    assert pages == len(entries) // history_pages.PAGE > 2
    assert db.execute("SELECT count(*) FROM history") == [(len(entries) % history_pages.PAGE,)]


def test_events_of_a_former_layout_can_still_be_read(
    db: Connection, entries: list[HistoryEntry], tmp_path: Path
) -> None:
    former = tmp_path / "former.sqlite"
    bodies = history.bodies(db, [entry.position for entry in entries])
    with closing(open_writer(former)) as old:
        old.execute(
            "CREATE TABLE history (partition, ms, seq, type, photo, client, session, body,"
            " PRIMARY KEY (partition, ms, seq)) WITHOUT ROWID"
        )
        rows = [(*position, 1, 1, 1, None, pack(body)) for position, body in bodies.items()]
        old.execute_many("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        assert list(history.everything(old)) == entries
        missing = entries[5].position
        old.execute("UPDATE history SET seq = 9 WHERE (partition, ms, seq) = (?, ?, ?)", missing)

    assert history.first_missing(db, former) == missing._replace(seq=9)


@pytest.mark.parametrize(
    ("statement", "order", "steps"),
    [
        (FIRST_PAGE, "ASC", ["COVERING INDEX history_page_ends (partition=? AND (last_ms,last_"]),
        (NEXT_PAGE, "ASC", ["INDEX sqlite_autoindex_history_pages_1 (partition=? AND page"]),
        (NEXT_PAGE, "DESC", ["INDEX sqlite_autoindex_history_pages_1 (partition=? AND page"]),
        *(
            (
                NEXT_PAGE_OF,
                order,
                [
                    "m USING PRIMARY KEY (name=? AND partition=? AND page",
                    "p USING INDEX sqlite_autoindex_history_pages_1 (partition=? AND page=?)",
                ],
            )
            for order in ("ASC", "DESC")
        ),
    ],
)
def test_pages_are_found_by_an_index_in_its_order(
    db: Connection, statement: str, order: str, steps: list[str]
) -> None:
    later = ">" if order == "ASC" else "<"
    sql = statement.format(schema="main", later=later, order=order)
    named: dict[str, Value] = dict.fromkeys(("name", "partition", "page"), 0)
    values = (0, 0, 0) if statement == FIRST_PAGE else named
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    assert len(plan) == len(steps)
    assert all(step in found for step, found in zip(steps, plan, strict=True))
