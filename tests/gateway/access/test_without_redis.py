"""Tokens, sessions and revocations while Redis is unavailable."""

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from gateway.access.access import SESSION_KEPT_S
from gateway.access.cookies import COOKIE
from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from store.log.log import Log
from store.redis.connection import connect
from tests.gateway.access.test_access import revoke
from tests.gateway.conftest import DEADLINE_S, Gateway, served
from tests.gateway.listeners import talking
from tests.servers import url_in, valkey


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=0.2, after_timeout_s=0.2)


@pytest.fixture
def server(own_folder: Path) -> Generator[ExitStack]:
    """Run Redis; closing the stack stops it, entering another ``valkey`` restarts it."""
    with ExitStack() as server:
        server.enter_context(valkey(own_folder))
        yield server


@pytest.fixture
async def log(server: ExitStack, own_folder: Path, prefix: str) -> AsyncGenerator[Log]:
    assert server, "Redis runs"
    client = connect(url_in(own_folder))
    yield await Log.open(client, prefix=prefix)
    await client.aclose()


async def test_known_sessions_and_revocations_stay_in_effect(
    gateway: Gateway, server: ExitStack
) -> None:
    login = await gateway.client.post("/api/login")
    session = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Authorization": ""}
    stranger = {"Cookie": f"{COOKIE}=0-{'a' * 32}", "Authorization": ""}
    await revoke(gateway, clientId="bob")

    async def statuses() -> list[int]:
        asked = (gateway.bearer("alice"), session, gateway.bearer("bob"), stranger)
        answers = [await gateway.client.get("/api/photos", headers=each) for each in asked]
        return [answer.status_code for answer in answers]

    assert await statuses() == [200, 200, 401, 401]
    server.close()

    kept_until = time.monotonic() + 2 * SESSION_KEPT_S
    with anyio.fail_after(DEADLINE_S):
        while time.monotonic() < kept_until:
            assert (await statuses())[:3] == [200, 200, 401]
        while (await statuses())[3] != 503:
            await anyio.sleep(0.05)


async def test_a_gateway_that_never_read_the_revocations_lets_nobody_in(
    deps: Dependencies, server: ExitStack, own_folder: Path
) -> None:
    server.close()
    async with served(deps) as gateway:
        answer = await gateway.get("/api/login")
        assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
        async with talking(gateway) as talk:
            assert await talk.closed() == (1013, "log-unavailable")

        server.enter_context(valkey(own_folder))
        with anyio.fail_after(DEADLINE_S):
            while (await gateway.get("/api/login")).status_code != 200:
                await anyio.sleep(0.05)
