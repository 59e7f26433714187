"""The breaker for Redis: what it counts, what it rejects, and how it probes."""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import exceptions

from domain.photo.commands import UploadPhoto
from store.breaker import FAILURES, Breaker
from store.errors import CircuitOpen, Full, Unavailable, Unexpected
from store.log.doorbell import Doorbell, ring
from store.log.log import Log
from store.redis.connection import SOCKET_TIMEOUT_S, Client, connect, translated
from tests.clocks import Clock
from tests.conftest import CONTEXT
from tests.servers import process_of, url_in, valkey
from tests.store.commands import upload

DEADLINE_S = 10.0
OPEN_S = 16.0
FIRST_S = 1.0

Ask = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(own_folder: Path, clock: Clock) -> AsyncGenerator[Client]:
    """A client whose server is not running and whose breaker's clock stands still."""
    client = connect(url_in(own_folder), Breaker("redis", open_s=OPEN_S, clock=clock))
    yield client
    await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.005)


async def piped(client: Client) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.xlen("x")
    await pipeline.execute()


async def subscribed(client: Client) -> None:
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("x")


async def read(client: Client, block_ms: int) -> None:
    await client.xread({"x": "0"}, block=block_ms)


async def blocked(client: Client, count: int) -> None:
    """Wait until this many reads block at the server."""
    untyped: Any = client
    with anyio.fail_after(DEADLINE_S):
        while (await untyped.info("clients"))["blocked_clients"] < count:
            await anyio.sleep(0.005)


@contextmanager
def frozen(folder: Path) -> Generator[None]:
    """Let the server accept connections and commands, and answer none."""
    server = process_of(folder)
    server.send_signal(signal.SIGSTOP)
    yield
    server.send_signal(signal.SIGCONT)


WAYS: dict[str, Ask] = {
    "command": lambda client: client.xlen("x"),
    "pipeline": piped,
    "subscription": subscribed,
    "script": lambda client: client.register_script("return 1")(),
}


async def fails(client: Client, ask: Ask, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable) as error, translated():
            await ask(client)
        assert not isinstance(error.value, CircuitOpen)


@pytest.mark.parametrize("way", WAYS)
async def test_an_unreachable_server_is_not_called_until_the_probe_is_due(
    client: Client, clock: Clock, own_folder: Path, way: str
) -> None:
    await fails(client, WAYS[way], FAILURES)
    assert client.breaker.state == "open"

    with valkey(own_folder):
        for ask in WAYS.values():
            with pytest.raises(CircuitOpen), translated():
                await ask(client)
        clock.now_s = FIRST_S
        await WAYS[way](client)

    assert client.breaker.state == "closed"


async def test_a_failed_probe_opens_the_breaker_for_longer(client: Client, clock: Clock) -> None:
    await fails(client, WAYS["command"], FAILURES)
    clock.now_s = FIRST_S

    await fails(client, WAYS["command"])

    assert (client.breaker.state, client.breaker.retry_after_s) == ("open", 2 * FIRST_S)


async def test_a_server_lost_in_the_middle_of_a_blocking_read_counts_once(
    client: Client, own_folder: Path
) -> None:
    async def lose() -> None:
        with pytest.raises(Unavailable), translated():
            await read(client, 5_000)

    async with anyio.create_task_group() as tasks:
        with valkey(own_folder):
            for _ in range(FAILURES - 1):
                tasks.start_soon(lose)
            await blocked(client, FAILURES - 1)

    assert client.breaker.state == "closed"
    await fails(client, WAYS["command"])
    assert client.breaker.state == "open"


async def test_cancelled_reads_do_not_count(client: Client, own_folder: Path) -> None:
    with valkey(own_folder):
        for _ in range(2 * FAILURES):
            with anyio.move_on_after(0.02):
                await read(client, 2_000)

        assert client.breaker.state == "closed"
        assert await client.xlen("x") == 0


async def test_a_blocking_read_is_never_the_probe(
    client: Client, clock: Clock, own_folder: Path
) -> None:
    await fails(client, WAYS["command"], FAILURES)
    clock.now_s = FIRST_S

    with valkey(own_folder):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, client, 60_000)
            await until(lambda: client.breaker.state == "closed")
            assert await client.xlen("x") == 0
            tasks.cancel_scope.cancel()


