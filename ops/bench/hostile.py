"""Attack a local Photolog with hostile clients: ``python -m ops.bench.hostile``.

Each kind has its own loopback address (only Linux lets a client take any of 127.0.0.0/8) and stops
by itself. They run in a separate process at the lowest priority, so that they cost what they make
the system do, not what they do themselves.
"""

import asyncio
import io
import json
import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import httpx
import msgspec
from PIL import Image

HOST = "127.0.0.1"
NICENESS = 19

IDLE_CONNECTIONS = 1_500
SLOW_HEADS = 200
REQUESTS_AT_ONCE = 10
STREAMS = 300
SOCKETS = 30
EXPENSIVE_AT_ONCE = 24
EXPENSIVE_EDGE = 8_000
"""In pixels; of one colour, so a file of a few hundred bytes decodes to 256 MB."""

PAUSE_S = 0.05


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's port, a client's token to abuse, and the duration of the attack."""

    port: int
    token: str
    seconds: float

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


async def idle_connections(target: Target, address: str) -> None:
    """Hold as many connections as one peer can, and send nothing."""
    held: list[asyncio.StreamWriter] = []
    while True:
        held = [writer for writer in held if not writer.is_closing()]
        while len(held) < IDLE_CONNECTIONS:
            try:
                _, writer = await _open(target, address)
            except OSError:
                break
            held.append(writer)
        await asyncio.sleep(PAUSE_S)


async def slow_heads(target: Target, address: str) -> None:
    """Send request heads a byte at a time."""

    async def one() -> None:
        with suppress(OSError):
            _, writer = await _open(target, address)
            for byte in b"GET /api/photos HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 1_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.5)

    await _crowd(SLOW_HEADS, one)


async def requests(target: Target, address: str) -> None:
    """Request lists as fast as answers arrive."""
    async with _client(target, address) as client:
        await _crowd(REQUESTS_AT_ONCE, lambda: client.get("/api/photos", params={"limit": 200}))


async def guessed_tokens(target: Target, address: str) -> None:
    """Guess tokens."""
    async with _client(target, address) as client:

        async def one() -> None:
            guess = f"{random.getrandbits(256):x}"
            await client.get("/api/photos", headers={"Authorization": f"Bearer {guess}"})

        await _crowd(REQUESTS_AT_ONCE, one)


async def streams(target: Target, address: str) -> None:
    """Open streams and read nothing from them."""
    head = (
        f"GET /api/events?room=client HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Authorization: Bearer {target.token}\r\n\r\n"
    ).encode()

    async def one() -> None:
        with suppress(OSError):
            _, writer = await _open(target, address)
            cast("asyncio.Transport", writer.transport).pause_reading()
            writer.write(head)
            await writer.wait_closed()

    await _crowd(STREAMS, one)


async def socket_messages(target: Target, address: str) -> None:
    """Send messages to WebSockets without a pause."""
    from websockets.asyncio.client import connect  # noqa: PLC0415
    from websockets.exceptions import WebSocketException  # noqa: PLC0415

    message = json.dumps({"type": "subscribe:photo", "photoId": "x" * 36})

    async def one() -> None:
        with suppress(OSError, WebSocketException, TimeoutError):
            async with connect(
                f"ws://{HOST}:{target.port}/ws",
                additional_headers={"Authorization": f"Bearer {target.token}"},
                local_addr=(address, 0),
                proxy=None,
            ) as socket:
                while True:
                    await socket.send(message)

    await _crowd(SOCKETS, one)


async def broken_uploads(target: Target, address: str) -> None:
    """Announce a large photo, send a part of it, and abort the connection."""
    head = (
        f"POST /api/photos/upload HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Authorization: Bearer {target.token}\r\nContent-Length: 90000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    ).encode()

    async def one() -> None:
        with suppress(OSError):
            _, writer = await _open(target, address)
            writer.write(head + b"\xff\xd8\xff\xe0" + os.urandom(100_000))
            await writer.drain()
            writer.transport.abort()

    await _crowd(REQUESTS_AT_ONCE, one)


async def expensive_uploads(target: Target, address: str) -> None:
    """Upload images that cost much more to decode than to send, at every priority."""
    async with _client(target, address) as client:

        async def one() -> None:
            files = {"file": ("a.webp", _expensive())}
            priority = str(random.randint(1, 10))  # noqa: S311 # any
            await client.post("/api/photos/upload", files=files, data={"priority": priority})

        await _crowd(EXPENSIVE_AT_ONCE, one)


async def reprocessing(target: Target, address: str) -> None:
    """Request the reprocessing of the same photos again and again."""
    async with _client(target, address) as client:

        async def one() -> None:
            answer = await client.get("/api/photos", params={"limit": 20})
            for photo in answer.json().get("items", []):
                await client.post(f"/api/photos/{photo['photoId']}/reprocess")

        await _crowd(REQUESTS_AT_ONCE, one)


async def garbage(target: Target, address: str) -> None:
    """Send bytes that are not HTTP."""

    async def one() -> None:
        with suppress(OSError):
            _, writer = await _open(target, address)
            writer.write(os.urandom(4_096))
            await writer.drain()
            writer.close()

    await _crowd(REQUESTS_AT_ONCE, one)


KINDS: dict[str, Callable[[Target, str], Awaitable[None]]] = {
    kind.__name__: kind
    for kind in (
        *(idle_connections, slow_heads, requests, guessed_tokens, streams, socket_messages),
        *(broken_uploads, expensive_uploads, reprocessing, garbage),
    )
}


async def _crowd(size: int, one: Callable[[], Awaitable[object]]) -> None:
    """Repeat ``one`` in ``size`` tasks; errors of rejected requests are ignored."""

    async def repeat() -> None:
        while True:
            with suppress(httpx.HTTPError, json.JSONDecodeError, KeyError):
                await one()
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(size):
            tasks.create_task(repeat())


async def _open(target: Target, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(5):
        return await asyncio.open_connection(HOST, target.port, local_addr=(address, 0))


def _client(target: Target, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=target.url,
        headers={"Authorization": f"Bearer {target.token}"},
        transport=httpx.AsyncHTTPTransport(local_address=address),
        timeout=10,
    )


_bomb: list[bytes] = []


def _expensive() -> bytes:
    """Return the same image with different trailing bytes, so that each is a photo of its own."""
    if not _bomb:
        file = io.BytesIO()
        picture = Image.new("RGB", (EXPENSIVE_EDGE, EXPENSIVE_EDGE), (90, 120, 150))
        picture.save(file, "WEBP", lossless=True, method=0)
        _bomb.append(file.getvalue())
    return _bomb[0] + os.urandom(8)


async def _attack(target: Target, kinds: list[str]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(target.seconds), asyncio.TaskGroup() as tasks:
            for number, kind in enumerate(kinds):
                tasks.create_task(_repeat(target, kind, f"127.0.0.{2 + number}"))


async def _repeat(target: Target, kind: str, address: str) -> None:
    while True:
        began = time.monotonic()
        try:
            await KINDS[kind](target, address)
        except Exception as error:  # the attack continues, whatever the system does
            print(f"{kind}: {error!r}", file=sys.stderr)
        await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))


def main() -> None:
    """Attack the target described on standard input, with the kinds named as arguments."""
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    asyncio.run(_attack(target, sys.argv[1:] or list(KINDS)))


if __name__ == "__main__":
    main()
