"""Metrics of a role that serves no HTTP otherwise: a small listener of its own.

| path in the data folder | what |
|---|---|
| ``metrics/<name>`` | the URL of the metrics of the role that is called so, while it runs |

It answers ``GET /metrics`` and nothing else, one request a connection, in the role's own event
loop: what it costs is bounded by ``AT_ONCE`` and ``PATIENCE_S``.
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
    """Serve what ``exposition`` writes for as long as the block lasts; ``port`` 0 takes a free one.

    Nobody has to sign in to ask, so ``host`` is best one that only Prometheus reaches.

    Raises:
        UserError: host or port cannot be used.
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
            pass  # it went away, or is none of ours
        except Exception as error:  # a bug, which asyncio would only log
            background.failed("metrics", error)
        finally:
            open_now -= 1
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES)
    except OSError as error:
        # asyncio's own words for a port in use are many.
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
    """Have the URL of the metrics in the data folder for as long as the block lasts.

    A disk that is full keeps no role from its work.
    """
    file = folder / METRICS / name
    draft = file.with_name(f".{name}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(f"{base_url}{PATH}\n", "utf-8")
        draft.replace(file)  # whoever finds it finds all of it
    except OSError as error:
        logger.warning("the URL of the metrics is not in %s: %s", file, error.strerror)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()


def forget(folder: Path) -> None:
    """Remove the URLs that roles left which were killed; for who knows that none runs."""
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
