"""What every HTTP exchange has, whatever its route: security headers, a trace id, a decent end.

An answer may be ready while the request's body is still coming, as when an upload is refused.
Closing the connection then would reset it, and the sender would see that instead of the answer. So
the answer is sent, the rest of the body is read and dropped for at most ``linger_s``, and then the
connection is closed.
"""

from collections.abc import Callable
from typing import Any, cast

import anyio
from litestar.types import HTTPScope, Message, Receive, Send

from gateway.peer import is_secure
from gateway.tracing import HEADER, trace_id

HEADERS: dict[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Sent where the route says nothing else."""

STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Sent over TLS alone: for a year the browser asks this host by no other way (RFC 6797)."""

REQUEST_TIMEOUT = 408
"""Its sender is silent: there is nothing to linger for."""


class Envelope:
    """Stands between the server and the application for one exchange.

    ``answered`` is told the status when the answer begins.
    """

    def __init__(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        *,
        linger_s: float,
        answered: Callable[[int], None],
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._linger_s = linger_s
        self._answered = answered
        self._unread = _has_body(scope)
        self._asked = False
        self._status = 0

    async def receive(self) -> Any:
        self._asked = True
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._answered(self._status)
            headers = list(message["headers"])
            message["headers"] = headers
            self._complete(headers)
        elif self._unread and not message.get("more_body", False):
            await self._linger(message)
            return
        await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> None:
        said = {name.lower() for name, _ in headers}
        headers.extend((name, value) for name, value in HEADERS.items() if name not in said)
        if is_secure(self._scope):
            headers.append(STRICT_TRANSPORT)
        headers.append((HEADER.lower().encode(), trace_id(self._scope).encode()))
        if self._unread:
            headers.append((b"connection", b"close"))

    async def _linger(self, last: Message) -> None:
        await self._send(cast("Message", {**last, "more_body": True}))
        waits_to_be_asked = b"expect" in dict(self._scope["headers"]) and not self._asked
        if self._status != REQUEST_TIMEOUT and not waits_to_be_asked:
            with anyio.move_on_after(self._linger_s):
                while self._unread:
                    await self.receive()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(scope: HTTPScope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
