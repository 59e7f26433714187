import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from gateway.access.cookies import COOKIE
from gateway.http.limits import Limits
from gateway.rooms import websocket
from projections.models import photos
from store.log.position import Position
from tests.gateway.conftest import Gateway, Role
from tests.gateway.listeners import Talk, positions, record, talking
from tests.gateway.processing import process
from tests.gateway.wire import connected, handshake


@pytest.fixture
def limits() -> Limits:
    return Limits(after_timeout_s=0.5, rooms_per_socket=4, errors_per_socket=3)


@pytest.fixture
async def talk(gateway: Gateway) -> AsyncGenerator[Talk]:
    """A WebSocket of alice that has not identified yet."""
    async with talking(gateway) as talk:
        yield talk


FINAL = 0x80
CONTINUED, TEXT, CLOSED = 0, 1, 8


def _frame_head(first: int, length: int) -> bytes:
    """Return a frame (RFC 6455, section 5.2) with a mask of zeros, which leaves bytes unchanged."""
    if length < 1 << 16:
        return bytes([first, 0x80 | 126]) + length.to_bytes(2) + bytes(4)
    return bytes([first, 0x80 | 127]) + length.to_bytes(8) + bytes(4)


async def _known(gateway: Gateway) -> None:
    """Wait until a room can be entered from the last event."""
    last = (await positions(gateway.log))[-1]
    async with talking(gateway) as talk:
        assert (await talk.ask("identify", lastEventId=last))["recovered"]


async def test_an_identified_client_receives_the_events_of_its_rooms(
    gateway: Gateway, talk: Talk
) -> None:
    answer = await talk.ask("identify", sessionId="trip")
    assert answer == {
        "type": "identified",
        "clientId": "alice",
        "sessionId": "trip",
        "position": "0:0-0",
        "recovered": False,
        "pingIntervalMs": 5_000,
    }

    await record(gateway.log, 2, client_id="bob", session_id="trip")
    await record(gateway.log, 1)
    await record(gateway.log, 1, session_id="trip")

    expected = (await positions(gateway.log))[2:]
    received = await talk.events(2)
    assert [message["type"] for message in received] == ["event", "event"]
    assert [message["event"]["id"] for message in received] == expected
    assert [message["rooms"] for message in received] == [
        ["client:alice"],
        ["client:alice", "session:trip"],
    ]


async def test_the_server_sends_pings_as_often_as_it_says_once_the_client_has_identified(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING_S", 0.01)
    assert (await talk.ask("ping"))["type"] == "pong"  # nothing came before

    await talk.ask("identify")

    for _ in range(3):
        assert await talk.connection.recv() == '{"type":"ping"}'


async def test_an_event_of_several_rooms_is_delivered_once(gateway: Gateway, talk: Talk) -> None:
    photo = (await gateway.upload(sessionId="trip")).json()
    await talk.ask("identify", sessionId="trip", lastEventId=photo["position"])
    answer = await talk.ask("subscribe:photo", photoId=photo["photoId"])
    assert (answer["type"], answer["photoId"]) == ("subscribed", photo["photoId"])

    await process(gateway, photo)

    expected = (await positions(gateway.log))[1:]
    received = await talk.events(len(expected))
    assert [message["event"]["id"] for message in received] == expected
    assert all(
        message["rooms"] == ["client:alice", "session:trip", f"photo:{photo['photoId']}"]
        for message in received
    )
    assert (await talk.ask("ping"))["type"] == "pong"  # nothing came after


async def test_a_photo_room_replays_only_what_no_other_room_delivers(
    gateway: Gateway, talk: Talk
) -> None:
    photo = (await gateway.upload()).json()
    await process(gateway, photo)
    await _known(gateway)
    before = await positions(gateway.log)
    await talk.ask("identify")

    answer = await talk.ask("subscribe:photo", photoId=photo["photoId"], lastEventId=before[2])

    assert (answer["position"], answer["recovered"]) == (before[2], True)
    await record(gateway.log)
    assert await talk.ids(len(before) - 2) == (await positions(gateway.log))[3:]


async def test_a_reader_that_asks_for_batches_gets_many_events_in_one_message(
    gateway: Gateway, talk: Talk
) -> None:
    await record(gateway.log, 300, session_id="trip")
    await _known(gateway)

    answer = await talk.ask("identify", sessionId="trip", lastEventId="0:0-0", batches=True)

    assert answer["recovered"]
    expected = await positions(gateway.log)
    received: list[str] = []
    messages = 0
    while len(received) < len(expected):
        message = await talk.next()
        messages += 1
        assert message["type"] == "events"
        assert all(each["rooms"] == ["client:alice"] for each in message["events"])
        received += [each["event"]["id"] for each in message["events"]]
    assert received == expected
    assert messages < len(expected) / 10
    await record(gateway.log, 1)
    [last] = (await talk.next())["events"]
    assert last["rooms"] == ["client:alice"]


async def test_resuming_replays_exactly_the_rest(gateway: Gateway) -> None:
    await record(gateway.log, 30, session_id="trip")
    expected = await positions(gateway.log)

    for cut in (0, 11, 29):
        async with talking(gateway) as talk:
            answer = await talk.ask("identify", sessionId="trip", lastEventId=expected[cut])
            assert (answer["position"], answer["recovered"]) == (expected[cut], True)
            await record(gateway.log)
            rest = (await positions(gateway.log))[cut + 1 :]
            assert await talk.ids(len(rest)) == rest


async def test_a_socket_cut_again_and_again_misses_and_repeats_nothing(gateway: Gateway) -> None:
    got: list[str] = []
    last = "0:0-0"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, gateway.log, 500)
        while len(got) < 500:
            async with talking(gateway) as talk:
                await talk.ask("identify", lastEventId=last)
                received = await talk.ids(min(37, 500 - len(got)))
                talk.connection.transport.abort()
            got += received
            last = received[-1]

    assert got == await positions(gateway.log)


