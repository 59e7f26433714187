"""WebSockets of peers that send without pause cost everyone else little."""

from contextlib import suppress

import anyio
import pytest
from websockets.server import ServerProtocol

from gateway.http.limits import Limits
from gateway.http.rate_limits import Allowance, RateLimits
from gateway.http.socket_protocol import PIECE_BYTES
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.listeners import talking
from tests.gateway.wire import Wire, connected, handshake

FRAMES = 40
MESSAGES = 30

FINAL, MASKED = 0x80, 0x80
CONTINUED, TEXT, CLOSED, PING, PONG = 0, 1, 8, 9, 10


def frame(first: int, content: bytes = b"") -> bytes:
    """Return a frame (RFC 6455, section 5.2) with a mask of zeros, which leaves bytes unchanged."""
    return bytes([first, MASKED | len(content)]) + bytes(4) + content


PING_MESSAGE = frame(FINAL | TEXT, b'{"type":"ping"}')


@pytest.fixture
def limits() -> Limits:
    return Limits(frames_per_minute=FRAMES, errors_per_socket=2, message_max_bytes=10_000)


@pytest.fixture
def rates() -> RateLimits:
    return RateLimits(rate_messages=Allowance(MESSAGES, 3_600))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """The size of each piece that the gateway parses, and whether it had sent its close frame."""
    pieces: list[tuple[bool, int]] = []
    receive_data = ServerProtocol.receive_data

    def receiving(protocol: ServerProtocol, data: bytes) -> None:
        pieces.append((protocol.close_sent is not None, len(data)))
        receive_data(protocol, data)

    monkeypatch.setattr(ServerProtocol, "receive_data", receiving)
    return pieces


async def shaken(wire: Wire, gateway: Gateway) -> None:
    await wire.send(handshake(gateway))
    assert b" 101 " in await wire.answer()


def reason_of(data: bytes) -> tuple[int, bytes]:
    """Return the code and reason of the close frame, which may follow other frames."""
    start = data.rindex(bytes([FINAL | CLOSED]))
    length = data[start + 1]
    content = data[start + 2 : start + 2 + length]
    return int.from_bytes(content[:2]), content[2:]


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(FINAL | PING) * (FRAMES + 1), id="pings"),
        pytest.param(frame(FINAL | PONG) * (FRAMES + 1), id="pongs"),
        pytest.param(frame(TEXT) + frame(CONTINUED) * (FRAMES + 1), id="empty-fragments"),
    ],
)
async def test_control_frames_and_fragments_are_limited(gateway: Gateway, flood: bytes) -> None:
    async with connected(gateway) as wire:
        await shaken(wire, gateway)

        await wire.send(flood)

        assert reason_of(await wire.rest()) == (1008, b"too-many-frames")


async def test_a_flood_is_parsed_piece_by_piece_and_answered_completely(
    gateway: Gateway, parsed: list[tuple[bool, int]]
) -> None:
    long = frame(TEXT) + frame(CONTINUED, b" " * 100) * 30 + frame(FINAL | CONTINUED, b"{}")
    async with connected(gateway) as wire:
        await shaken(wire, gateway)
        parsed.clear()

        await wire.send(PING_MESSAGE * 20 + long)

        answers = await wire.until(b"malformed-message")
    assert answers.count(b"pong") == 20
    assert max(size for _, size in parsed) <= PIECE_BYTES
    assert sum(size for _, size in parsed) == len(PING_MESSAGE * 20 + long)


async def test_reconnecting_does_not_refill_a_clients_messages(
    gateway: Gateway,
) -> None:
    async with talking(gateway) as talk:
        for _ in range(MESSAGES):
            assert (await talk.ask("ping"))["type"] == "pong"

    async with talking(gateway) as again, talking(gateway, name="bob") as other:
        assert (await again.ask("ping"))["code"] == "rate-limited"
        assert (await other.ask("ping"))["type"] == "pong"


async def test_little_is_read_from_a_peer_that_keeps_sending_after_the_close(
    gateway: Gateway, limits: Limits, parsed: list[tuple[bool, int]]
) -> None:
    async with connected(gateway) as wire:
        await shaken(wire, gateway)
        with anyio.fail_after(DEADLINE_S), suppress(OSError):
            while True:
                await wire.send(PING_MESSAGE * 100)
                await anyio.sleep(0)

    assert 0 < sum(size for is_over, size in parsed if is_over) <= limits.message_max_bytes
