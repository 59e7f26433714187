"""Tickets open one stream where a browser can send no header."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from tests.gateway.access.test_access import WITHIN_S, revoke, two
from tests.gateway.access.test_api_key_ends import end
from tests.gateway.access.test_api_keys import key, until_known
from tests.gateway.conftest import DEADLINE_S, Gateway

NOBODY = {"Authorization": ""}


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, stream_tickets_per_client=3)


@pytest.fixture
async def gateways(deps: Dependencies, tmp_path: Path) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with two(deps, tmp_path) as pair:
        yield pair


async def ticket(gateway: Gateway, name: str = "alice", **headers: str) -> str:
    answer = await gateway.client.post(
        "/api/events/tickets", headers={**gateway.bearer(name), **headers}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    left = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 30
    return str(made["ticket"])


@asynccontextmanager
async def stream(gateway: Gateway, query: str) -> AsyncGenerator[httpx.Response]:
    path = f"/api/events?{query}"
    async with gateway.client.stream("GET", path, headers=NOBODY) as answer:
        yield answer


async def opened(gateway: Gateway, query: str) -> tuple[int, str]:
    """Return the status of the stream, and the code of its problem."""
    async with stream(gateway, query) as answer:
        if answer.status_code == 200:
            return 200, ""
        await answer.aread()
        return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def socket(gateway: Gateway, query: str) -> AsyncGenerator[ClientConnection]:
    async with connect(f"ws://{gateway.host}:{gateway.port}/ws?{query}", proxy=None) as talk:
        yield talk


async def closed(talk: ClientConnection) -> tuple[int, str]:
    with anyio.fail_after(DEADLINE_S):
        await talk.wait_closed()
    assert talk.close_code is not None
    return talk.close_code, talk.close_reason or ""


async def test_a_ticket_opens_one_stream_or_socket(gateway: Gateway) -> None:
    first, second = await ticket(gateway), await ticket(gateway)

    assert await opened(gateway, f"room=client&ticket={first}") == (200, "")
    async with socket(gateway, f"ticket={second}") as talk:
        await talk.send('{"type":"identify"}')
        assert '"clientId":"alice"' in str(await talk.recv())
    for used in (first, second):
        refused = await opened(gateway, f"room=client&ticket={used}")
        assert refused == (401, "invalid-stream-ticket")
        async with socket(gateway, f"ticket={used}") as talk:
            assert await closed(talk) == (4401, "invalid-stream-ticket")


async def test_of_many_uses_at_two_gateways_one_succeeds(
    gateways: tuple[Gateway, Gateway],
) -> None:
    made = await ticket(gateways[0])

    found = await asyncio.gather(
        *(opened(gateway, f"room=client&ticket={made}") for gateway in gateways for _ in range(5))
    )

    assert sorted(status for status, _ in found) == [200] + [401] * 9


async def test_a_ticket_has_the_rights_of_its_caller(gateway: Gateway) -> None:
    bob = await ticket(gateway, "bob")
    assert (await opened(gateway, f"room=client:alice&ticket={bob}"))[0] == 403
    operator = await ticket(gateway, "operator")
    assert await opened(gateway, f"room=global&ticket={operator}") == (200, "")


@pytest.mark.parametrize("path", ["/api/photos", "/api/me", "/api/login", "/api/ops/queues"])
async def test_a_ticket_opens_nothing_else(gateway: Gateway, path: str) -> None:
    made = await ticket(gateway, "operator")

    answer = await gateway.client.get(f"{path}?ticket={made}", headers=NOBODY)

    assert (answer.status_code, answer.json()["code"]) == (401, "missing-token")
    post = await gateway.client.post(f"/api/events/tickets?ticket={made}", headers=NOBODY)
    assert (post.status_code, post.json()["code"]) == (401, "missing-token")
    assert await opened(gateway, f"room=client&ticket={made}") == (200, "")


async def test_tokens_and_keys_in_the_address_are_rejected(gateway: Gateway) -> None:
    await key(gateway, scopes=["events.read"])
    for name in ("alice", "key"):
        token = gateway.tokens[name]
        for query, code in (
            (f"room=client&ticket={token}", "invalid-stream-ticket"),
            (f"room=client&token={token}", "missing-token"),
            (f"room=client&access_token={token}", "missing-token"),
        ):
            assert await opened(gateway, query) == (401, code)
            async with socket(gateway, query) as talk:
                assert await closed(talk) == (4401, code)


@pytest.mark.parametrize("wrong", ["", "0-", "0-" + "a" * 32, "9999-" + "a" * 32, "%00", "x" * 999])
async def test_a_wrong_ticket_is_rejected(shared_gateway: Gateway, wrong: str) -> None:
    assert await opened(shared_gateway, f"room=client&ticket={wrong}") == (
        401,
        "invalid-stream-ticket",
    )


async def test_two_tickets_are_rejected(shared_gateway: Gateway) -> None:
    made = await ticket(shared_gateway)

    twice = f"room=client&ticket={made}&ticket={made}"

    assert await opened(shared_gateway, twice) == (401, "invalid-stream-ticket")


async def test_a_client_has_a_bounded_number_of_unused_tickets(gateway: Gateway) -> None:
    oldest, *newer = [await ticket(gateway) for _ in range(4)]

    assert (await opened(gateway, f"room=client&ticket={oldest}"))[0] == 401
    for each in newer:
        assert (await opened(gateway, f"room=client&ticket={each}"))[0] == 200


async def test_a_key_without_the_scope_gets_no_ticket(gateway: Gateway) -> None:
    await key(gateway, scopes=["photos.read"])

    answer = await gateway.client.post("/api/events/tickets", headers=gateway.bearer("key"))

    assert (answer.status_code, answer.json()["code"]) == (403, "scope-required")


@pytest.mark.parametrize("how", ["token", "key", "session"])
async def test_a_stream_of_a_ticket_ends_with_what_it_was_got_with(
    gateways: tuple[Gateway, Gateway], how: str
) -> None:
    here, there = gateways
    made = await key(here, scopes=["events.read"])
    there.tokens["key"] = made["key"]
    await until_known(there)
    login = await here.client.post("/api/login")
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Origin": here.base_url}
    headers = {**cookie, "Authorization": ""} if how == "session" else {}
    name = "key" if how == "key" else "alice"
    open_, unused = [await ticket(here, name, **headers) for _ in range(2)]

    async def finish() -> None:
        match how:
            case "key":
                await end(here, made["id"], "key")
            case "token":
                await revoke(here, clientId="alice")
            case _:
                done = await here.client.delete(
                    "/api/login", headers={**cookie, "Authorization": ""}
                )
                assert done.status_code == 204

    async with socket(there, f"ticket={open_}") as talk:
        await talk.send('{"type":"identify"}')
        assert "identified" in str(await talk.recv())
        with anyio.fail_after(WITHIN_S):
            await finish()
            code = await closed(talk)

    expected = "expired-session" if how == "session" else "revoked-token"
    assert code == (4401, expected)
    assert await opened(there, f"room=client&ticket={unused}") == (401, expected)


async def test_no_log_has_a_ticket_or_a_token_from_an_address(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "photolog"):
        caplog.set_level(logging.INFO, name)
    sse, ws = await ticket(gateway), await ticket(gateway)
    token = gateway.tokens["bob"]

    await opened(gateway, f"room=client&ticket={sse}")
    await opened(gateway, f"room=client&ticket={sse}")
    async with socket(gateway, f"ticket={ws}"):
        pass
    async with socket(gateway, f"token={token}") as talk:
        await closed(talk)

    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert any("/ws" in line for line in ours), "the server logs addresses"
    for secret in (sse, ws, token):
        assert not any(secret in line for line in ours)
