"""Fixtures for a running gateway: uvicorn on its own socket, a real log, blobs and projector."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import msgspec
import pytest
import uvicorn
from PIL import Image

from gateway.access.security_log import SecurityLog
from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.http.auth import SCOPES, Role, Tokens
from gateway.http.connections import Connections
from gateway.http.limits import Limits
from gateway.http.rate_limits import RateLimits
from gateway.http.server import configuration
from gateway.webhooks.secrets import WebhookSecrets
from ops.telemetry.telemetry import Telemetry
from projections.other_versions import reader_of
from projections.projector import Projector
from store.blobs.folder import FolderBlobs
from store.blobs.partials import Partials
from store.log.log import Log
from store.redis.connection import connect
from store.sqlite.generations import Generations
from tests.gateway.documented import checking

SECRET = b"a secret of the tests, long enough"
DEADLINE_S = 10.0
POLL_S = 0.005
TICK_S = 0.1
"""How often uvicorn updates its date header."""

HOST = "127.0.0.1"

ROLES = {
    "alice": Role.CLIENT,
    "bob": Role.CLIENT,
    "operator": Role.OPERATOR,
    "auditor": Role.AUDITOR,
}


class _Server(uvicorn.Server):
    """A server that leaves signals to pytest, and stops without uvicorn's pauses of 0.1 s."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def capture_signals(self) -> Any:
        return nullcontext()

    def stop(self) -> None:
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with anyio.move_on_after(TICK_S):
                await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections, then the tasks, then the lifespan, in uvicorn's order."""
        state = self.server_state
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in tuple(state.connections):
            connection.shutdown()
        with anyio.move_on_after(self.config.timeout_graceful_shutdown or DEADLINE_S):
            while state.connections or state.tasks:
                await asyncio.sleep(POLL_S)
            for server in self.servers:
                await server.wait_closed()
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """A running gateway. ``client`` sends alice's token by default, which has all scopes.

    ``blobs`` are in a folder, unless a test overrides them.
    """

    base_url: str
    host: str
    port: int
    deps: Dependencies
    log: Log
    blobs: FolderBlobs
    tokens: dict[str, str]
    client: httpx.AsyncClient
    connections: Connections
    security: SecurityLog

    def bearer(self, name: str) -> dict[str, str]:
        """Return the header that authenticates as ``name``."""
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def stored(self) -> list[str]:
        """Return every file under the root of the blobs, including drafts."""
        root = self.blobs.root
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    async def upload(
        self, data: bytes | None = None, *, name: str = "alice", **fields: str
    ) -> httpx.Response:
        """Upload ``data``, or a new picture, as ``name``."""
        return await self.client.post(
            "/api/photos/upload",
            files={"file": ("picture.png", data if data is not None else picture())},
            data=fields,
            headers=self.bearer(name),
        )

    async def get(
        self, path: str, *, name: str = "alice", after: str | None = None, **headers: str
    ) -> httpx.Response:
        return await self.client.get(
            path,
            params={"after": after} if after else None,
            headers={**self.bearer(name), **headers},
        )


_pictures = iter(range(1, 1 << 24))


def picture(size: tuple[int, int] = (8, 8)) -> bytes:
    """Return a PNG that differs from that of every other call."""
    number = next(_pictures)
    colour = (number >> 16, (number >> 8) & 255, number & 255)
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail after a deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"timed out waiting for {what}"
        await asyncio.sleep(POLL_S)


@pytest.fixture(scope="module")
def module_limits() -> Limits:
    """Limits of all gateways of a file: override this fixture for others."""
    return Limits(append_patience_s=1.0, check_timeout_s=DEADLINE_S, linger_s=2.0)


@pytest.fixture
def limits(module_limits: Limits) -> Limits:
    """Limits of a test's own gateway: override this fixture for others."""
    return module_limits


@pytest.fixture
def rates() -> RateLimits:
    """Rate limits of the gateway: override this fixture for others."""
    return RateLimits()


@pytest.fixture
async def projecting() -> bool:
    """Whether a projector runs: override this fixture."""
    return True


