from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio.lowlevel import checkpoint
from redis.asyncio import Redis

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from gateway.rooms.hub import Hub, Subscriber
from gateway.rooms.rooms import Positions, client_room, session_room
from ops.maintenance import log_ownership
from projections.rebuild import rebuild
from store.blobs.folder import FolderBlobs
from store.errors import Unavailable
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client, connect
from store.sqlite.generations import Generations
from tests.gateway.conftest import DEADLINE_S, projected, until
from tests.gateway.listeners import positions, record
from tests.ops.maintenance.recoveries import lose, recover

BEGIN: Positions = {0: Position.start(0)}
BACKLOG = 50
MANY = 10 * BACKLOG


@pytest.fixture
def limits() -> Limits:
    return Limits(room_backlog=BACKLOG, after_timeout_s=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "read-model"


@pytest.fixture
async def hub(deps: Dependencies, folder: Path) -> AsyncGenerator[Hub]:
    """A hub with a projector."""
    hub = Hub(deps.log, deps.reader, deps.limits)
    async with projected(deps, folder), hub.running():
        with anyio.fail_after(DEADLINE_S):
            while not hub.head:
                await hub.reached(None)
        yield hub


async def receive(subscriber: Subscriber, count: int) -> list[str]:
    """Return the positions of the next ``count`` events."""
    received: list[str] = []
    with anyio.fail_after(DEADLINE_S):
        while len(received) < count:
            batch = await subscriber.next_batch()
            assert batch, "the hub has stopped"
            received += [str(entry.position) for _, entry in batch]
    return received


async def test_a_subscriber_receives_each_event_once_and_in_order(hub: Hub, log: Log) -> None:
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), None)

        await record(log, 300)

        assert await receive(subscriber, 300) == await positions(log)


async def test_a_reader_that_stops_costs_no_more_than_its_backlog(hub: Hub, log: Log) -> None:
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), None)
        most = 0

        def has_passed_by() -> bool:
            nonlocal most
            most = max(most, subscriber.backlog)
            return hub.head[0] == end

        end = Position.start(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until, lambda: has_passed_by() and end.ms > 0, "the hub")
            await record(log, MANY)
            end = await log.end(0)

        assert 0 < most <= BACKLOG
        assert hub.overflows > 0
        assert await receive(subscriber, MANY) == await positions(log)
        assert subscriber.backlog == 0


async def test_a_subscriber_that_joins_mid_stream_receives_all_later_events(
    hub: Hub, log: Log
) -> None:
    random = Random(7)
    received: list[tuple[Position, list[str]]] = []
    everything: list[str] = []

    async def listen(after: Positions | None) -> None:
        with hub.subscribe("sse") as subscriber:
            await hub.reached(after)
            start = subscriber.enter(client_room("alice", log), after)
            assert start.recovered == (after is not None)
            mine: list[str] = []
            received.append((start.positions[0], mine))
            while True:
                mine += await receive(subscriber, 1)

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            await record(log, random.randint(1, 60))
            known = await positions(log)
            resumed = number % 2 == 1
            tasks.start_soon(listen, {0: Position.parse(random.choice(known))} if resumed else None)
        await record(log, 100)
        everything = await positions(log)
        ends = everything[-1:]
        await until(lambda: all(mine[-1:] == ends for _, mine in received), "the listeners")
        tasks.cancel_scope.cancel()

    assert len(received) == 30
    for start, mine in received:
        assert mine == [each for each in everything if Position.parse(each) > start]


async def test_the_rooms_outlive_the_read_model(hub: Hub, log: Log, folder: Path) -> None:
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), None)
        await record(log, 100)
        received = await receive(subscriber, 100)

        await rebuild(log, Generations(folder))
        await record(log, 100)
        received += await receive(subscriber, 100)

        assert received == await positions(log)


class TestPatient:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(after_timeout_s=10 * DEADLINE_S)

    async def test_the_hub_does_not_wait_for_a_position_beyond_the_log(
        self, hub: Hub, log: Log
    ) -> None:
        await record(log, 1)

        with anyio.fail_after(DEADLINE_S):
            assert await hub.reached({0: Position(0, 9999999999999, 0)}) is None

    async def test_the_hub_waits_until_the_read_model_has_a_position_of_the_log(
        self, deps: Dependencies, folder: Path, log: Log
    ) -> None:
        hub = Hub(deps.log, deps.reader, deps.limits)
        async with hub.running(), anyio.create_task_group() as tasks:
            async with projected(deps, folder):
                with anyio.fail_after(DEADLINE_S):
                    await hub.reached(None)
            await record(log, 1)
            newest = {0: await log.end(0)}
            found: list[Positions | None] = []

            async def reach() -> None:
                found.append(await hub.reached(newest))

            tasks.start_soon(reach)
            async with projected(deps, folder):
                await until(lambda: bool(found), "the read model has it")

            assert found == [newest]


