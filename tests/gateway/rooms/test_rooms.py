from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dependencies import Dependencies
from gateway.http.auth import Principal, Role
from gateway.http.problems import Refused
from gateway.rooms.rooms import Positions, admit, join_positions, parse_positions, rooms_of
from projections.models import history
from projections.models.history import HistoryEntry, Room
from projections.projector import Projector
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client
from store.sqlite.generations import Generations
from tests.gateway.listeners import record

ALICE = Principal(client_id="alice")
OPERATOR = Principal(client_id="ops", role=Role.OPERATOR)
AUDITOR = Principal(client_id="books", role=Role.AUDITOR)
PARTITIONS = 3


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    return await Log.open(redis, prefix=prefix, partitions=PARTITIONS)


@pytest.mark.parametrize(
    ("name", "full_name", "room"),
    [
        ("client", "client:alice", Room(kind="client", id="alice", client_id="alice")),
        ("client:alice", "client:alice", Room(kind="client", id="alice", client_id="alice")),
        ("session:a:b", "session:a:b", Room(kind="session", id="a:b", client_id="alice")),
    ],
)
async def test_a_client_enters_its_own_rooms(
    deps: Dependencies, name: str, full_name: str, room: Room
) -> None:
    admission = await admit(name, ALICE, deps)

    assert (admission.name, admission.room) == (full_name, room)
    assert admission.partitions == (deps.log.partition_of("alice"),)


@pytest.mark.parametrize("principal", [OPERATOR, AUDITOR])
async def test_rooms_of_several_clients_span_all_partitions(
    deps: Dependencies, principal: Principal
) -> None:
    for name in ("global", "session:trip"):
        admission = await admit(name, principal, deps)
        assert admission.room.client_id is None
        assert admission.partitions == (0, 1, 2)

    admission = await admit("client:bob", principal, deps)
    assert admission.partitions == (deps.log.partition_of("bob"),)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("client:bob", "forbidden"),
        ("global", "forbidden"),
        ("", "invalid-room"),
        ("client:", "invalid-room"),
        ("session", "invalid-room"),
        ("photo:", "invalid-room"),
        ("global:all", "invalid-room"),
        ("album:1", "invalid-room"),
    ],
)
async def test_a_client_enters_no_other_room(deps: Dependencies, name: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await admit(name, ALICE, deps)

    assert refused.value.code == code


async def test_only_the_owner_enters_a_photo_room(
    deps: Dependencies, log: Log, tmp_path: Path
) -> None:
    [photo_id] = await record(log)
    generations = Generations(tmp_path / "read-model")
    await Projector(log, generations).catch_up()

    for principal in (ALICE, OPERATOR, AUDITOR):
        admission = await admit(f"photo:{photo_id}", principal, deps)
        assert admission.room == Room(kind="photo", id=photo_id, client_id="alice")
        assert admission.partitions == (log.partition_of("alice"),)

    with pytest.raises(Refused) as refused:
        await admit(f"photo:{photo_id}", Principal(client_id="bob"), deps)
    assert refused.value.code == "photo-not-found"


async def test_a_room_delivers_live_exactly_what_its_history_contains(
    deps: Dependencies, log: Log, tmp_path: Path
) -> None:
    photo_ids = [
        photo_id
        for client_id in ("alice", "bob")
        for session_id in (None, "trip", "home")
        for photo_id in await record(log, 2, client_id=client_id, session_id=session_id)
    ]
    await Projector(log, Generations(tmp_path / "read-model")).catch_up()
    names = ["global", "client:alice", "client:bob", "session:trip", "session:home"]
    names += [f"photo:{photo_id}" for photo_id in photo_ids]
    admissions = [await admit(name, OPERATOR, deps) for name in names]
    admissions += [await admit(f"session:{id_}", ALICE, deps) for id_ in ("trip", "home")]

    async def held(room: Room, partition: int) -> list[HistoryEntry]:
        start = Position.start(partition)
        return await deps.reader.query(history.room_events, room, partition, start, None, 100)

    delivered = 0
    for admission in admissions:
        for partition in range(PARTITIONS):
            everything = await deps.reader.query(history.since, Position.start(partition), 100)
            expected = [entry for entry in everything if admission.room in rooms_of(entry)]
            assert await held(admission.room, partition) == expected
            assert partition in admission.partitions or not expected
            delivered += len(expected)
    assert delivered == 12 * 3 + 8 + 4


@given(st.dictionaries(st.integers(0, 99), st.tuples(st.integers(0, 2**48), st.integers(0, 999))))
def test_positions_round_trip_as_text(parts: dict[int, tuple[int, int]]) -> None:
    positions: Positions = {
        partition: Position(partition, ms, seq) for partition, (ms, seq) in sorted(parts.items())
    }
    if positions:
        assert parse_positions(join_positions(positions)) == positions


@given(
    st.text().filter(lambda text: ":" not in text) | st.sampled_from([":", "0:", "0:1-", "x:1-1"])
)
def test_any_other_text_is_not_a_position(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_positions(text)

    assert refused.value.code == "invalid-position"