async def test_a_probe_without_an_answer_times_out(
    client: Client, clock: Clock, own_folder: Path
) -> None:
    with valkey(own_folder):
        for _ in range(FAILURES):
            client.breaker.note(well=False)
        clock.now_s = FIRST_S
        with frozen(own_folder), anyio.fail_after(SOCKET_TIMEOUT_S / 2):
            await fails(client, WAYS["command"])

        assert client.breaker.state == "open"


async def test_a_probe_that_is_cancelled_leaves_its_place(
    client: Client, clock: Clock, own_folder: Path
) -> None:
    with valkey(own_folder):
        for _ in range(FAILURES):
            client.breaker.note(well=False)
        clock.now_s = FIRST_S
        with frozen(own_folder), anyio.move_on_after(0.05) as scope:
            await client.check()
        assert scope.cancelled_caught
        assert client.breaker.state == "half-open"

        await client.check()

        assert client.breaker.state == "closed"


async def test_an_error_reply_to_the_probe_closes_the_breaker(
    client: Client, clock: Clock, own_folder: Path
) -> None:
    with valkey(own_folder):
        untyped: Any = client
        await untyped.execute_command("ACL", "SETUSER", "default", "-ping")
        for _ in range(FAILURES):
            client.breaker.note(well=False)
        clock.now_s = FIRST_S

        assert await client.xlen("x") == 0

    assert client.breaker.state == "closed"


async def test_an_error_reply_counts_as_an_answer(redis: Client, prefix: str) -> None:
    await redis.set(prefix, "no number")
    for _ in range(2 * FAILURES):
        with pytest.raises(Unexpected, match="not an integer"), translated():
            await redis.incr(prefix)

    assert redis.breaker.state == "closed"


async def test_a_full_server_counts_as_available(client: Client, own_folder: Path) -> None:
    with valkey(own_folder):
        untyped: Any = client
        await untyped.config_set("maxmemory", "1")
        for _ in range(2 * FAILURES):
            with pytest.raises(Full), translated():
                await client.xadd("x", {"a": "b"})

    assert client.breaker.state == "closed"


async def test_running_out_of_own_connections_does_not_count(
    client: Client, own_folder: Path
) -> None:
    refused: list[str] = []

    async def hold() -> None:
        try:
            await read(client, 1_000)
        except exceptions.MaxConnectionsError as error:
            refused.append(str(error))

    with valkey(own_folder):
        async with anyio.create_task_group() as tasks:
            for _ in range(200 + 2 * FAILURES):
                tasks.start_soon(hold)

    assert len(refused) >= 2 * FAILURES
    assert client.breaker.state == "closed"


async def test_a_client_that_was_never_used_closes(client: Client) -> None:
    await client.aclose()

    assert client.breaker.state == "closed"


async def test_the_doorbell_works_again_after_an_outage(
    client: Client, clock: Clock, own_folder: Path, prefix: str
) -> None:
    with valkey(own_folder):
        log = await Log.open(client, prefix=prefix)
        bell = Doorbell(log)
        assert not await bell.wait(0)
    for _ in range(FAILURES + 1):
        with pytest.raises(Unavailable):
            await bell.wait(0.1)
    assert client.breaker.state == "open"

    with valkey(own_folder):
        clock.now_s = FIRST_S
        assert not await bell.wait(0)
        await ring(log)
        assert await bell.wait(5)
        await bell.close()


async def test_commands_in_progress_survive_a_restart_that_opens_the_breaker(
    own_folder: Path, prefix: str
) -> None:
    client = connect(url_in(own_folder))
    with valkey(own_folder):
        log = await Log.open(client, prefix=prefix)
    commands = [upload() for _ in range(20)]

    async def execute(command: UploadPhoto) -> None:
        await log.execute(command, client_id="alice", context=CONTEXT, patience_s=3.0)

    with ExitStack() as after:
        async with anyio.create_task_group() as tasks:
            for command in commands:
                tasks.start_soon(execute, command)
            await until(lambda: client.breaker.state == "open")
            after.enter_context(valkey(own_folder))

        recorded = [each.event.data.photo_id async for each in log.scan(0)]
    assert sorted(recorded) == sorted(command.photo_id for command in commands)
    assert client.breaker.state == "closed"
    await client.aclose()
