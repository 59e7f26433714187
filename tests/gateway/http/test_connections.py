"""Connections that break, stall, or continue after the answer."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from store.blobs.folder import FolderBlobs
from store.log.position import Position
from tests.gateway.conftest import DEADLINE_S, Gateway, picture, served, until
from tests.gateway.wire import connected, request

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
END = b"\r\n--x--\r\n"


IMPATIENT_S = 0.3

impatient = pytest.mark.parametrize("patience_s", [IMPATIENT_S])
"""For tests of connections that are too slow."""


@pytest.fixture
def patience_s() -> float:
    return DEADLINE_S


@pytest.fixture
def limits(patience_s: float) -> Limits:
    return Limits(
        max_upload_bytes=5_000_000,
        upload_patience_s=patience_s,
        slow_upload_s=2 * patience_s,
        header_patience_s=patience_s,
        linger_s=2 * patience_s,
    )


@pytest.fixture
def projecting() -> bool:
    return False


async def test_a_broken_upload_leaves_nothing_behind(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 4_000_000) + HEAD + picture() + bytes(2_000_000))
        await until(lambda: bool(gateway.stored()), "the draft")

    await until(lambda: gateway.stored() == [], "the draft to go")
    assert await gateway.log.end(0) == Position.start(0)


@impatient
async def test_a_stalled_upload_is_answered_and_closed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 4_000_000) + HEAD + picture())

        everything = await wire.rest()

    assert everything.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"upload-stalled"' in everything
    assert gateway.stored() == []


@impatient
async def test_a_trickling_upload_is_answered_and_closed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 4_000_000) + HEAD + picture())
        answer = asyncio.create_task(wire.answer())
        with suppress(ConnectionError):  # it is closed
            while not answer.done():
                await wire.send(b"\0")
                await asyncio.wait([answer], timeout=IMPATIENT_S / 6)

    assert (await answer).startswith(b"HTTP/1.1 408 ")
    await until(lambda: gateway.stored() == [], "the draft to go")


@impatient
async def test_a_connection_with_an_incomplete_head_is_closed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n")

        assert await wire.rest() == b""


@impatient
async def test_a_silent_connection_is_closed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        assert await wire.rest() == b""


async def test_consecutive_requests_share_a_connection(gateway: Gateway) -> None:
    ask = f"GET /health/live HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode()
    async with connected(gateway) as wire:
        for _ in range(3):
            await wire.send(ask)

            assert b"HTTP/1.1 200 " in await wire.answer()


async def test_a_rejected_upload_is_answered_while_it_is_still_sent(gateway: Gateway) -> None:
    body = HEAD + b"no picture" * 300_000 + END
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(body)) + body[:1000])
        answer = await wire.answer()  # before the rest is sent
        await wire.send(body[1000:])

        assert answer.startswith(b"HTTP/1.1 415 ")
        assert b"connection: close" in answer
        assert b'"code":"unsupported-type"' in await wire.rest()


@impatient
async def test_a_rejected_upload_that_never_ends_is_closed(gateway: Gateway) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 4_000_000) + HEAD + b"no picture" * 10)

        assert b'"code":"unsupported-type"' in await wire.rest()


async def test_a_sender_that_expects_100_continue_is_rejected_before_its_body(
    gateway: Gateway,
) -> None:
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 400_000_000, "Expect: 100-continue"))

        everything = await wire.rest()

    assert everything.startswith(b"HTTP/1.1 413 ")


async def test_a_sender_that_expects_100_continue_gets_it(gateway: Gateway) -> None:
    body = HEAD + picture() + END
    async with connected(gateway) as wire:
        await wire.send(request(gateway, len(body), "Expect: 100-continue"))
        go_on = await wire.answer()
        await wire.send(body)

        assert go_on.startswith(b"HTTP/1.1 100 ")
        assert (await wire.answer()).startswith(b"HTTP/1.1 201 ")


async def test_a_sender_that_expects_100_continue_is_rejected_while_the_disk_is_full(
    deps: Dependencies, tmp_path: Path
) -> None:
    everything_bytes = shutil.disk_usage(tmp_path).total
    full = FolderBlobs(tmp_path / "blobs", reserve_bytes=everything_bytes)
    async with (
        served(msgspec.structs.replace(deps, blobs=full)) as gateway,
        connected(gateway) as wire,
    ):
        await wire.send(request(gateway, 4_000, "Expect: 100-continue"))

        everything = await wire.rest()

    assert everything.startswith(b"HTTP/1.1 507 ")
    assert b'"code":"storage-full"' in everything