async def test_a_reader_of_lost_events_reconnects_and_is_not_recovered(
    hub: Hub, log: Log, folder: Path
) -> None:
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), None)
        await record(log, 3)
        *_, kept, lost = await receive(subscriber, 3)
        await log.redis.xdel(log.keys.log(0), Position.parse(lost).entry_id)

        await rebuild(log, Generations(folder))

        with anyio.fail_after(DEADLINE_S):
            assert await subscriber.next_batch() == []
    await record(log, 1)
    assert await hub.reached({0: Position.parse(lost)}) is None
    assert await hub.reached({0: Position.parse(kept)}) == {0: Position.parse(kept)}
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), {0: Position.parse(kept)})
        assert await receive(subscriber, 1) == (await positions(log))[-1:]


async def test_readers_of_a_recovered_log_reconnect_and_are_not_recovered(
    hub: Hub, log: Log, redis: Client, prefix: str, folder: Path, tmp_path: Path
) -> None:
    """The read model has all that the log had, and continues; a page may show what others lost."""
    blobs, model = FolderBlobs(tmp_path / "blobs"), Generations(folder).current()
    assert model is not None
    await log_ownership.check(log, blobs, setting="PHOTOLOG_DATA")
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), None)
        await record(log, 3)
        before = await positions(log)
        assert await receive(subscriber, 3) == before
        await lose(redis, prefix)

        await recover(redis, prefix, blobs, [model])

        with anyio.fail_after(DEADLINE_S):
            assert await subscriber.next_batch() == []
    assert (await positions(log))[:3] == before
    for each in before:
        assert await hub.reached({0: Position.parse(each)}) is None
    await record(log, 1)
    later = await log.end(0)
    assert await hub.reached({0: later}) == {0: later}


@pytest.mark.parametrize("turns", range(4))
async def test_a_subscriber_that_ends_at_any_moment_of_its_wait_stops_waiting(
    hub: Hub, log: Log, turns: int
) -> None:
    with hub.subscribe("sse") as subscriber, anyio.fail_after(DEADLINE_S):
        subscriber.enter(client_room("alice", log), None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(subscriber.next_batch)
            for _ in range(turns):
                await checkpoint()
            subscriber.end()


async def test_a_lost_read_model_delays_the_rooms_until_it_is_back(
    deps: Dependencies, log: Log, folder: Path
) -> None:
    hub = Hub(deps.log, deps.reader, deps.limits)
    async with hub.running():
        async with projected(deps, folder):
            await until(lambda: bool(hub.head), "the hub")
        with hub.subscribe("sse") as subscriber:
            subscriber.enter(client_room("alice", log), None)
            (folder / "current").unlink()
            await record(log, 100)
            await until(lambda: hub.failures > 1, "the hub")

            async with projected(deps, folder):
                assert await receive(subscriber, 100) == await positions(log)


async def test_the_rooms_keep_working_without_redis(
    deps: Dependencies, log: Log, folder: Path, tmp_path: Path
) -> None:
    nowhere: Redis = connect(f"unix://{tmp_path / 'nowhere'}")
    lonely = Log(nowhere, log_id=log.log_id, partitions=log.partitions, keys=log.keys)
    hub = Hub(lonely, deps.reader, deps.limits)
    async with projected(deps, folder), hub.running():
        await until(lambda: bool(hub.head), "the hub")
        with hub.subscribe("sse") as subscriber:
            subscriber.enter(client_room("alice", log), None)

            await record(log, 10)

            assert await receive(subscriber, 10) == await positions(log)


async def test_no_room_can_be_entered_without_a_read_model(deps: Dependencies) -> None:
    hub = Hub(deps.log, deps.reader, deps.limits)
    async with hub.running():
        with pytest.raises(Unavailable):
            await hub.reached(None)


async def test_a_hub_that_stops_ends_its_subscribers(
    deps: Dependencies, hub: Hub, log: Log
) -> None:
    other = Hub(log, deps.reader, deps.limits)
    ends: list[int] = []

    async def listen(subscriber: Subscriber) -> None:
        ends.append(len(await subscriber.next_batch()))

    with other.subscribe("sse") as subscriber:
        async with anyio.create_task_group() as tasks, other.running():
            await other.reached(None)
            subscriber.enter(client_room("alice", log), None)
            tasks.start_soon(listen, subscriber)
        assert ends == [0]
        with pytest.raises(Unavailable):
            await other.reached(None)


async def test_a_subscriber_that_leaves_leaves_nothing_behind(hub: Hub, log: Log) -> None:
    with hub.subscribe("sse") as subscriber:
        subscriber.enter(client_room("alice", log), BEGIN)
        subscriber.enter(session_room("trip", "alice", log), BEGIN)
        assert hub.connections == {"sse": 1, "websocket": 0}

    assert hub.connections == {"sse": 0, "websocket": 0}
    await record(log, 3, session_id="trip")
    await until(lambda: hub.head[0] > Position.start(0), "the hub")
    assert subscriber.backlog == 0
