"""A proxy between a client and a server, in which a test can cause faults."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

NOT_IMPLEMENTED = (
    b"HTTP/1.1 501 Not Implemented\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 48\r\n\r\n<Error><Code>NotImplemented</Code></Error>      "
)


class Proxy:
    """Forward bytes between 127.0.0.1 and the port of a server there.

    ``delay_s`` is how long each reply is held back. The reply to a request that contains the bytes
    ``lose`` is lost, once; a request that contains ``refuse`` is answered with 501 and not
    forwarded. ``spoil`` gets each piece of a reply, and returns what is forwarded instead; None
    closes the connection.
    """

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.lose: bytes | None = None
        self.refuse: bytes | None = None
        self.spoil: Callable[[bytes], bytes | None] | None = None
        self.url = ""
        self._port = port
        self._ways: set[asyncio.Task[None]] = set()

    async def serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Serve one connection until it ends."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        losing = asyncio.Event()

        async def ask() -> None:
            while data := await from_client.read(1 << 16):
                if self.refuse is not None and self.refuse in data:
                    to_client.write(NOT_IMPLEMENTED)
                    return
                if self.lose is not None and self.lose in data:
                    self.lose = None
                    losing.set()
                to_server.write(data)
                await to_server.drain()

        async def answer() -> None:
            while data := await from_server.read(1 << 16):
                if losing.is_set():
                    return
                await asyncio.sleep(self.delay_s)
                spoiled = data if self.spoil is None else self.spoil(data)
                if spoiled is None:
                    return
                to_client.write(spoiled)
                await to_client.drain()

        ways = {asyncio.create_task(ask()), asyncio.create_task(answer())}
        self._ways |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._ways -= ways
        for writer in (to_client, to_server):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def cut(self) -> None:
        """End all connections."""
        while self._ways:
            for way in self._ways:
                way.cancel()
            await asyncio.sleep(0)


@asynccontextmanager
async def proxied(port: int) -> AsyncGenerator[Proxy]:
    """Run a proxy for the server on the port."""
    proxy = Proxy(port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listener:
        proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield proxy
        await proxy.cut()
