"""Clients of the rooms, and the events that they receive."""

import asyncio
import hashlib
import socket
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from domain.photo.commands import UploadPhoto
from store.log.log import Log
from tests.conftest import CONTEXT, home
from tests.gateway.conftest import DEADLINE_S, Gateway

AT_ONCE = 20
LITTLE_BYTES = 4096
PING = {"type": "ping"}


async def record(
    log: Log, count: int = 1, *, client_id: str = "alice", session_id: str | None = None
) -> list[str]:
    """Upload ``count`` photos of the client, one event each; return their ids in any order."""
    photo_ids = [str(uuid.uuid4()) for _ in range(count)]
    waiting = iter(photo_ids)

    async def work() -> None:
        for photo_id in waiting:
            await log.execute(
                UploadPhoto(
                    photo_id=photo_id,
                    job_id=str(uuid.uuid4()),
                    client_id=client_id,
                    session_id=session_id,
                    original_filename="a.jpg",
                    mime_type="image/jpeg",
                    file_size=1,
                    sha256=hashlib.sha256(photo_id.encode()).hexdigest(),
                    bucket="photos",
                    key=f"originals/{photo_id}",
                    pipeline="full_processing",
                    priority=5,
                ),
                client_id=client_id,
                context=CONTEXT,
            )

    async with anyio.create_task_group() as tasks:
        for _ in range(min(AT_ONCE, count)):
            tasks.start_soon(work)
    return photo_ids


async def positions(log: Log, partition: int | None = None) -> list[str]:
    """Return the positions of all events of a partition, by default alice's, in order."""
    of = home(log) if partition is None else partition
    return [str(recorded.position) async for recorded in log.scan(of)]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of an event stream."""

    event: str
    id: str
    data: dict[str, Any]


class Stream:
    """An open event stream. ``ready`` is its first frame; ``pings`` counts the pings read."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.ready = Frame(event="", id="", data={})
        self.pings = 0

    @property
    def start(self) -> tuple[bool, str]:
        """Whether the stream recovered the requested position, and where it begins."""
        return self.ready.data["recovered"], self.ready.data["position"]

    async def next(self) -> Frame | None:
        """Return the next frame; None at the end of the stream."""
        fields: dict[str, str] = {}
        with anyio.fail_after(DEADLINE_S):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line and name:
                    fields[name] = value
                elif fields.get("event") == "ping":
                    self.pings += 1
                    fields.clear()
                elif "data" in fields:
                    return Frame(
                        event=fields.get("event", "message"),
                        id=fields["id"],
                        data=msgspec.json.decode(fields["data"]),
                    )
        return None

    async def take(self, count: int) -> list[Frame]:
        frames: list[Frame] = []
        while len(frames) < count and (frame := await self.next()) is not None:
            frames.append(frame)
        assert len(frames) == count, "the stream has ended"
        return frames

    async def ids(self, count: int) -> list[str]:
        return [frame.data["id"] for frame in await self.take(count)]


@asynccontextmanager
async def following(
    gateway: Gateway,
    *rooms: str,
    name: str = "alice",
    after: str | None = None,
    header: str | None = None,
    headers: dict[str, str] | None = None,
    named: bool = False,
) -> AsyncGenerator[Stream]:
    """Open the event stream of the rooms, by default the client's."""
    async with gateway.client.stream(
        "GET",
        "/api/events",
        params={"room": rooms or ("client",)}
        | ({"lastEventId": after} if after else {})
        | ({"named": True} if named else {}),
        headers=gateway.bearer(name)
        | ({"Last-Event-ID": header} if header else {})
        | (headers or {}),
    ) as response:
        if not response.is_success:
            await response.aread()
            raise AssertionError(response.text)
        stream = Stream(response.aiter_lines())
        ready = await stream.next()
        assert ready is not None
        assert ready.event == "ready"
        stream.ready = ready
        yield stream


@asynccontextmanager
async def reluctant(gateway: Gateway, *, after: str | None = None) -> AsyncGenerator[Stream]:
    """Open alice's event stream with tiny buffers, so that an idle reader blocks the gateway."""
    resume = f"Last-Event-ID: {after}\r\n" if after else ""
    reader, writer = await asyncio.open_connection(sock=await narrow(gateway), limit=LITTLE_BYTES)
    # HTTP/1.0 has no chunks: the frames follow the head directly.
    writer.write(
        f"GET /api/events?room=client HTTP/1.0\r\n{resume}"
        f"Authorization: {gateway.bearer('alice')['Authorization']}\r\n\r\n".encode()
    )
    try:
        while (await reader.readline()).strip():
            pass
        stream = Stream(_lines(reader))
        ready = await stream.next()
        assert ready is not None
        stream.ready = ready
        yield stream
    finally:
        writer.transport.abort()


async def narrow(gateway: Gateway) -> socket.socket:
    """Open a connection with a tiny receive buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE_BYTES)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (gateway.host, gateway.port))
    return sock


async def _lines(reader: asyncio.StreamReader) -> AsyncGenerator[str]:
    with suppress(ConnectionResetError):
        while line := await reader.readline():
            yield line.decode().rstrip("\n")


class Talk:
    """An open WebSocket; ``pings`` counts those of the server that were skipped."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.pings = 0

    async def say(self, type_: str, **fields: Any) -> None:
        await self.connection.send(msgspec.json.encode({"type": type_, **fields}).decode())

    async def next(self) -> dict[str, Any]:
        with anyio.fail_after(DEADLINE_S):
            while (message := msgspec.json.decode(await self.connection.recv())) == PING:
                self.pings += 1
        return message

    async def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a message and return the next one as the reply."""
        await self.say(type_, **fields)
        return await self.next()

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def ids(self, count: int) -> list[str]:
        return [message["event"]["id"] for message in await self.events(count)]

    async def closed(self) -> tuple[int | None, str | None]:
        """Return the close code and reason."""
        with anyio.fail_after(DEADLINE_S):
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason


@asynccontextmanager
async def talking(
    gateway: Gateway,
    *,
    name: str | None = "alice",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> AsyncGenerator[Talk]:
    """Open a WebSocket with the token of ``name``; it has not identified yet."""
    token = gateway.bearer(name) if name else {}
    async with connect(
        f"ws://{gateway.host}:{gateway.port}/ws",
        additional_headers=token | (headers or {}),
        proxy=None,
        compression=None,
        **options,
    ) as connection:
        yield Talk(connection)
