import time

import anyio
import pytest

from gateway.http.limits import Limits
from gateway.rooms import sse
from projections.models import photos
from store.log.position import Position
from tests.conftest import one_and_three
from tests.gateway.conftest import Gateway, Role, until
from tests.gateway.listeners import following, positions, record
from tests.gateway.processing import process


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, after_timeout_s=0.5)


async def test_the_first_frame_has_the_rooms_position(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])

    async with following(gateway) as stream:
        assert stream.start == (False, stream.ready.id)
        assert Position.parse(stream.ready.id) <= Position.parse(photo["position"])


@one_and_three
async def test_a_room_delivers_each_event_once_and_in_order(gateway: Gateway) -> None:
    async with following(gateway) as stream:
        photo = (await gateway.upload()).json()
        await process(gateway, photo)
        expected = await positions(gateway.log)

        frames = await stream.take(len(expected))

    assert [frame.id for frame in frames] == expected
    assert [frame.data["id"] for frame in frames] == expected
    assert {frame.event for frame in frames} == {"message"}
    assert frames[0].data["type"] == "photo.uploaded"
    assert frames[-1].data["type"] == "photo.processing.completed"


async def test_a_room_delivers_no_events_of_other_rooms(gateway: Gateway) -> None:
    await record(gateway.log, 3, client_id="bob", session_id="trip")
    await record(gateway.log, 3, session_id="home")
    [photo_id] = await record(gateway.log, 1, session_id="trip")
    await record(gateway.log, 3, client_id="bob", session_id="trip")
    await record(gateway.log, 3, session_id="trip")

    everything = await positions(gateway.log)

    for room, expected in (
        ("client", [*everything[3:7], *everything[10:]]),
        ("session:trip", [everything[6], *everything[10:]]),
        (f"photo:{photo_id}", everything[6:7]),
    ):
        async with following(gateway, room, after="0:0-0") as stream:
            assert await stream.ids(len(expected)) == expected


async def test_an_operator_follows_any_room(gateway: Gateway) -> None:
    await record(gateway.log, 2, session_id="trip")
    [photo_id] = await record(gateway.log, 1, client_id="bob", session_id="trip")
    everything = await positions(gateway.log)

    for room, expected in (
        ("global", everything),
        ("client:alice", everything[:2]),
        ("session:trip", everything),
        (f"photo:{photo_id}", everything[2:]),
    ):
        async with following(gateway, room, name="operator", after="0:0-0") as stream:
            assert stream.ready.data["recovered"]
            assert await stream.ids(len(expected)) == expected


@one_and_three
async def test_resuming_replays_exactly_the_rest(gateway: Gateway) -> None:
    await record(gateway.log, 30)
    expected = await positions(gateway.log)

    for cut in (0, 11, 29):
        async with following(gateway, after=expected[cut]) as stream:
            assert stream.start == (True, expected[cut])
            await record(gateway.log)
            rest = (await positions(gateway.log))[cut + 1 :]
            assert await stream.ids(len(rest)) == rest


async def test_the_header_takes_precedence_over_the_query(gateway: Gateway) -> None:
    await record(gateway.log, 5)
    expected = await positions(gateway.log)

    async with following(gateway, after=expected[0], header=expected[3]) as stream:
        assert await stream.ids(1) == expected[4:]


@one_and_three
async def test_a_stream_cut_again_and_again_misses_and_repeats_nothing(gateway: Gateway) -> None:
    got: list[str] = []
    async with following(gateway) as stream:
        last = stream.ready.id
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, gateway.log, 500)
        while len(got) < 500:
            async with following(gateway, after=last) as stream:
                assert stream.start == (True, last)
                frames = await stream.take(min(37, 500 - len(got)))
            got += [frame.data["id"] for frame in frames]
            last = frames[-1].id

    assert got == await positions(gateway.log)


