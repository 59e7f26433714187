"""Wrap every HTTP exchange, whatever its route: security headers, a trace id, an orderly end.

A HEAD is a GET whose answer ends after its headers (RFC 9110, section 9.3.2), so every route that
answers GET also answers HEAD, with the same headers. A route that works only for the body checks
``is_head`` first.

An answer may be ready while the request's body is still arriving, for example when an upload is
rejected. Closing the connection at that moment would reset it, and the sender would see the reset
instead of the answer. Therefore the answer is sent, the rest of the body is read and dropped for at
most ``linger_s``, and then the connection is closed. After a 408 the first pause ends that, because
most of these senders have gone silent; the others are slow, and still sending.
"""

import time
from collections.abc import Callable
from typing import Any, cast

import anyio
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import HTTPScope, Message, Receive, Send

from gateway.http.cors import Cors
from gateway.http.peer import is_secure
from gateway.http.rate_limit_headers import fields
from gateway.http.tracing import HEADER, trace_id

HEADERS: dict[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Default headers; a route may set its own values."""

STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Sent only over TLS: browsers then use nothing else for this host for a year (RFC 6797)."""

REQUEST_TIMEOUT = 408

PAUSE_S = 0.5
"""A sender that got a 408 and is silent for this long sends nothing more."""

CLIENT_CLOSED = 499
"""Counted, but not sent, when the sender disconnects before its body is complete."""

_HEAD = "photolog_head"


def as_get(scope: Any) -> Any:
    """Return the scope for the application, in which a HEAD is routed as a GET."""
    if scope["method"] != "HEAD":
        return scope
    return {**scope, "method": "GET", _HEAD: True}


def is_head(scope: Any) -> bool:
    """Return whether only the headers of the answer will be sent."""
    return _HEAD in scope


def methods_at(app: Litestar, template: str | None) -> set[str]:
    """Return the methods of the routes with this path, or of all routes if there is no path.

    Litestar itself answers OPTIONS with the methods of only one of several handlers.
    """
    return {
        str(method)
        for route in app.routes
        if isinstance(route, HTTPRoute) and template in (None, route.path_format)
        for method in route.methods
    }


class Envelope:
    """Stand between the server and the application for one exchange.

    ``cors`` says which pages of other origins may read the answer. ``answered`` gets the status
    when the answer begins; ``methods`` returns the methods of the address after it has been routed.
    """

    def __init__(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        *,
        linger_s: float,
        cors: Cors,
        answered: Callable[[int], None],
        methods: Callable[[], set[str]],
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._linger_s = linger_s
        self._cors = cors
        self._answered = answered
        self._methods = methods
        self._unread = _has_body(scope)
        self._asked = False
        self._cut = False
        self._ended = False
        self._status = 0

    async def receive(self) -> Any:
        self._asked = True
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._unread:
            self._cut = True
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._answered(CLIENT_CLOSED if self._cut else self._status)
            headers = list(message["headers"])
            message["headers"] = headers
            self._complete(headers)
            await self._send(message)
            if self._scope["method"] != "HEAD":
                return
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        self._ended = not message.get("more_body", False)
        if self._ended and self._unread:
            await self._linger(message)
        else:
            await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> None:
        if self._scope["method"] == "OPTIONS" and self._status == 204:
            headers[:] = [each for each in headers if each[0].lower() != b"allow"]
            headers.append((b"allow", ", ".join(self._methods()).encode()))
        for at, (name, value) in enumerate(headers):
            if name.lower() == b"allow":
                headers[at] = name, _all_methods(value)
        present = {name.lower() for name, _ in headers}
        headers.extend((name, value) for name, value in HEADERS.items() if name not in present)
        headers.extend(self._cors.headers(self._scope))
        headers.extend(fields(self._scope, time.monotonic()))
        if is_secure(self._scope):
            headers.append(STRICT_TRANSPORT)
        headers.append((HEADER.lower().encode(), trace_id(self._scope).encode()))
        if self._unread:
            headers.append((b"connection", b"close"))

    async def _linger(self, last: Message) -> None:
        await self._send(cast("Message", {**last, "more_body": True}))
        awaits_continue = b"expect" in dict(self._scope["headers"]) and not self._asked
        if not awaits_continue:
            pause_s = PAUSE_S if self._status == REQUEST_TIMEOUT else self._linger_s
            with anyio.move_on_after(self._linger_s):
                await self._drop_body(pause_s)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop_body(self, pause_s: float) -> None:
        """Read the rest of the body until it ends, or nothing comes for ``pause_s``."""
        while self._unread:
            with anyio.move_on_after(pause_s) as pause:
                await self.receive()
            if pause.cancelled_caught:
                return


def _all_methods(allowed: bytes) -> bytes:
    """Add OPTIONS, and HEAD next to GET, to the methods of an ``Allow`` header."""
    methods = {method.strip() for method in allowed.split(b",")} | {b"OPTIONS"}
    if b"GET" in methods:
        methods.add(b"HEAD")
    return b", ".join(sorted(method for method in methods if method.isupper()))


def _has_body(scope: HTTPScope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
