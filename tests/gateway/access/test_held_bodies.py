"""A request whose access ends before its body is complete neither changes nor reads anything."""

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from gateway.http.auth import LEEWAY_S, Role
from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.wire import Wire, connected

Case = tuple[str, str, Any]

OF_CLIENT: tuple[Case, ...] = (
    ("PUT", "/api/sessions/held", {}),
    ("POST", "/api/webhooks", {"url": "https://example.com/"}),
    ("POST", "/api/photos/check", {"sha256": ["0" * 64]}),
    ("POST", "/api/photos/retry", {"sessionId": "held"}),
)
OF_OPERATOR: tuple[Case, ...] = (
    ("POST", "/api/keys", {"name": "key", "scopes": ["ops.write"]}),
    ("PUT", "/api/ops/clients/bob/quota", {"photos": 7}),
    ("POST", "/api/ops/queues/placeholder/pause", {"reason": "held"}),
    ("POST", "/api/ops/tokens/revoke", {"clientId": "zed"}),
    ("POST", "/api/ops/dead-letters/retry", {"all": True}),
    ("POST", "/api/ops/backfill", {"stage": "placeholder", "run": "r"}),
    ("POST", "/api/ops/projections/rebuild", {"reason": "held"}),
)


SHORT_S = 4.0
"""How long a token is accepted that expires during a test."""


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=0.2)


class Lent(NamedTuple):
    """Headers that give access, and the function that ends it."""

    headers: tuple[str, ...]
    end: Callable[[], Awaitable[None]]


async def revocable(gateway: Gateway, role: Role) -> Lent:
    token = gateway.deps.tokens.issue("dave", role, 600, time.time())

    async def end() -> None:
        answer = await gateway.client.post(
            "/api/ops/tokens/revoke",
            json={"tokenId": gateway.deps.tokens.verify(token).token_id},
            headers=gateway.bearer("operator"),
        )
        assert answer.status_code == 200

    return Lent((f"Authorization: Bearer {token}",), end)


async def expiring(gateway: Gateway, role: Role) -> Lent:
    token = gateway.deps.tokens.issue("dave", role, SHORT_S - LEEWAY_S, time.time())
    bearer = {"Authorization": f"Bearer {token}"}

    async def end() -> None:
        while (await gateway.client.get("/api/login", headers=bearer)).status_code == 200:
            pass

    return Lent((f"Authorization: Bearer {token}",), end)


async def signed_in(gateway: Gateway, role: Role) -> Lent:
    token = gateway.deps.tokens.issue("dave", role, 600, time.time())
    bearer, origin = {"Authorization": f"Bearer {token}"}, {"Origin": gateway.base_url}
    answer = await gateway.client.post("/api/login", headers=bearer | origin)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    gateway.client.cookies.clear()

    async def end() -> None:
        headers = {"Cookie": cookie} | origin
        assert (await gateway.client.delete("/api/login", headers=headers)).status_code == 204

    return Lent((f"Cookie: {cookie}", f"Origin: {gateway.base_url}"), end)


LENDERS = pytest.mark.parametrize("lend", [revocable, expiring, signed_in])


async def hold(gateway: Gateway, wire: Wire, method: str, path: str, *headers: str) -> None:
    """Send the head of a request, and wait until the gateway asks for its body."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {gateway.host}:{gateway.port}",
        "Expect: 100-continue",
        "Connection: close",
        *headers,
    ]
    await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n")
    assert await wire.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"


@LENDERS
async def test_no_route_with_a_body_answers_an_access_that_has_ended(
    gateway: Gateway, lend: Callable[[Gateway, Role], Awaitable[Lent]]
) -> None:
    answers: list[tuple[bytes, Case]] = []
    async with AsyncExitStack() as stack:
        sent: list[tuple[Wire, bytes, Case]] = []
        ends: list[Callable[[], Awaitable[None]]] = []
        for role, cases in ((Role.CLIENT, OF_CLIENT), (Role.OPERATOR, OF_OPERATOR)):
            headers, end = await lend(gateway, role)
            ends.append(end)
            for case in cases:
                method, path, body = case
                data = json.dumps(body).encode()
                wire = await stack.enter_async_context(connected(gateway))
                length = f"Content-Length: {len(data)}"
                await hold(
                    gateway, wire, method, path, *headers, length, "Content-Type: application/json"
                )
                await wire.send(data[:-1])
                sent.append((wire, data[-1:], case))
        for end in ends:
            await end()
        before = await gateway.log.end(0)
        for wire, last, case in sent:
            await wire.send(last)
            answers.append((await wire.rest(), case))

    for answer, case in answers:
        assert answer.startswith(b"HTTP/1.1 401 "), (case, answer)
    assert await gateway.log.end(0) == before


@LENDERS
@pytest.mark.parametrize("resumable", [False, True], ids=["form", "resumable"])
async def test_an_upload_is_not_recorded_for_an_access_that_has_ended(
    gateway: Gateway, lend: Callable[[Gateway, Role], Awaitable[Lent]], *, resumable: bool
) -> None:
    data = picture()
    if resumable:
        kind = ("Upload-Complete: ?1", "Content-Type: image/png")
    else:
        kind = ("Content-Type: multipart/form-data; boundary=x",)
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        data = part + data + b"\r\n--x--\r\n"
    headers, end = await lend(gateway, Role.CLIENT)
    async with connected(gateway) as wire:
        length = f"Content-Length: {len(data)}"
        await hold(gateway, wire, "POST", "/api/photos/upload", *headers, *kind, length)
        await wire.send(data[:-1])
        await end()
        before = await gateway.log.end(0)
        await wire.send(data[-1:])
        answer = await wire.rest()

    assert b"HTTP/1.1 401 " in answer
    assert await gateway.log.end(0) == before
