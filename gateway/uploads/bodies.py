"""Read the body of an upload as it arrives, for as long as it keeps arriving."""

import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from litestar import Request

from gateway.http.limits import Limits
from gateway.http.problems import Refused, body_incomplete


async def body_of(request: Request[Any, Any, Any], limits: Limits) -> AsyncGenerator[bytes]:
    """Yield the body in chunks that are not empty; the caller limits its size.

    Raises:
        Refused: ``upload-stalled``, ``body-incomplete``.
    """
    give_up = time.monotonic() + limits.slow_upload_s
    more = True
    while more:
        patience_s = min(limits.upload_patience_s, give_up - time.monotonic())
        message: Any = None
        with anyio.move_on_after(patience_s):
            message = await request.receive()
        if message is None:
            raise Refused("upload-stalled", "The upload did not arrive in time.")
        if message["type"] == "http.disconnect":
            raise body_incomplete()
        chunk, more = message.get("body", b""), message.get("more_body", False)
        if chunk:
            yield chunk


def too_large(limits: Limits) -> str:
    """Return the sentence about the largest photo."""
    return f"A photo may have at most {shown_size(limits.max_upload_bytes)}."


def shown_size(size_bytes: int) -> str:
    """Return the size in decimal units (powers of 1000), like the settings."""
    unit, length = next(
        (each for each in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)) if size_bytes >= each[1]),
        ("bytes", 1),
    )
    return f"{size_bytes / length:g} {unit}"
