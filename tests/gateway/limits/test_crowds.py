"""Crowds of connections do not shut out others."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import anyio
import httpx
import pytest

from gateway.http import rejection_log
from gateway.http.auth import Principal
from gateway.http.connections import Connections
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.http.server import TURNED_AWAY_AT_ONCE
from tests.gateway.conftest import DEADLINE_S, Gateway, until
from tests.gateway.listeners import following, talking
from tests.gateway.wire import Wire, connected, handshake

GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
CROWD = "127.0.0.66"
HONEST = "127.0.0.77"
SMALL = Limits(
    connections=16,
    connections_reserved=4,
    connections_per_address=8,
    connections_per_client=7,
    linger_s=0.5,
)
ORDINARY = SMALL.connections - SMALL.connections_reserved


@pytest.fixture
def limits() -> Limits:
    return SMALL


@asynccontextmanager
async def from_address(gateway: Gateway, address: str) -> AsyncGenerator[Wire]:
    """Open a connection from another address of this machine."""
    reader, writer = await asyncio.open_connection(
        gateway.host, gateway.port, local_addr=(address, 0)
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def honest(gateway: Gateway, name: str = "alice") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=gateway.base_url,
        headers=gateway.bearer(name),
        transport=httpx.AsyncHTTPTransport(local_address=HONEST),
        timeout=DEADLINE_S,
    )


def follow(gateway: Gateway, name: str) -> bytes:
    return (
        f"GET /api/events?room=client HTTP/1.1\r\nHost: {gateway.host}\r\n"
        f"Authorization: Bearer {gateway.tokens[name]}\r\n\r\n"
    ).encode()


async def code_of(wire: Wire) -> tuple[int, str]:
    """Return the status and code of the problem with which the connection ends."""
    head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
    assert b"retry-after: 2" in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


async def streams(stack: AsyncExitStack, gateway: Gateway, addresses: dict[str, str]) -> None:
    """Open as many event streams as clients may have, from addresses with a client each."""
    each = ORDINARY // len(addresses)
    for address, name in addresses.items():
        for _ in range(each):
            wire = await stack.enter_async_context(from_address(gateway, address))
            await wire.send(follow(gateway, name))
            assert b"HTTP/1.1 200 " in await wire.answer()


async def test_idle_connections_make_room_for_new_ones(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        crowd = [
            await stack.enter_async_context(from_address(gateway, f"127.0.0.{100 + number}"))
            for number in range(SMALL.connections)
        ]
        for wire in crowd:
            await wire.send(GET)
            assert b"HTTP/1.1 200 " in await wire.answer()

        async with honest(gateway) as client:
            answer = await client.get("/api/photos")

        assert answer.status_code == 200
        assert (await crowd[0].rest()).count(b"HTTP/1.1 ") == 0  # the oldest was closed
        await crowd[-1].send(GET)
        assert b"HTTP/1.1 200 " in await crowd[-1].answer()


async def test_incomplete_heads_keep_nobody_out(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        for number in range(SMALL.connections):
            wire = await stack.enter_async_context(from_address(gateway, f"127.0.1.{1 + number}"))
            await wire.send(GET[:20])

        async with honest(gateway) as client:
            assert (await client.get("/api/photos")).status_code == 200


async def test_missing_bodies_keep_nobody_out(gateway: Gateway) -> None:
    head = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    async with AsyncExitStack() as stack:
        for number in range(SMALL.connections):
            wire = await stack.enter_async_context(from_address(gateway, f"127.0.1.{1 + number}"))
            await wire.send(head)
        await until(lambda: gateway.connections.active == SMALL.connections, "the requests")

        async with honest(gateway) as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/api/photos")).status_code == 200


async def test_websockets_without_a_valid_token_keep_nobody_out(gateway: Gateway) -> None:
    stranger = handshake(gateway).replace(gateway.tokens["alice"].encode(), b"nobody")
    async with AsyncExitStack() as stack:
        for number in range(SMALL.connections):
            wire = await stack.enter_async_context(from_address(gateway, f"127.0.1.{1 + number}"))
            await wire.send(stranger)
            assert (
                b"HTTP/1.1 101 " in await wire.answer()
            )  # and the client never answers the close frame

        async with honest(gateway) as client:
            assert (await client.get("/api/photos")).status_code == 200


async def test_one_client_does_not_use_up_all_connections(gateway: Gateway) -> None:
    """Connections that a client has used are kept longer than others, up to a limit."""
    ask = (
        f"GET /api/photos HTTP/1.1\r\nHost: {gateway.host}\r\n"
        f"Authorization: Bearer {gateway.tokens['bob']}\r\n\r\n"
    ).encode()
    async with AsyncExitStack() as stack:
        for number in range(SMALL.connections):
            wire = await stack.enter_async_context(from_address(gateway, f"127.0.1.{1 + number}"))
            await wire.send(ask)
            await wire.answer()

        for _ in range(3):
            fresh = await stack.enter_async_context(from_address(gateway, HONEST))
            await fresh.send(GET)
            assert b"HTTP/1.1 200 " in await fresh.answer()


async def test_connections_of_clients_outlast_those_of_unknown_peers(gateway: Gateway) -> None:
    ask = (
        f"GET /api/photos HTTP/1.1\r\nHost: {gateway.host}\r\n"
        f"Authorization: Bearer {gateway.tokens['alice']}\r\n\r\n"
    ).encode()
    async with from_address(gateway, HONEST) as known, AsyncExitStack() as stack:
        await known.send(ask)
        await known.answer()
        for number in range(3 * SMALL.connections):
            await stack.enter_async_context(from_address(gateway, f"127.0.2.{1 + number}"))

        await known.send(ask)

        assert b"HTTP/1.1 200 " in await known.answer()


async def test_one_address_does_not_shut_the_others_out(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        for name in ("alice", "bob"):
            for _ in range(SMALL.connections_per_address // 2):
                wire = await stack.enter_async_context(from_address(gateway, CROWD))
                await wire.send(follow(gateway, name))
                assert b"HTTP/1.1 200 " in await wire.answer()

        more = await stack.enter_async_context(from_address(gateway, CROWD))
        assert await code_of(more) == (429, "too-many-connections-from-address")
        async with honest(gateway, "auditor") as client:
            assert (await client.get("/api/photos")).status_code == 200


async def test_any_number_of_rejected_connections_does_no_harm(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        for name in ("alice", "bob"):
            for _ in range(SMALL.connections_per_address // 2):
                wire = await stack.enter_async_context(from_address(gateway, CROWD))
                await wire.send(follow(gateway, name))
                await wire.answer()

        for _ in range(3 * TURNED_AWAY_AT_ONCE):
            await stack.enter_async_context(from_address(gateway, CROWD))

        async with honest(gateway, "auditor") as client:
            assert (await client.get("/health/live")).status_code == 200


async def test_the_last_connections_are_for_health_and_operators(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        await streams(stack, gateway, {CROWD: "alice", "127.0.0.67": "bob"})

        async with honest(gateway, "bob") as client:
            ordinary = await client.get("/api/photos")
            page = await client.get("/")
            alive = [await client.get(path) for path in ("/health", "/health/live", "/metrics")]
            operator = await client.get("/api/photos", headers=gateway.bearer("operator"))
        async with talking(gateway, name="auditor") as talk:
            assert (await talk.ask("identify"))["type"] == "identified"
        async with talking(gateway, name="bob") as talk:
            assert await talk.closed() == (1013, "too-many-connections")

    assert (ordinary.status_code, ordinary.json()["code"]) == (503, "too-many-connections")
    assert page.status_code == 200
    assert [each.status_code for each in alive] == [200, 200, 200]
    assert operator.status_code == 200


async def test_streams_and_websockets_of_a_client_are_limited_across_addresses(
    gateway: Gateway,
) -> None:
    async with AsyncExitStack() as stack:
        for number in range(SMALL.connections_per_client):
            address = f"127.0.3.{1 + number}"
            wire = await stack.enter_async_context(from_address(gateway, address))
            await wire.send(follow(gateway, "alice") if number % 2 else handshake(gateway))
            await wire.answer()

        answer = await gateway.get("/api/photos")
        async with talking(gateway) as talk:
            closed = await talk.closed()
        other = await gateway.get("/api/photos", name="bob")

    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-connections-of-client")
    assert answer.headers["Retry-After"] == "2"
    assert closed == (1013, "too-many-connections-of-client")
    assert other.status_code == 200
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.get("/api/photos")).status_code != 200:
            pass


async def test_consecutive_requests_are_not_a_crowd(gateway: Gateway) -> None:
    for _ in range(2 * SMALL.connections):
        assert (await gateway.get("/api/photos")).status_code == 200


class TestBehindProxy:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(
            connections=100,
            connections_per_address=3,
            connections_per_client=50,
            trusted_proxies="127.0.0.1",
        )

    async def test_the_forwarded_address_is_limited(self, gateway: Gateway) -> None:
        crowd = {"X-Forwarded-For": "203.0.113.9"}
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(following(gateway, headers=crowd))

            refused = await gateway.get("/api/photos", **crowd)
            other = await gateway.get("/api/photos", **{"X-Forwarded-For": "203.0.113.10"})

        assert refused.status_code == 429
        assert refused.json()["code"] == "too-many-connections-from-address"
        assert other.status_code == 200


class TestReadersThatDoNotRead:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(slow_reader_s=0.2)

    async def test_a_connection_ends_even_if_no_route_is_sending(self, gateway: Gateway) -> None:
        """Complete answers fill all buffers, so that no route waits for the reader any more."""
        get = f"GET /schema/openapi.json HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (gateway.host, gateway.port))
            await loop.sock_sendall(sock, get * 100)
            app_connections = gateway.connections

            await until(lambda: app_connections.open == 1, "the connection")
            await until(lambda: app_connections.open == 0, "its end")


async def test_a_noisy_peer_is_logged_once_and_then_counted(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        async with connected(gateway) as wire:
            await wire.send(b"what is this\r\n\r\n")
            await wire.rest()

    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert lines == ["connections from 127.0.0.1: malformed-request"]


async def test_counts_of_noisy_peers_are_logged_after_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection_log, "SOURCES_MAX", 4)
    noisy = rejection_log.RejectionLog(every_s=0.01)
    for number in range(rejection_log.SOURCES_MAX + 3):
        noisy.note(f"source {number}", "malformed-request")
    for _ in range(2):
        noisy.note("source 1", "headers-too-large")

    await until(lambda: caplog.text.count("in the last") == 2, "the sums")

    assert "connections from source 1: headers-too-large 2 times" in caplog.text
    assert "connections from other addresses: malformed-request 2 times" in caplog.text
    assert len(caplog.records) == rejection_log.SOURCES_MAX + 1 + 2


def test_ten_thousand_sources_leave_nothing_behind() -> None:
    connections = Connections(SMALL)
    closed: list[int] = []
    for number in range(10_000):
        address = f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}"
        connections.enter(address, lambda number=number: closed.append(number))

    assert connections.open == SMALL.connections
    assert closed == list(range(10_000 - SMALL.connections))
    assert connections.sources == SMALL.connections


async def test_an_ipv6_network_is_one_source() -> None:
    connections = Connections(SMALL)

    async def connect() -> None:
        connections.enter("2001:db8::ffff", lambda: None)

    held = [
        connections.enter(f"2001:db8::{number:x}", lambda: None)
        for number in range(SMALL.connections_per_address)
    ]
    scope = {"type": "http", "path": "/api/photos", "client": ("2001:db8::1", 1)}
    with ExitStack() as stack:
        for number, connection in enumerate(held):
            connection.begin()
            client = Principal(client_id=f"client-{number}")
            stack.enter_context(connection.serving(scope, client))

        with pytest.raises(Refused):
            await connect()
        held[0].leave()
        held[0].leave()
        await connect()
        assert connections.open == SMALL.connections_per_address
