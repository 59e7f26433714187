"""Positions reveal nothing about other clients to a client."""

import re
import time
from typing import Any

import pytest

from store.log.position import Position
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import following, positions, record, talking
from tests.gateway.processing import process


@pytest.fixture
async def mine(gateway: Gateway) -> str:
    """The position of alice's last event, between events of bob."""
    await record(gateway.log, 3, client_id="bob")
    photo = (await gateway.upload()).json()
    last = await process(gateway, photo)
    await record(gateway.log, 3, client_id="bob")
    end = str(await gateway.log.end(0))
    await gateway.get("/api/photos", name="operator", after=end)
    async with following(gateway, "global", name="operator", after=end):  # the hub has reached it
        pass
    return last


def probes(mine: str) -> list[Position]:
    """Return positions that alice has not received; some of them are events of bob."""
    at = Position.parse(mine)
    return [
        at._replace(ms=at.ms + 1),
        at._replace(seq=at.seq + 1),
        at.before,
        at._replace(ms=9999999999999),
        Position(0, 1, 0),
    ]


async def bobs(gateway: Gateway) -> list[str]:
    return [
        str(each.position)
        async for each in gateway.log.scan(0)
        if each.event.metadata.client_id == "bob"
    ]


async def test_a_room_starts_at_the_clients_own_last_event(gateway: Gateway, mine: str) -> None:
    async with following(gateway) as stream:
        assert stream.start == (False, mine)
    async with following(gateway, "session:none") as stream:
        assert stream.ready.id == mine
    async with talking(gateway) as talk:
        assert (await talk.ask("identify", sessionId="none"))["position"] == mine


async def test_a_client_without_events_starts_at_the_beginning(gateway: Gateway, mine: str) -> None:
    gateway.tokens["carol"] = gateway.deps.tokens.issue("carol", "client", 60, time.time())

    async with following(gateway, name="carol") as stream:
        assert stream.ready.id == "0:0-0"
        assert mine


async def test_operators_see_the_end_of_the_log(gateway: Gateway, mine: str) -> None:
    end = (await positions(gateway.log))[-1]

    async with following(gateway, "global", name="operator") as stream:
        assert stream.ready.id == end
    async with following(gateway, "global", name="auditor", after=mine) as stream:
        assert stream.ready.data["recovered"]


async def test_nothing_is_lost_or_repeated_between_the_start_and_a_resume(
    gateway: Gateway, mine: str
) -> None:
    async with following(gateway) as stream:
        begin = stream.ready.id
    await record(gateway.log, 2, client_id="bob")
    await record(gateway.log, 2)
    expected = [each for each in await positions(gateway.log) if each not in await bobs(gateway)]

    async with following(gateway, after=begin) as stream:
        assert stream.start == (True, mine)
        assert await stream.ids(2) == expected[-2:]


async def test_a_position_of_anothers_event_looks_like_one_without_an_event(
    gateway: Gateway, mine: str
) -> None:
    """Otherwise a client could find the events of others by trying positions."""
    seen: set[tuple[int, str]] = set()
    others = await bobs(gateway)
    own = set(await positions(gateway.log)) - set(others)
    for position in {*map(str, probes(mine)), *others} - own:
        answer = await gateway.get("/api/photos", after=position)
        detail = answer.json()["detail"].replace(position, "…")
        seen.add((answer.status_code, detail))
        async with following(gateway, after=position) as stream:
            before = [each for each in own if Position.parse(each) <= Position.parse(position)]
            last = max(before, key=Position.parse, default="0:0-0")
            assert stream.start == (False, last)

    assert seen == {(409, "There is no event at … that you may see.")}


@pytest.mark.parametrize(
    "unknown",
    ["0:9999999999999-0", "0:9999999999999999-9999999999999999", "7:1-0", "0:1-0,1:1-0"],
)
async def test_a_reader_with_a_position_missing_from_the_log_continues_unrecovered(
    gateway: Gateway, mine: str, unknown: str
) -> None:
    """It may be well-behaved, after a loss; an EventSource never reconnects after a 4xx."""
    photo = (await gateway.get("/api/photos")).json()["items"][0]["photoId"]
    starts: list[dict[str, Any]] = []
    async with following(gateway, after=unknown) as stream:
        starts.append(stream.ready.data)
    async with following(gateway, header=unknown) as stream:
        starts.append(stream.ready.data)
    async with talking(gateway) as talk:
        starts.append(await talk.ask("identify", lastEventId=unknown))
        starts.append(await talk.ask("subscribe:photo", photoId=photo, lastEventId=unknown))

    frames = [(each["recovered"], each["position"]) for each in starts]
    assert frames == [(False, mine)] * 4
    async with following(gateway, header=mine) as stream:
        assert stream.start == (True, mine)
    read = await gateway.get("/api/photos", after=unknown)
    assert (read.status_code, read.json()["code"]) == (409, "unknown-position")


async def test_no_response_to_a_client_contains_a_position_of_anothers_event(
    gateway: Gateway, mine: str
) -> None:
    photo = (await gateway.get("/api/photos")).json()["items"][0]["photoId"]
    others = set(await bobs(gateway))
    responses = ""
    for path in (
        "/api/photos",
        f"/api/photos/{photo}",
        f"/api/photos/{photo}/history",
        f"/api/photos/{photo}/original",
        "/api/photos?after=0:9999999999999-0",
        "/api/photos/none",
        "/api/ops/queues",
        "/health",
        "/health/ready",
    ):
        answer = await gateway.get(path)
        responses += repr(answer.headers) + repr(answer.content)

    assert mine in responses
    assert not others & set(re.findall(r"\d+:\d+-\d+", responses))
