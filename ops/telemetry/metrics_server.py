"""Serve the metrics of a role that has no HTTP server otherwise.

| path in the data folder | content |
|---|---|
| ``metrics/<name>`` | the URL of the metrics of the role called ``<name>``, while it runs |

The server answers only ``GET /metrics``, one request per connection, in the role's event loop;
``AT_ONCE`` and ``PATIENCE_S`` bound its cost.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ops.errors import UserError
from ops.process.lock import base_url
from store.background import Background

logger = logging.getLogger("photolog")

METRICS = "metrics"
PATH = "/metrics"
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"

AT_ONCE = 16
"""Connections; more are closed at once."""

PATIENCE_S = 5.0
HEAD_BYTES = 8_192


@asynccontextmanager
async def metrics_served(
    exposition: Callable[[], bytes],
    folder: Path,
    name: str,
    host: str,
    port: int,
    *,
    background: Background | None = None,
) -> AsyncGenerator[None]:
    """Serve what ``exposition`` returns while the block runs; ``port`` 0 takes a free one.

    There is no authentication, so ``host`` should be an address that only Prometheus reaches.

    Raises:
        UserError: the host has no address, or the port is in use or forbidden.
    """
    open_now = 0
    background = background or Background()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= AT_ONCE:
                async with asyncio.timeout(PATIENCE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(_answer(head, exposition))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the peer closed the connection, or does not speak HTTP
        except Exception as error:  # a bug, which asyncio would only log
            background.failed("metrics", error)
        finally:
            open_now -= 1
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES)
    except OSError as error:
        # asyncio's own message for a port in use is long.
        unknown = isinstance(error, socket.gaierror)
        reason = error.strerror if unknown else os.strerror(error.errno or 0)
        raise UserError(
            "PHOTOLOG_METRICS_HOST, PHOTOLOG_METRICS_PORT: cannot listen on "
            f"port {port} of {host}: {reason}"
        ) from error
    with announced(folder, name, base_url(server.sockets[0])):
        try:
            yield
        finally:
            server.close()


@contextmanager
def announced(folder: Path, name: str, base_url: str) -> Generator[None]:
    """Keep the URL of the metrics in the data folder while the block runs.

    If the disk is full, the role runs without it.
    """
    file = folder / METRICS / name
    draft = file.with_name(f".{name}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(f"{base_url}{PATH}\n", "utf-8")
        draft.replace(file)  # atomically: readers find the whole URL
    except OSError as error:
        logger.warning("cannot write the URL of the metrics to %s: %s", file, error.strerror)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()


def forget(folder: Path) -> None:
    """Remove the URLs left by killed roles; call it only while no role runs."""
    for file in (folder / METRICS).glob("*"):
        file.unlink()


def _answer(head: bytes, exposition: Callable[[], bytes]) -> bytes:
    method, path, *_ = [*head.split(maxsplit=2), b"", b""]
    if (method, path.partition(b"?")[0]) != (b"GET", PATH.encode()):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = exposition()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (TEXT_FORMAT.encode(), len(body), body)
    )
