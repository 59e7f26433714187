"""Receivers of webhooks on the loopback interface: well-behaved, and hostile in every way."""

import asyncio
import base64
import hmac
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec

from gateway.webhooks.secrets import PREFIX
from tests.gateway.conftest import DEADLINE_S, HOST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived."""

    head: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)

    @property
    def position(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_by(self, secret: str) -> bool:
        """Verify as a receiver does, from the text of the Standard Webhooks specification."""
        key = base64.b64decode(secret.removeprefix(PREFIX))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
        digest = hmac.digest(key, signed + self.body, "sha256")
        expected = "v1," + base64.b64encode(digest).decode()
        return expected in self.headers["webhook-signature"].split(" ")


Answer = Callable[[Request], bytes | Awaitable[bytes]]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    head = [f"HTTP/1.1 {code} Something", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class Receiver:
    """A receiver that keeps what it gets. ``answer`` may be replaced at any time."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests: list[Request] = []
        self.connections = 0
        self.answer: Answer = lambda _: OK
        self.behave: Behaviour = self._serve
        self._arrived = asyncio.Condition()

    def url(self, path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.port}{path}"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [each.event for each in self.requests]

    async def until(self, count: int) -> list[Request]:
        """Wait until that many requests have arrived, and return all."""
        return await self.until_true(lambda: len(self.requests) >= count)

    async def until_true(self, condition: Callable[[], bool]) -> list[Request]:
        with anyio.fail_after(DEADLINE_S):
            async with self._arrived:
                await self._arrived.wait_for(condition)
        return self.requests

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
                await self.behave(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read(reader)
            answer = self.answer(request)
            found = answer if isinstance(answer, bytes) else await answer
            await self.note(request)
            writer.write(found)
            await writer.drain()

    async def note(self, request: Request) -> None:
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()


async def read(reader: asyncio.StreamReader) -> Request:
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Request(head=head, headers=headers, body=body)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncGenerator[Receiver]:
    """Listen on the loopback interface while the block runs."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.connected, HOST, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read everything and answer nothing."""
    while await reader.read(65_536):
        pass


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection off in the middle of the request."""
    await reader.read(10)
    writer.transport.abort()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with something else than HTTP."""
    await read(reader)
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the head of the answer one byte at a time, for ever."""
    await read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a gigabyte."""
    await read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(1_000):
        writer.write(b"x" * 1_000_000)
        await writer.drain()


async def flood_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with headers without end."""
    await read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"y" * 10_000 + b"\r\n")
        await writer.drain()


async def continue_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send interim answers without end."""
    await read(reader)
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)