@one_and_three
async def test_an_upload_can_be_followed_from_its_position(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()

    async with following(gateway, f"photo:{photo['photoId']}", after=photo["position"]) as stream:
        assert stream.ready.data["recovered"]
        await process(gateway, photo)
        expected = (await positions(gateway.log))[1:]
        assert await stream.ids(len(expected)) == expected


@pytest.mark.parametrize("after", ["0:9999999999999-0", "7:1-0", "0:1-0,1:1-0"])
async def test_a_position_of_another_history_starts_at_now(gateway: Gateway, after: str) -> None:
    await record(gateway.log, 3)
    last = (await positions(gateway.log))[-1]
    async with following(gateway, after=last):  # the hub has reached it
        pass

    async with following(gateway, after=after) as stream:
        assert stream.start == (False, last)
        await record(gateway.log)
        assert await stream.ids(1) == (await positions(gateway.log))[3:]


@pytest.mark.parametrize("partitions", [3])
async def test_a_room_of_many_partitions_resumes_in_each(gateway: Gateway, partitions: int) -> None:
    clients = {gateway.log.partition_of(f"client-{n}"): f"client-{n}" for n in range(20)}
    assert len(clients) == partitions
    for client_id in clients.values():
        await record(gateway.log, 20, client_id=client_id)
    expected = {partition: await positions(gateway.log, partition) for partition in clients}
    got: dict[int, list[str]] = {partition: [] for partition in clients}

    last = ",".join(str(Position.start(partition)) for partition in range(partitions))
    for _ in range(6):
        async with following(gateway, "global", name="auditor", after=last) as stream:
            assert stream.start == (True, last)
            frames = await stream.take(10)
        last = frames[-1].id
        for frame in frames:
            got[Position.parse(frame.data["id"]).partition].append(frame.data["id"])

    assert got == expected
    assert last == ",".join(expected[partition][-1] for partition in range(partitions))


@one_and_three
async def test_a_fetch_after_an_event_finds_what_it_says(gateway: Gateway) -> None:
    async with following(gateway) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(record, gateway.log, 200)
        for _ in range(200):
            [frame] = await stream.take(1)
            photo = await gateway.deps.reader.query(photos.get, frame.data["data"]["photoId"])
            assert photo is not None
            assert Position.parse(photo.position) >= Position.parse(frame.id)


@pytest.mark.parametrize(
    ("room", "status", "code"),
    [
        ("client:bob", 403, "forbidden"),
        ("global", 403, "forbidden"),
        ("photo:unknown", 404, "photo-not-found"),
        ("photo:", 400, "invalid-room"),
        ("client:", 400, "invalid-room"),
        ("everything", 400, "invalid-room"),
    ],
)
async def test_entering_a_forbidden_room_is_rejected(
    shared_gateway: Gateway, room: str, status: int, code: str
) -> None:
    answer = await shared_gateway.client.get("/api/events", params={"room": room})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_anothers_photo_looks_like_a_missing_one(gateway: Gateway) -> None:
    [photo_id] = await record(gateway.log, client_id="bob")

    answer = await gateway.client.get("/api/events", params={"room": f"photo:{photo_id}"})

    assert (answer.status_code, answer.json()["code"]) == (404, "photo-not-found")


@pytest.mark.parametrize("after", ["garbage", "0:1", "0:1-0,", "-1:1-0"])
async def test_an_invalid_resume_position_is_rejected(shared_gateway: Gateway, after: str) -> None:
    asked = {"room": "client", "lastEventId": after}

    answer = await shared_gateway.client.get("/api/events", params=asked)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid-position")
    assert "the last event that you received" in problem["advice"]


async def test_a_stream_needs_a_token(gateway: Gateway) -> None:
    answer = await gateway.client.get(
        "/api/events", params={"room": "client"}, headers={"Authorization": ""}
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "missing-token")


async def test_a_stream_ends_with_its_token(gateway: Gateway) -> None:
    gateway.tokens["alice"] = gateway.deps.tokens.issue("alice", Role.CLIENT, 1, time.time())

    async with following(gateway) as stream:
        assert await stream.next() is None


async def test_pings_come_as_often_as_the_first_frame_says(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    interval_ms = 1_000 * sse.PING_S
    monkeypatch.setattr(sse, "PING_S", 0.01)
    async with following(gateway) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(stream.next)
        await until(lambda: stream.pings >= 3, "three pings")
        tasks.cancel_scope.cancel()

    assert stream.ready.data["pingIntervalMs"] == interval_ms


@one_and_three
async def test_several_rooms_share_a_stream_that_resumes_after_any_of_its_events(
    gateway: Gateway,
) -> None:
    for number in range(6):
        await record(gateway.log, 2, client_id="bob", session_id="trip")
        await record(gateway.log, 2, session_id="trip" if number % 2 else None)
        await record(gateway.log, 1, client_id="carol", session_id="away")
    rooms = ["session:trip", "client:alice", "session:away", "session:trip"]
    start = ",".join(f"{each}:0-0" for each in range(gateway.log.partitions))
    async with following(gateway, *rooms, name="operator", after=start) as stream:
        assert stream.start == (True, start)
        frames = await stream.take(30)
        [photo_id] = await record(gateway.log, 1, client_id="carol", session_id="away")
        frames += await stream.take(1)
    assert frames[-1].data["data"]["photoId"] == photo_id
    ids = [frame.data["id"] for frame in frames]
    assert len(set(ids)) == 31

    for cut in range(0, 31, 6):
        after = frames[cut].id
        async with following(gateway, *rooms, name="operator", after=after) as stream:
            assert stream.start == (True, after)
            assert await stream.ids(30 - cut) == ids[cut + 1 :]


async def test_a_stream_has_a_limited_number_of_rooms(gateway: Gateway) -> None:
    rooms = {"room": [f"session:{number}" for number in range(101)]}

    refused = await gateway.client.get("/api/events", params=rooms, headers=gateway.bearer("alice"))

    assert (refused.status_code, refused.json()["code"]) == (400, "too-many-rooms")


async def test_frames_carry_the_type_of_their_event_on_request(gateway: Gateway) -> None:
    await record(gateway.log, 2)

    async with following(gateway, after="0:0-0", named=True) as stream:
        assert [frame.event for frame in await stream.take(2)] == ["photo.uploaded"] * 2