async def test_a_room_that_was_left_is_silent(gateway: Gateway) -> None:
    [photo_id] = await record(gateway.log, client_id="alice")
    await _known(gateway)
    async with talking(gateway, name="operator") as talk:
        await talk.ask("identify")
        await talk.ask("subscribe:photo", photoId=photo_id, lastEventId="0:0-0")
        assert len(await talk.ids(1)) == 1

        answer = await talk.ask("unsubscribe:photo", photoId=photo_id)
        assert answer == {"type": "unsubscribed", "photoId": photo_id}

        answer = await talk.ask("unsubscribe:photo", photoId=photo_id)
        assert (answer["type"], answer["code"]) == ("error", "not-subscribed")


async def test_an_operator_follows_any_client(gateway: Gateway) -> None:
    async with talking(gateway, name="operator") as talk:
        answer = await talk.ask("identify", clientId="bob", sessionId="trip")
        assert answer["clientId"] == "bob"

        await record(gateway.log, session_id="trip")
        await record(gateway.log, client_id="bob", session_id="trip")

        [received] = await talk.events(1)
        assert received["rooms"] == ["client:bob", "session:trip"]
        assert received["event"]["metadata"]["clientId"] == "bob"


async def test_a_fetch_after_an_event_finds_what_it_says(gateway: Gateway, talk: Talk) -> None:
    await talk.ask("identify")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, gateway.log, 200)
        for _ in range(200):
            event = (await talk.next())["event"]
            photo = await gateway.deps.reader.query(photos.get, event["data"]["photoId"])
            assert photo is not None
            assert Position.parse(photo.position) >= Position.parse(event["id"])


async def test_two_hundred_sockets_receive_the_same_events(gateway: Gateway) -> None:
    received: list[list[str]] = []

    async def listen(talk: Talk) -> None:
        received.append(await talk.ids(50))

    async with AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(talking(gateway)) for _ in range(200)]
        for talk in talks:
            await talk.ask("identify")
        async with anyio.create_task_group() as tasks:
            for talk in talks:
                tasks.start_soon(listen, talk)
            await record(gateway.log, 50)

    assert received == [await positions(gateway.log)] * 200


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"type": "identify", "clientId": "bob"}, "forbidden"),
        ({"type": "identify", "sessionId": 7}, "malformed-message"),
        ({"type": "identify", "sessionId": "a\nb"}, "invalid-session"),
        ({"type": "identify", "sessionId": "s" * 129}, "invalid-session"),
        ({"type": "identify", "lastEventId": "yesterday"}, "invalid-position"),
        ({"type": "subscribe:photo", "photoId": "unknown"}, "not-identified"),
        ({"type": "subscribe:album", "photoId": "unknown"}, "malformed-message"),
        ({"type": "subscribe:photo"}, "malformed-message"),
    ],
)
async def test_a_failed_request_is_an_error_and_keeps_the_socket_open(
    talk: Talk, request_: dict[str, Any], code: str
) -> None:
    answer = await talk.ask(request_.pop("type"), **request_)
    assert (answer["type"], answer["code"]) == ("error", code)

    assert (await talk.ask("identify"))["type"] == "identified"


