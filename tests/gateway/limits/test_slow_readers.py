"""Readers that stop reading lose nothing, and cost limited memory and time."""

import asyncio
import logging

import anyio
import pytest

from gateway import app
from gateway.http.limits import Limits
from gateway.rooms.hub import Hub
from tests.gateway.conftest import DEADLINE_S, Gateway, picture, until
from tests.gateway.listeners import (
    following,
    narrow,
    positions,
    record,
    reluctant,
    talking,
)

EVENTS = 500
SEND_BUFFER_BYTES = 8_192
PATIENCE_S = 2.0
"""The server resets a connection after half as long again, if no route has ended it: on a busy
machine, the next event must come before that."""

LARGE_BYTES = 1 << 20
"""Like ``EVENTS``, more than all buffers between the server and a reader hold."""


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> list[Hub]:
    """Collect the hubs of the gateways that the test starts."""
    known: list[Hub] = []

    class Known(Hub):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # pyright: ignore[reportArgumentType] # passed on unchanged
            known.append(self)

    monkeypatch.setattr(app, "Hub", Known)
    return known


@pytest.fixture
def send_buffer_bytes() -> int:
    return SEND_BUFFER_BYTES


@pytest.fixture
def patience_s() -> float:
    """How long a reader may read nothing; parametrize a test to change it."""
    return 30.0


@pytest.fixture
def limits(patience_s: float) -> Limits:
    return Limits(room_backlog=50, slow_reader_s=patience_s)


async def test_a_stream_that_is_not_read_for_a_while_loses_nothing(
    hubs: list[Hub], gateway: Gateway
) -> None:
    async with reluctant(gateway) as stream:
        await record(gateway.log, EVENTS)
        await until(lambda: hubs[0].overflows > 0, "the backlog")

        assert await stream.ids(EVENTS) == await positions(gateway.log)
    assert hubs[0].slow_readers == 0


async def test_a_socket_that_is_not_read_for_a_while_loses_nothing(
    hubs: list[Hub], gateway: Gateway
) -> None:
    async with talking(gateway, sock=await narrow(gateway), max_queue=1) as talk:
        await talk.ask("identify")
        await record(gateway.log, EVENTS)
        await until(lambda: hubs[0].overflows > 0, "the backlog")

        assert await talk.ids(EVENTS) == await positions(gateway.log)
    assert hubs[0].slow_readers == 0


@pytest.mark.parametrize("patience_s", [PATIENCE_S])
async def test_a_stream_that_is_not_read_for_too_long_is_ended_and_resumes(
    hubs: list[Hub], gateway: Gateway, patience_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []
    async with reluctant(gateway) as stream:
        last = stream.ready.id
        await record(gateway.log, EVENTS)
        await until(lambda: hubs[0].slow_readers > 0, "the end of patience")
        assert hubs[0].connections["sse"] == 0
        while (frame := await stream.next()) is not None:
            got.append(frame.data["id"])
            last = frame.id
    assert len(got) < EVENTS

    async with following(gateway, after=last) as stream:
        assert stream.ready.data["recovered"]
        assert got + await stream.ids(EVENTS - len(got)) == await positions(gateway.log)
    assert not errors(caplog)


@pytest.mark.parametrize("patience_s", [PATIENCE_S])
async def test_a_download_that_is_not_read_for_too_long_is_cut_off_without_a_server_error(
    gateway: Gateway, patience_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    photo = (await gateway.upload(picture() + bytes(LARGE_BYTES))).json()
    await gateway.get("/api/photos", after=photo["position"])
    reader, writer = await asyncio.open_connection(sock=await narrow(gateway), limit=4096)

    writer.write(
        f"GET /api/photos/{photo['photoId']}/original HTTP/1.1\r\nHost: {gateway.host}\r\n"
        f"Authorization: {gateway.bearer('alice')['Authorization']}\r\n\r\n".encode()
    )
    await until(lambda: "the client read nothing" in caplog.text, "the end of patience")

    with anyio.fail_after(DEADLINE_S):
        assert len(await reader.read()) < LARGE_BYTES
    writer.close()
    assert not errors(caplog)


@pytest.mark.parametrize("patience_s", [PATIENCE_S])
async def test_a_socket_that_is_not_read_for_too_long_is_ended(
    hubs: list[Hub], gateway: Gateway, patience_s: float
) -> None:
    async with talking(gateway, sock=await narrow(gateway), max_queue=1) as talk:
        await talk.ask("identify")
        await record(gateway.log, EVENTS)
        await until(lambda: hubs[0].slow_readers > 0, "the end of patience")
        await until(lambda: hubs[0].connections["websocket"] == 0, "the end of the socket")
        talk.connection.transport.abort()
