"""``GET /api/ops/presence``, and the metric of the readers of rooms."""

import anyio

from tests.gateway.conftest import DEADLINE_S, POLL_S, Gateway
from tests.gateway.listeners import following, talking


async def readers(gateway: Gateway) -> dict[str, float]:
    """Return the values of the metric, by kind of room."""
    text = (await gateway.client.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("photolog_room_readers{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


async def test_operators_see_who_follows_which_rooms(gateway: Gateway) -> None:
    photo = (await gateway.upload(sessionId="trip")).json()
    path = "/api/ops/presence"
    async with (
        talking(gateway) as talk,
        following(gateway, "client", "session:trip"),
        following(gateway, "global", name="auditor"),
    ):
        await talk.ask("identify", sessionId="trip")
        for _ in range(2):  # entering a room again counts once
            await talk.ask("subscribe:photo", photoId=photo["photoId"])

        found = (await gateway.get(path, name="operator")).json()

        assert await readers(gateway) == found["readers"]
        await talk.ask("unsubscribe:photo", photoId=photo["photoId"])
        left = (await gateway.get(path, name="auditor")).json()

    assert found["connections"] == {"sse": 2, "websocket": 1}
    assert found["readers"] == {"client": 2, "session": 2, "photo": 1, "global": 1}
    assert (found["roomCount"], found["senderCount"]) == (4, 2)
    assert {(each["kind"], each["id"], each["readers"]) for each in found["rooms"]} == {
        ("client", "alice", 2),
        ("session", "trip", 2),
        ("photo", photo["photoId"], 1),
        ("global", "", 1),
    }
    assert found["senders"] == [
        {"sender": "client:alice", "connections": 2},
        {"sender": "auditor:auditor", "connections": 1},
    ]
    assert left["readers"]["photo"] == 0


async def test_nobody_is_counted_after_leaving(gateway: Gateway) -> None:
    async with following(gateway), talking(gateway) as talk:
        await talk.ask("identify")

    with anyio.fail_after(DEADLINE_S):
        while any((await readers(gateway)).values()):
            await anyio.sleep(POLL_S)


async def test_clients_do_not_see_who_is_there(gateway: Gateway) -> None:
    assert (await gateway.get("/api/ops/presence")).status_code == 403
