"""Talk to the gateway byte by byte."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from tests.gateway.conftest import DEADLINE_S, Gateway


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """Return the head of the next response."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def until(self, marker: bytes) -> bytes:
        """Return everything up to the marker."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(marker)

    async def rest(self) -> bytes:
        """Return everything until the gateway closes the connection.

        It ends with a reset if the gateway has not read all that was sent.
        """
        received = b""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionResetError):
                while chunk := await self._reader.read(1 << 16):
                    received += chunk
        return received


@asynccontextmanager
async def connected(gateway: Gateway) -> AsyncGenerator[Wire]:
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def request(gateway: Gateway, length: int, *headers: str) -> bytes:
    """Return the head of an upload by alice with a body of ``length`` bytes."""
    lines = [
        "POST /api/photos/upload HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens['alice']}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def handshake(gateway: Gateway, *headers: str) -> bytes:
    """Return the handshake of a WebSocket of alice."""
    lines = [
        "GET /ws HTTP/1.1",
        f"Host: {gateway.host}",
        f"Authorization: Bearer {gateway.tokens['alice']}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
