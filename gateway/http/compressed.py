"""Send long answers in gzip: a list of photos in JSON shrinks to a tenth.

Only for routes whose answers hold no secret: the length of a compressed answer tells something
about its content.
"""

import gzip
from typing import Any

from anyio import to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

SHORTEST = 1_000
"""Shorter bodies, in bytes, gain nothing."""

LEVEL = 1
"""Higher levels take several times as long and gain little."""


class Compressed:
    """Middleware that compresses an answer with one body, if the client reads gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = accepts_gzip(_accepted(scope))
        start: Any = None

        async def sending(message: Any) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message  # its headers depend on the body
                _vary(start["headers"])
                return
            if start is not None:
                whole = not message.get("more_body", False)
                if wanted and whole and len(message["body"]) >= SHORTEST:
                    packed = await to_thread.run_sync(_packed, message["body"])
                    message = {**message, "body": packed}
                    _describe(start["headers"], packed)
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, sending)


def accepts_gzip(header: str) -> bool:
    """Return whether the header Accept-Encoding names gzip, and not with the weight 0."""
    for each in header.lower().split(","):
        name, _, weight = each.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False


def _accepted(scope: Any) -> str:
    values = [value for name, value in scope["headers"] if name == b"accept-encoding"]
    return b",".join(values).decode("latin-1")


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def _vary(headers: list[tuple[bytes, bytes]]) -> None:
    before = [value for name, value in headers if name.lower() == b"vary"]
    headers[:] = [each for each in headers if each[0].lower() != b"vary"]
    headers.append((b"vary", b", ".join([*before, b"Accept-Encoding"])))


def _describe(headers: list[tuple[bytes, bytes]], packed: bytes) -> None:
    headers[:] = [each for each in headers if each[0].lower() != b"content-length"]
    headers.append((b"content-length", str(len(packed)).encode()))
    headers.append((b"content-encoding", b"gzip"))