@asynccontextmanager
async def depending(
    log: Log, folder: Path, limits: Limits, rates: RateLimits
) -> AsyncGenerator[Dependencies]:
    """Yield dependencies with telemetry, as ``ops.runtime.wiring`` builds them."""
    reader = reader_of(Generations(folder / "read-model"))
    telemetry = Telemetry("gateway")
    log.observe = telemetry.appended
    yield Dependencies(
        log=log,
        blobs=FolderBlobs(folder / "blobs", observe=telemetry.operated),
        partials=Partials(folder / "uploads"),
        reader=reader,
        tokens=Tokens(SECRET),
        webhook_secrets=WebhookSecrets(SECRET),
        limits=limits,
        rates=rates,
        observe=telemetry.answered,
        limited=telemetry.limited,
        exposition=telemetry.gateway_exposition,
        background=telemetry.background,
    )
    reader.close()


@pytest.fixture
async def deps(
    log: Log, tmp_path: Path, limits: Limits, rates: RateLimits
) -> AsyncGenerator[Dependencies]:
    async with depending(log, tmp_path, limits, rates) as built:
        yield built


@asynccontextmanager
async def serving(
    app: Any,
    limits: Limits,
    *,
    mapped: bool = False,
    send_buffer_bytes: int | None = None,
    port: int = 0,
) -> AsyncGenerator[str]:
    """Serve ``app`` on a free local port, or on this one; yield its base URL.

    With ``mapped``, peers have IPv4 addresses mapped to IPv6, as on a dual-stack socket. With
    ``send_buffer_bytes``, the system buffers no more for a reader that does not read.
    """
    with socket.socket(socket.AF_INET6 if mapped else socket.AF_INET) as listener:
        if send_buffer_bytes is not None:  # connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        listener.bind((f"::ffff:{HOST}" if mapped else HOST, port))
        server = _Server(configuration(app, limits))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started or task.done(), "the server")
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.stop()
            with anyio.fail_after(DEADLINE_S):
                await task


@asynccontextmanager
async def served(
    deps: Dependencies, send_buffer_bytes: int | None = None, port: int = 0
) -> AsyncGenerator[Gateway]:
    """Serve a gateway over ``deps``; a problem missing from its OpenAPI document fails the test."""
    app = create_app(deps)
    now = time.time()
    tokens = {
        name: deps.tokens.issue(name, role, 3600, now, SCOPES if name == "alice" else ())
        for name, role in ROLES.items()
    }
    async with (
        serving(app, deps.limits, send_buffer_bytes=send_buffer_bytes, port=port) as base_url,
        httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {tokens['alice']}"},
            timeout=30,
            trust_env=False,
            verify=False,  # nothing here uses TLS, and loading certificates takes 20 ms
            event_hooks={"response": [checking(app)]},
        ) as client,
    ):
        yield Gateway(
            base_url=base_url,
            host=HOST,
            port=int(base_url.rpartition(":")[2]),
            deps=deps,
            log=deps.log,
            blobs=cast("FolderBlobs", deps.blobs),
            tokens=tokens,
            client=client,
            connections=app.connections,
            security=app.security,
        )


@asynccontextmanager
async def projected(deps: Dependencies, folder: Path) -> AsyncGenerator[None]:
    """Run a projector beside the gateway."""
    generations = Generations(folder)
    async with anyio.create_task_group() as group:
        group.start_soon(Projector(deps.log, generations).run)
        await until(lambda: generations.current() is not None, "the read model")
        yield
        group.cancel_scope.cancel()


@pytest.fixture
def send_buffer_bytes() -> int | None:
    """The size of the system's buffer for each connection: override this fixture."""
    return None


@pytest.fixture
async def gateway(
    deps: Dependencies, tmp_path: Path, send_buffer_bytes: int | None, *, projecting: bool
) -> AsyncGenerator[Gateway]:
    """A gateway with a projector, or without one if ``projecting`` is false."""
    # The projector first: a hub that finds no read model looks again half a second later.
    projector = projected(deps, tmp_path / "read-model") if projecting else nullcontext()
    async with projector, served(deps, send_buffer_bytes) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_gateway(
    valkey_url: str, tmp_path_factory: pytest.TempPathFactory, module_limits: Limits
) -> AsyncGenerator[Gateway]:
    """A gateway for all tests of a file that leave it as they found it: it starts in 0.2 s."""
    folder = tmp_path_factory.mktemp("gateway")
    client = connect(valkey_url)
    log = await Log.open(client, prefix=f"test-{uuid.uuid4().hex[:12]}")
    async with (
        depending(log, folder, module_limits, RateLimits()) as deps,
        projected(deps, folder / "read-model"),
        served(deps) as running,
    ):
        yield running
    await client.aclose()
