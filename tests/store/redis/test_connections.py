"""Only StoreErrors leave the store, whatever a server or the network does."""

import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from domain.pipeline.control import PauseStage
from domain.pipeline.control_events import Rate
from domain.pipeline.stages import ERASURE, ROOT
from store.breaker import Breaker
from store.clients.credentials import Credentials, Grant, held
from store.errors import StoreError, Unavailable
from store.log import identity
from store.log.control import ControlLog
from store.log.doorbell import Doorbell, ring
from store.log.entries import entries, length
from store.log.foreign import noted
from store.log.log import Log
from store.log.memory import memory
from store.log.position import Position
from store.queue import counters, inspection, liveness
from store.queue.cancel import cancel
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from store.queue.rates import Rates
from store.queue.recovery import refill
from store.redis.connection import Client, connect, translated
from store.redis.guarantee import guarantee
from tests.conftest import CONTEXT
from tests.ports import free_port
from tests.proxies import Proxy, proxied
from tests.replies import exchanging
from tests.servers import LONG, valkey
from tests.store.commands import upload

T = TypeVar("T")

# A warning raised as an error keeps uvloop from closing the connection that it is about, and
# its loop then waits for that connection for ever.
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")

DEADLINE_S = 30.0
TASKS = 40
ROUNDS = 10
FAULTS = 3_000 if LONG else 300
"""How many operations see garbled replies in one run."""

SILENCES = FAULTS // 30
"""How many replies are truncated and never continued: each costs a time-out."""

STAGES = (ROOT, ERASURE)


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The roles run on uvloop, which raises its own errors."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(scope="module")
def port(server_folder: Path) -> Generator[int]:
    port, folder = free_port(), server_folder / f"connections-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    with valkey(folder, "--port", str(port), "--bind", "127.0.0.1"):
        yield port


@pytest.fixture
async def proxy(port: int) -> AsyncGenerator[Proxy]:
    async with proxied(port) as proxy:
        yield proxy


def client_of(proxy: Proxy) -> Client:
    """A client whose breaker never opens."""
    breaker = Breaker("redis", failures=1_000_000)
    return connect(proxy.url.replace("http", "redis"), breaker)


@pytest.fixture
async def client(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Client]:
    """A client that does not wait long for the rest of a truncated reply."""
    monkeypatch.setattr("store.redis.connection.SOCKET_TIMEOUT_S", 0.2)
    client = client_of(proxy)
    yield client
    await client.aclose()


async def piped(client: Client) -> Any:
    return await client.in_a_row(("PING",), ("XLEN", "x"))


async def heard(client: Client) -> None:
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("x")
        await pubsub.get_message(timeout=0.01)


WAYS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "command": lambda client: client.xlen("x"),
    "blocking read": lambda client: client.xread({"x": "0"}, block=1_000),
    "pipeline": piped,
    "subscription": heard,
    "script": lambda client: client.lua("log/memory")(keys=["x"]),
}


@pytest.mark.parametrize("delay_s", [0.0, 0.01])
async def test_closing_a_client_ends_the_tasks_that_use_it_with_a_store_error(
    proxy: Proxy, delay_s: float
) -> None:
    proxy.delay_s = delay_s

    for number in range(ROUNDS):
        client = client_of(proxy)
        refused: list[str] = []

        async def use(way: str, client: Client = client, refused: list[str] = refused) -> None:
            while True:
                try:
                    with translated():
                        await WAYS[way](client)
                except Unavailable as error:
                    refused.append(str(error))
                    return

        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                for each in range(TASKS):
                    tasks.start_soon(use, [*WAYS][each % len(WAYS)])
                await anyio.sleep(0.003 * number)
                await client.aclose()
                await client.aclose()

        assert len(refused) == TASKS


async def test_closing_a_client_does_not_wait_for_a_server_that_is_silent(proxy: Proxy) -> None:
    client = client_of(proxy)
    await client.xlen("x")
    proxy.delay_s = DEADLINE_S

    async def ask() -> None:
        with pytest.raises(Unavailable), translated():
            await client.xlen("x")

    with anyio.fail_after(DEADLINE_S / 10):
        async with anyio.create_task_group() as tasks:
            for _ in range(TASKS):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()


async def test_a_command_that_the_server_does_not_take_ends_in_time(
    proxy: Proxy, client: Client
) -> None:
    await client.xlen("x")
    proxy.delay_s = DEADLINE_S

    with anyio.fail_after(DEADLINE_S / 2), pytest.raises(Unavailable), translated():
        await client.set("large", bytes(64 << 20))


def spoiling(seed: int) -> Callable[[bytes], bytes | None]:
    """Drops and truncates replies, and replaces them with bytes that are not the protocol."""
    chance = random.Random(seed)
    silent = False
    silences = SILENCES

    def spoil(data: bytes) -> bytes | None:
        nonlocal silent, silences
        if silent:  # the rest of a truncated reply never comes, then the connection ends
            silent = False
            return None
        at = chance.randrange(len(data))
        match chance.randrange(8):
            case 0:
                return None
            case 1 if silences:
                silent = True
                silences -= 1
                return data[:at] or None
            case 2:  # no valid reply begins with this
                return bytes([chance.randrange(0x80, 0x100)]) + data[1:]
            case 3:
                return bytes([chance.randrange(0x80, 0x100)]) + chance.randbytes(at)
            case 4:
                return data + bytes([chance.randrange(0x80, 0x100)])
            case _:
                return data

    return spoil


