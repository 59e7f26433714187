"""Many readers of a room in one process, for measurements: they count events without parsing."""

import asyncio
import base64
import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop

from ops.process.file_limit import raise_limit

MARK = b'"photoVersion":'
"""Occurs once in each event."""

PROBES = 10
"""How many of the readers measure delays."""

AT_ONCE = 50
"""Readers that connect at the same time."""

PATIENCE_S = 120.0

_ID = re.compile(rb'"id":"\d+:(\d+)-\d+"')

_SAMPLE_EVENT = (
    b'{"id":"0:1795300000000-0","type":"photo.uploaded","data":"%b","metadata":{%b1}}'
    % (
        b"x" * 900,
        MARK,
    )
)
SAMPLE = b"id: 0:1795300000000-0\ndata: %b\n\n" % _SAMPLE_EVENT
"""An event as the bare server sends it."""

READY = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: ready\ndata: {}\n\n"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``head`` is sent first, ``hello`` after the answer; events follow the bytes ``ready``."""

    head: bytes
    hello: bytes
    ready: bytes


def requests(way: str, url: str, token: str, count: int, after: str = "") -> list[Request]:
    """Return what each reader sends; with ``after``, a position, to resume from there."""
    host = urlsplit(url).netloc
    common = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n"
    if way == "SSE":
        resume = f"&lastEventId={after}" if after else ""
        head = f"GET /api/events?room=client{resume} HTTP/1.1\r\n{common}\r\n"
        return [Request(head=head.encode(), hello=b"", ready=b"event: ready")] * count
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /ws HTTP/1.1\r\n{common}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    identify: dict[str, object] = {"type": "identify"}
    if "batches" in way:
        identify["batches"] = True
    if after:
        identify["lastEventId"] = after
    hello = _text_frame(msgspec.json.encode(identify))
    return [Request(head=head.encode(), hello=hello, ready=b'"identified"')] * count


def _text_frame(text: bytes) -> bytes:
    """Return a frame (RFC 6455) with a mask of zeros; at most 125 bytes."""
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


class _Reader(asyncio.Protocol):
    """Counts the events that arrive; a probe also keeps their delays in ms."""

    def __init__(self, request: Request, *, is_probe: bool) -> None:
        self.count = 0
        self.delays_ms: list[float] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._is_probe = is_probe
        self._tail: bytes = b""
        self._has_greeted = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # TCP only
        self._transport = transport
        transport.write(self._request.head)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        if not self.ready.done():
            self._tail = data
            if not self._has_greeted and b"\r\n\r\n" in data:
                self._has_greeted = True
                self._transport.write(self._request.hello)
            if self._request.ready not in data:
                return
            self.ready.set_result(None)
            data = data.partition(self._request.ready)[2]  # events may follow at once
        self.count += data.count(MARK)
        if self._is_probe:
            now_ms = time.time() * 1000
            self.delays_ms += [now_ms - int(each) for each in _ID.findall(data)]
        self._tail = data[1 - len(MARK) :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # its name is given
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"not in the room: {self._tail!r}"))


@contextmanager
def following(url: str, requests: list[Request]) -> Generator[Connection]:
    """Run ``read`` in a process of its own; yield the other end of its pipe."""
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=read, args=(url, requests, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


async def receive(pipe: Connection) -> Any:
    """Return what the readers say next."""
    if not await asyncio.to_thread(pipe.poll, PATIENCE_S):
        raise RuntimeError("the readers did not get all events")
    return pipe.recv()


async def catch_up_ms(url: str, request: Request, count: int) -> float:
    """Return how long one reader takes from its connection until it has ``count`` events."""
    parts = urlsplit(url)
    reader = _Reader(request, is_probe=False)
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE_S):
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: reader, parts.hostname or "", parts.port or 0
        )
        await reader.ready
        while reader.count < count:  # noqa: ASYNC110 # cheaper than events
            await asyncio.sleep(0.001)
    transport.close()
    return 1000 * (time.perf_counter() - began)


def read(url: str, requests: list[Request], pipe: Connection) -> None:
    """Follow the room, and tell ``pipe`` when all readers are in it.

    Afterwards ``pipe`` says how many events will follow. Once every reader has them, the answer is
    the probes' delays in ms.
    """
    raise_limit()
    # The fastest loop leaves most of the processors to what is measured.
    uvloop.run(_read(url, requests, pipe))


def _same(reader: _Reader) -> _Reader:
    return reader


async def _read(url: str, requests: list[Request], pipe: Connection) -> None:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    readers = [
        _Reader(request, is_probe=number % max(1, len(requests) // PROBES) == 0)
        for number, request in enumerate(requests)
    ]
    for first in range(0, len(readers), AT_ONCE):
        some = readers[first : first + AT_ONCE]
        for each in some:
            await loop.create_connection(
                partial(_same, each), parts.hostname or "", parts.port or 0
            )
        await asyncio.gather(*(each.ready for each in some))
    pipe.send(None)
    expected = 0
    while True:
        expected += await asyncio.to_thread(pipe.recv)
        while any(each.count < expected for each in readers):  # noqa: ASYNC110 # cheaper than events
            await asyncio.sleep(0.002)
        pipe.send([delay for each in readers for delay in each.delays_ms])
        for each in readers:
            each.delays_ms.clear()