async def test_anothers_photo_looks_like_a_missing_one(gateway: Gateway, talk: Talk) -> None:
    [photo_id] = await record(gateway.log, client_id="bob")
    await talk.ask("identify")

    answers = [await talk.ask("subscribe:photo", photoId=id_) for id_ in (photo_id, "unknown")]

    assert {answer["code"] for answer in answers} == {"photo-not-found"}


async def test_one_socket_is_one_client(talk: Talk) -> None:
    answers = [await talk.ask("identify") for _ in range(2)]

    assert [answer["type"] for answer in answers] == ["identified", "error"], answers
    assert answers[1]["code"] == "already-identified"


async def test_rooms_are_bounded(gateway: Gateway, talk: Talk) -> None:
    photo_ids = await record(gateway.log, 4)
    await _known(gateway)
    await talk.ask("identify", sessionId="trip")

    answers = [await talk.ask("subscribe:photo", photoId=photo_id) for photo_id in photo_ids]
    assert [answer["type"] for answer in answers] == ["subscribed", "subscribed", "error", "error"]
    assert answers[-1]["code"] == "too-many-rooms"

    await talk.ask("unsubscribe:photo", photoId=photo_ids[0])
    assert (await talk.ask("subscribe:photo", photoId=photo_ids[3]))["type"] == "subscribed"


@pytest.mark.parametrize(
    "garbage", ["", "x", "[]", "null", "{}", '{"type":1}', "[" * 60_000, b"\xff\x00", b"{", "\x00"]
)
async def test_garbage_is_answered_with_an_error(talk: Talk, garbage: str | bytes) -> None:
    await talk.connection.send(garbage)

    assert (await talk.next())["code"] == "malformed-message"
    assert (await talk.ask("ping"))["type"] == "pong"


async def test_too_much_garbage_ends_the_socket(talk: Talk) -> None:
    for _ in range(4):
        await talk.connection.send("garbage")

    assert [(await talk.next())["code"] for _ in range(3)] == ["malformed-message"] * 3
    assert await talk.closed() == (1008, "too-many-errors")


async def test_a_message_that_is_too_large_ends_the_socket(talk: Talk) -> None:
    await talk.connection.send("x" * 70_000)

    code, _ = await talk.closed()
    assert code == 1009


@pytest.mark.parametrize("frames", ["whole", "in parts"])
async def test_a_message_that_is_too_large_is_rejected_before_it_is_received(
    gateway: Gateway, frames: str
) -> None:
    async with connected(gateway) as wire:
        await wire.send(handshake(gateway))
        assert (await wire.answer()).startswith(b"HTTP/1.1 101")

        if frames == "in parts":
            await wire.send(_frame_head(TEXT, 60_000) + bytes(60_000))
            await wire.send(_frame_head(CONTINUED, 10_000))
        else:
            await wire.send(_frame_head(FINAL | TEXT, 16_000_000))

        close = await wire.rest()
    assert close[:1] == bytes([FINAL | CLOSED])
    assert int.from_bytes(close[2:4]) == 1009


async def test_messages_are_not_compressed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(handshake(gateway, "Sec-WebSocket-Extensions: permessage-deflate"))

        assert b"permessage-deflate" not in (await wire.answer()).lower()


async def test_text_that_is_not_utf_8_ends_the_socket_without_an_error(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    await talk.connection.send(b"\xff\xfe", text=True)

    code, _ = await talk.closed()
    assert code == 1007
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        ({}, (4401, "missing-token")),
        ({"Authorization": "Bearer nonsense"}, (4401, "invalid-token")),
        ({"Cookie": f"{COOKIE}=nonsense"}, (4403, "cross-origin")),
        ({"Cookie": f"{COOKIE}=nonsense", "Origin": "http://evil"}, (4403, "cross-origin")),
    ],
)
async def test_a_rejected_client_learns_why(
    gateway: Gateway, headers: dict[str, str], end: tuple[int, str]
) -> None:
    async with talking(gateway, name=None, headers=headers) as talk:
        assert await talk.closed() == end


async def test_a_page_of_the_same_host_connects_with_its_cookie(gateway: Gateway) -> None:
    await gateway.client.post("/api/login", headers=gateway.bearer("bob"))
    headers = {
        "Cookie": f"{COOKIE}={gateway.client.cookies[COOKIE]}",
        "Origin": gateway.base_url,
    }

    async with talking(gateway, name=None, headers=headers) as talk:
        assert (await talk.ask("identify"))["clientId"] == "bob"


async def test_a_socket_ends_with_its_token(gateway: Gateway) -> None:
    gateway.tokens["alice"] = gateway.deps.tokens.issue("alice", Role.CLIENT, 1, time.time())

    async with talking(gateway) as talk:
        assert await talk.closed() == (4401, "expired-token")
