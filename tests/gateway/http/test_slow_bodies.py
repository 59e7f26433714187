"""Bodies that arrive too slowly, or whose frames never end."""

import asyncio
from contextlib import suppress

import pytest

from gateway.http.envelope import PAUSE_S
from gateway.http.limits import Limits
from tests.gateway.conftest import DEADLINE_S, Gateway, picture
from tests.gateway.http.test_bodies import END, HEAD, chunked, login, post
from tests.gateway.wire import Wire, connected, request


@pytest.fixture
def body_patience_s() -> float:
    return DEADLINE_S


impatient = pytest.mark.parametrize("body_patience_s", [0.3])


@pytest.fixture
def limits(body_patience_s: float) -> Limits:
    return Limits(body_patience_s=body_patience_s, linger_s=DEADLINE_S, max_header_bytes=4_096)


@pytest.fixture
def projecting() -> bool:
    return False


@impatient
@pytest.mark.parametrize("path", ["/api/login", "/api/ops/queues/metadata/cancel"])
async def test_a_body_that_does_not_arrive_in_time_is_rejected(gateway: Gateway, path: str) -> None:
    async with connected(gateway) as wire:
        await wire.send(post(gateway, path, "Content-Length: 5000") + b'{"reason":')
        answer = await wire.rest()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body-stalled"' in answer


@impatient
async def test_a_body_that_trickles_gets_no_more_time(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(post(gateway, "/api/login", "Content-Length: 5000"))
        trickle = asyncio.create_task(trickling(wire))
        answer = await wire.until(b'"code":"body-stalled"')
        trickle.cancel()

    assert answer.startswith(b"HTTP/1.1 408 ")


@impatient
async def test_a_sender_that_was_too_slow_is_not_reset(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(post(gateway, "/api/login", "Content-Length: 5000") + b" ")
        await wire.until(b'"code":"body-stalled"')
        for _ in range(3):
            await asyncio.sleep(PAUSE_S / 10)
            await wire.send(b" ")

        assert b"Send the whole body" in await wire.rest()


@impatient
async def test_an_upload_has_a_time_of_its_own(gateway: Gateway) -> None:
    body = HEAD + picture() + END
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(body)) + body[:-1])
        await asyncio.sleep(3 * gateway.deps.limits.body_patience_s)
        await wire.send(body[-1:])
        answer = await wire.answer()

    assert answer.startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("is_upload", [True, False])
async def test_an_endless_chunk_extension_is_rejected(gateway: Gateway, is_upload: bool) -> None:
    async with connected(gateway) as wire:
        head = request if is_upload else login
        await wire.send(chunked(head(gateway, 0, "Expect: 100-continue")))
        await wire.answer()
        answering = asyncio.create_task(wire.rest())
        await wire.send(b"1;")
        for _ in range(6):
            await wire.send(b"a" * 1_000)
            await asyncio.sleep(0)
        answer = await answering

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"extensions and trailers of the chunks exceed 4096 bytes" in answer


async def test_many_chunks_with_extensions_are_rejected(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(chunked(login(gateway, 0, "Expect: 100-continue")))
        await wire.answer()
        answering = asyncio.create_task(wire.rest())
        for _ in range(30):
            await wire.send(b"1;" + b"a" * 300 + b"\r\nx\r\n")
        answer = await answering

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_many_small_chunks_are_accepted(gateway: Gateway) -> None:
    body = HEAD + picture() + END
    async with connected(gateway) as wire:
        await wire.send(chunked(request(gateway, 0)))
        for each in body:
            await wire.send(b"1\r\n" + bytes([each]) + b"\r\n")
        await wire.send(b"0\r\n\r\n")
        answer = await wire.answer()

    assert answer.startswith(b"HTTP/1.1 201 ")


async def trickling(wire: Wire) -> None:
    with suppress(ConnectionError):  # it is closed
        while True:
            await wire.send(b" ")
            await asyncio.sleep(0.05)
