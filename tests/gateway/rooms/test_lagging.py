"""A host whose history is behind a client's position reports that, and never a loss."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from gateway.rooms.hub import Hub
from gateway.rooms.rooms import Admission, client_room
from projections.models.history import Room
from projections.projector import Projector
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client
from store.sqlite.generations import Generations
from tests.gateway.conftest import DEADLINE_S, Gateway, projected
from tests.gateway.listeners import following, positions, record, talking


@pytest.fixture
def limits() -> Limits:
    return Limits(after_timeout_s=2.0)


@pytest.fixture
async def projecting() -> bool:
    return False


@pytest.fixture
async def behind(gateway: Gateway, tmp_path: Path) -> str:
    """A position that the log has and the read model lacks: no projector runs."""
    await record(gateway.log, 2)
    await Projector(gateway.log, Generations(tmp_path / "read-model")).catch_up()
    async with following(gateway):
        pass
    await record(gateway.log, 1)
    return (await positions(gateway.log))[-1]


async def test_a_stream_is_rejected_until_the_host_has_the_position(
    gateway: Gateway, behind: str, tmp_path: Path
) -> None:
    answer = await gateway.get("/api/events?room=client", **{"Last-Event-ID": behind})

    assert (answer.status_code, answer.json()["code"]) == (503, "read-model-behind")
    assert int(answer.headers["Retry-After"]) > 0
    generations = Generations(tmp_path / "read-model")
    await Projector(gateway.log, generations).catch_up()
    async with following(gateway, after=behind) as stream:
        assert stream.start == (True, behind)


async def test_a_socket_gets_an_error_and_may_retry(
    gateway: Gateway, behind: str, tmp_path: Path
) -> None:
    async with talking(gateway) as talk:
        reply = await talk.ask("identify", lastEventId=behind)
        assert (reply["type"], reply["code"]) == ("error", "read-model-behind")

        async with projected(gateway.deps, tmp_path / "read-model"):
            with anyio.fail_after(DEADLINE_S):
                while reply["type"] == "error":
                    reply = await talk.ask("identify", lastEventId=behind)

    assert (reply["type"], reply["recovered"], reply["position"]) == ("identified", True, behind)


async def test_a_position_missing_from_the_log_is_lost_even_if_the_host_is_behind(
    gateway: Gateway, behind: str
) -> None:
    at = Position.parse(behind)
    await gateway.log.redis.xdel(gateway.log.keys.log(0), at.entry_id)
    known = (await positions(gateway.log))[-1]

    async with following(gateway, after=behind) as stream:
        assert stream.start == (False, known)


async def test_only_readers_of_a_partition_that_lost_events_are_disconnected(
    redis: Client, prefix: str, deps: Dependencies, tmp_path: Path
) -> None:
    log = await Log.open(redis, partitions=2, prefix=f"{prefix}-two")
    of = {log.partition_of(client): client for client in ("alice", "bob", "carol", "dave")}
    everyone = Room(kind="global", id="", client_id=None)
    everything = Admission(name="global", room=everyone, partitions=(0, 1))
    generations = Generations(tmp_path / "read-model")
    for client in of.values():
        await record(log, 2, client_id=client)
    await Projector(log, generations).catch_up()
    hub = Hub(log, deps.reader, deps.limits)
    untyped: Any = redis
    async with hub.running():
        await hub.reached(None)
        kept, lost = (await positions(log, 1))[-2:]
        with (
            hub.subscribe("sse") as steady,
            hub.subscribe("sse") as struck,
            hub.subscribe("sse") as wide,
        ):
            steady.enter(client_room(of[0], log), None)
            struck.enter(client_room(of[1], log), None)
            wide.enter(everything, None)
            asked = {p: Position.parse((await positions(log, p))[-1]) for p in (0, 1)}
            await untyped.xdel(log.keys.log(1), Position.parse(lost).entry_id)
            await Projector(log, generations).catch_up()
            with anyio.fail_after(DEADLINE_S):
                assert await struck.next_batch() == []
                assert await wide.next_batch() == []
            await record(log, 1, client_id=of[0])
            await record(log, 1, client_id=of[1])
            await Projector(log, generations).catch_up()
            with anyio.fail_after(DEADLINE_S):
                [delivery] = await steady.next_batch()
                assert str(delivery.entry.position) == (await positions(log, 0))[-1]

        with hub.subscribe("sse") as again, anyio.fail_after(DEADLINE_S):
            assert await hub.reached(asked) is None
            begin = await hub.begin(everything, asked)
            start = again.enter(everything, None, begin)
            assert (start.recovered, start.positions) == (
                False,
                {0: asked[0], 1: Position.parse(kept)},
            )
            received = [str(d.entry.position) for _ in range(2) for d in await again.next_batch()]
            newest = [(await positions(log, p))[-1] for p in (0, 1)]
            assert [each for each in received if each.startswith("1:")] == newest[1:]
            assert newest[0] in received
