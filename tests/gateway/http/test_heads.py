"""Heads of requests: limited in size and time, and checked for syntax."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.wire import Wire, connected

LIMITS = Limits(max_header_bytes=10_000, max_headers=20, header_patience_s=5.0, linger_s=0.5)
GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def projecting() -> bool:
    return False


async def refused(wire: Wire) -> tuple[int, str]:
    """Return the status and code of a problem document, after which the connection is closed."""
    head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
    headers = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in headers
    assert b"connection: close" in headers
    assert b"x-content-type-options: nosniff" in headers
    problem: dict[str, Any] = json.loads(body)
    assert problem["advice"]
    assert f"x-trace-id: {problem['traceId']}".encode() in headers
    return int(head.split()[1]), problem["code"]


async def pour(wire: Wire, piece: bytes) -> None:
    """Send the piece again and again until the server closes the connection."""
    with suppress(ConnectionError):
        while True:
            await wire.send(piece)
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"x" * 10_000 + b"\r\n\r\n",
        GET + b"x: y\r\n" * 20 + b"\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["a large header", "many headers", "a long address"],
)
async def test_a_head_that_is_too_large_is_rejected(gateway: Gateway, head: bytes) -> None:
    async with connected(gateway) as wire:
        await wire.send(head)

        assert await refused(wire) == (431, "headers-too-large")


async def test_a_head_that_is_wrong_and_too_large_is_rejected_once(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(gateway) as wire:
        await wire.send(GET + b"A")
        await asyncio.sleep(0)
        await wire.send(b": \x00bad\r\n" + b"b" * 20_000)

        assert (await refused(wire))[0] in {400, 431}

    assert "after write_eof" not in caplog.text


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (GET + b"X: ", b"x" * 1_000),
        (GET, b"x" * 1_000),
        (GET, b"x: y\r\n" * 100),
        (b"GET /", b"x" * 1_000),
    ],
    ids=["a value", "a name", "headers", "an address"],
)
async def test_an_endless_head_is_rejected_while_it_arrives(
    gateway: Gateway, beginning: bytes, piece: bytes
) -> None:
    async with connected(gateway) as wire:
        await wire.send(beginning)
        pouring = asyncio.create_task(pour(wire, piece))

        assert await refused(wire) == (431, "headers-too-large")
        await pouring


@pytest.mark.parametrize("piece", [b"x: y\r\n", b"x" * 1_000], ids=["trailers", "a trailer"])
async def test_endless_trailers_close_the_connection(gateway: Gateway, piece: bytes) -> None:
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connected(gateway) as wire:
        await wire.send(head + b"1\r\na\r\n0\r\n")

        async with asyncio.timeout(5):
            await pour(wire, piece)


async def test_a_head_of_the_largest_allowed_size_is_accepted(gateway: Gateway) -> None:
    room = LIMITS.max_header_bytes - len("/health/liveHostaX")
    whole = GET + b"X: " + b"x" * room + b"\r\n\r\n"
    async with connected(gateway) as wire:
        for at in range(0, len(whole), 500):
            await wire.send(whole[at : at + 500])

        assert (await wire.answer()).startswith(b"HTTP/1.1 200 ")


async def test_earlier_requests_and_bodies_do_not_count(gateway: Gateway) -> None:
    get = GET + b"X: " + b"x" * 4_000 + b"\r\n\r\n"
    post = b"POST /api/photos/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n"
    async with connected(gateway) as wire:
        for _ in range(4):
            await wire.send(get)
            assert b"HTTP/1.1 200 " in await wire.answer()
        await wire.send(post)
        for _ in range(20):
            await wire.send(bytes(1_000))

        assert b"HTTP/1.1 401 " in await wire.answer()


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(100),
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["TLS", "no request", "no host", "two hosts", "two tokens", "a negative length"],
)
async def test_bytes_that_are_not_a_request_are_rejected(gateway: Gateway, text: bytes) -> None:
    async with connected(gateway) as wire:
        await wire.send(text)

        assert await refused(wire) == (400, "malformed-request")


@pytest.mark.parametrize(
    "more", [b"X: " + b"x" * 9_000, b"Content-Length: 5"], ids=["a large header", "a body"]
)
async def test_a_malformed_websocket_handshake_is_rejected(gateway: Gateway, more: bytes) -> None:
    async with connected(gateway) as wire:
        await wire.send(GET.replace(b"/health/live", b"/ws") + HANDSHAKE + more + b"\r\n\r\n")

        assert await refused(wire) == (400, "malformed-request")


async def test_http_1_0_needs_no_host(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(b"GET /health/live HTTP/1.0\r\n\r\n")

        assert (await wire.answer()).startswith(b"HTTP/1.1 200 ")