def _uses(log: Log) -> list[Callable[[], Awaitable[object]]]:
    lanes, dispatch = Lanes(log, "worker", STAGES), Dispatch(log, "worker")
    controls, rates, bell = ControlLog(log), Rates(log), Doorbell(log)

    async def write() -> None:
        await log.execute(upload(), client_id="alice", context=CONTEXT, patience_s=0)

    async def work() -> None:
        await lanes.prepare(0)
        claimed = await lanes.claim(0, 2)
        await lanes.refresh([each.claim for each in claimed])
        await lanes.recall(0)
        await lanes.abandoned(0, idle_ms=0, dead=None)
        await lanes.release([each.claim for each in claimed])

    async def dispatched() -> None:
        await dispatch.prepare(0)
        read = await dispatch.read(0, count=10, block_ms=10)
        await dispatch.commit([(each.position, ()) for each in read])
        await dispatch.abandoned(0, idle_ms=0, dead=None)

    async def signed_in() -> None:
        sessions = Credentials(log, "session", 2)
        grant = Grant(client_id="alice", role="client", issued=0.0, expires=2e9)
        place = held(await sessions.create(grant, 60), log)
        assert place is not None
        await sessions.find(place)
        await sessions.missing([place])
        await sessions.take(place)

    async def keyed() -> None:
        for _ in range(2):
            await log.execute(
                upload("same"),
                client_id="alice",
                context=CONTEXT,
                idempotency_key="one",
                patience_s=0,
            )
        command = PauseStage(stage="metadata")
        await ControlLog(log).execute(command, CONTEXT, patience_s=0)

    async def read_all() -> None:
        async for _ in entries(log, await log.end(0)):
            pass

    async def scan() -> None:
        async for _ in log.scan(0):
            pass

    async def listen() -> None:
        await ring(log)
        await bell.wait(0.01)

    return [
        write,
        work,
        dispatched,
        scan,
        listen,
        lambda: log.read(Position.start(0), block_ms=10),
        lambda: log.usage("alice"),
        lambda: log.confirm(0),
        controls.load,
        lambda: rates.take(ROOT, Rate(max=10)),
        lambda: lanes.promote(0),
        lambda: refill(log, 0, STAGES),
        lambda: liveness.report(log, "worker"),
        lambda: liveness.workers(log, 1_000),
        lambda: liveness.report_failing(log, "worker", ["claims"]),
        lambda: liveness.failing(log, 1_000),
        lambda: liveness.clock_ahead_ms(log),
        lambda: memory(log, 0),
        lambda: inspection.look(log, STAGES),
        lambda: counters.passed(log, STAGES),
        lambda: counters.lengths(log, STAGES),
        lambda: noted(log),
        lambda: length(log, 0),
        lambda: liveness.log_size(log, 0),
        lambda: liveness.report_unconfined(log, ["seccomp"]),
        lambda: liveness.unconfined(log, 1_000),
        lambda: log.holder_of("ab" * 32, "alice"),
        lambda: log.has_command("alice", "one"),
        log.now,
        log.confirm,
        lambda: log.end(0),
        lambda: lanes.wait(0, block_ms=10),
        lambda: lanes.forget_idle(0, idle_ms=1_000),
        lambda: lanes.leave(0),
        lambda: dispatch.recall(0),
        lambda: dispatch.forget_idle(0, idle_ms=1_000),
        lambda: rates.give_back(ROOT, Rate(max=10)),
        lambda: cancel(log, [ROOT], reason="a test", context=CONTEXT, most=1),
        lambda: guarantee(log.redis, log.keys, replicas=None, timeout_s=1),
        lambda: identity.create(log.redis, log.keys, 1),
        lambda: identity.find(log.redis, log.keys),
        signed_in,
        keyed,
        read_all,
    ]


async def answered(use: Callable[[], Awaitable[T]]) -> T:
    """Repeat until the server answers: on a busy machine it may miss the client's short timeout."""
    while True:
        try:
            return await use()
        except Unavailable:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("chosen", [1, None])
@pytest.mark.parametrize("kind", [spoiling, exchanging])
async def test_spoiled_replies_are_store_errors_and_the_client_recovers(
    proxy: Proxy,
    client: Client,
    prefix: str,
    kind: Callable[[int], Callable[[bytes], bytes | None]],
    chosen: int | None,
) -> None:
    seed = random.SystemRandom().randrange(1 << 32) if chosen is None else chosen
    print(f"seed {seed}")
    with anyio.fail_after(2 * DEADLINE_S):
        log = await answered(lambda: Log.open(client, prefix=prefix))
        for command in [upload() for _ in range(5)]:
            add = partial(log.execute, command, client_id="alice", context=CONTEXT)
            await answered(add)
        uses, chance, failures = _uses(log), random.Random(seed), 0
        proxy.spoil = kind(seed)

        for _ in range(FAULTS):
            try:
                await chance.choice(uses)()
            except StoreError:
                failures += 1
        assert failures > FAULTS / 10

        proxy.spoil = None
        for use in uses:
            await answered(use)
