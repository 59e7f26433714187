"""Apply the gateway's rate limits: charge each request to the buckets of its client and address.

- A request with a valid token is charged to its client, and to its address in a bucket that only
  requests with valid tokens share. It takes tokens from all of its buckets or from none, so a
  client that is rejected costs its neighbours behind the same address nothing.
- Any other request is charged to its address in a separate bucket, so that a flood without tokens
  does not affect requests with tokens.
- An invalid token counts as a failed sign-in of its address. Tokens are verified first, which is
  cheap, and only failures are rejected: a valid token is accepted whatever its neighbours try. An
  expired token is not a failure, because it tells its sender nothing new.
- The files of the pages are charged to their address alone, in a bucket of their own: a browser
  never asks again for a module that got a 429, so a page would stay blank. They need no token, and
  none is looked at.
- Requests are charged before the work begins: before the body is read, the read model queried or
  a command executed. The bytes of an upload are charged by its Content-Length or, without one, as
  they arrive.
"""

import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import msgspec
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.access.access import Access
from gateway.dependencies import Dependencies, Socket
from gateway.http.auth import AuthError, Forbidden, Principal, Role
from gateway.http.bearer import Connection
from gateway.http.envelope import HEADERS
from gateway.http.peer import source_of
from gateway.http.problems import MEDIA_TYPE, Refused, document
from gateway.http.rate_limit_headers import Policy, Standing, fields, is_noted, note
from gateway.http.rate_limits import Allowance
from gateway.http.tracing import HEADER, trace_id
from store.clients.rate_limits import Bucket, Buckets, Table
from store.errors import StoreError

KIND = "rate_limit"
"""The key of a route handler's ``opt`` for the kind of its requests."""

UPLOAD = {KIND: "upload"}
APPEND = {KIND: "append"}
STREAM = {KIND: "stream"}
PAGE = {KIND: "page"}
WEBHOOK = {KIND: "webhook"}

UNLIMITED = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HARMLESS = frozenset(
    {
        *("missing-token", "expired-token", "revoked-token"),
        *("token-not-yet-valid", "expired-session"),
    }
)
"""Codes of an ``AuthError`` that do not count as an attempt to guess a token."""

OF_KIND: dict[str, tuple[str, ...]] = {
    "": ("requests",),
    "command": ("requests", "commands"),
    "webhook": ("requests", "commands", "webhook-changes"),
    "stream": ("requests", "streams"),
    "upload": ("requests", "uploads", "upload-bytes"),
    "append": ("requests", "upload-bytes"),
}

SOURCE_MAX = 64
"""The most characters of an address; a trusted proxy may forward any text."""

_DEBTORS = "photolog_upload_bytes"


class Throttle:
    """The rate limits of one gateway. Charging raises Refused, ``rate-limited``, at the limit."""

    def __init__(self, deps: Dependencies, access: Access) -> None:
        self._access = access
        self.buckets = Buckets(deps.log)
        self._deps = deps
        rates = deps.rates
        self._of_client = {role: self._policies(role) for role in Role}
        self._of_address = self._policies(None)
        self._anonymous = self._policy("anonymous", rates.rate_anonymous_per_address, "address")
        self._page_files = self._policy("page-files", rates.rate_page_files_per_address, "address")
        self._failures = self._policy("sign-in-failures", rates.rate_sign_in_failures, "address")
        self._messages = self._policy("messages", rates.rate_messages, "client")

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Share usage with other gateways while the block runs: a lifespan of the application."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deps.background.keep, "rate-limits", self.buckets.run)
            yield
            tasks.cancel_scope.cancel()

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Charge a request that has a route."""
        scope = cast("Any", connection.scope)
        if scope["type"] != "http" or scope["path"] in UNLIMITED:
            return
        principal, kind = scope.get("user"), handler.opt.get(KIND, "")
        if kind == PAGE[KIND]:
            await self._charge(scope, self._standings(scope, self._page_files))
            return
        if principal is None:  # the route needs no token, but the request may have one
            principal = await self._optional(connection)
        elif not kind and scope["method"] not in SAFE_METHODS:
            kind = "command"
        if principal is None:
            await self._charge(scope, self._standings(scope, self._anonymous))
        else:
            await self._charge_client(scope, principal, kind)

    async def admit_socket(self, scope: Any, principal: Principal) -> None:
        """Charge a WebSocket before it is opened."""
        await self._charge_client(scope, principal, "stream")

    def messages(self, principal: Principal) -> Bucket | None:
        """Return the bucket for the messages of all WebSockets of a client at this gateway.

        It outlives them, so a client that reconnects does not get a full bucket.
        """
        if self._messages is None:
            return None
        return self._messages.of(principal.subject, principal.client_id)

    async def admit_stranger(self, scope: Any, error: AuthError | Forbidden) -> None:
        """Charge a request or WebSocket without a valid token."""
        guessed = isinstance(error, AuthError) and error.code not in HARMLESS
        failures = self._failures if guessed else None
        await self._charge(scope, self._standings(scope, failures, self._anonymous))

    async def charge_failure(self, scope: Any, error: AuthError) -> None:
        """Charge a failed sign-in in addition to the request; raises RateLimited."""
        if error.code not in HARMLESS:
            await self._charge(scope, self._standings(scope, self._failures))

    def judge(self, scope: Any, error: Exception) -> Exception:
        """Charge a request without a route; return the error to answer with."""
        lost = isinstance(error, HTTPException) and error.status_code in (404, 405)
        if not lost or scope["path"] in UNLIMITED or is_noted(scope):
            return error
        standings = self._standings(scope, self._anonymous)
        note(scope, standings)
        for each in standings:
            if not self.buckets.take_known(each.bucket):
                return self._refused(each, 1)
        return error

    def of_client(self, principal: Principal) -> list[Standing]:
        """Return all limits of a client."""
        policies = {each for of in self._of_client[principal.role].values() for each in of}
        return [_standing(each, principal) for each in sorted(policies, key=lambda of: of.name)]

    def metered(self, scope: Any, receive: Receive) -> Receive:
        """Wrap ``receive`` to charge the bytes of an upload of unknown length as they arrive."""

        async def charging() -> Any:
            message = await receive()
            standings: list[Standing] = scope.get("state", {}).get(_DEBTORS, [])
            if standings and (body := message.get("body")):
                await self._take(standings, 0, len(body))
            return message

        return charging

    async def _optional(self, connection: Connection) -> Principal | None:
        try:
            return await self._access.identify(connection)
        except (Forbidden, Refused, StoreError):  # the route reports it itself if it matters
            return None
        except AuthError as error:
            await self.charge_failure(connection.scope, error)
            return None

    async def _charge_client(self, scope: Any, principal: Principal, kind: str) -> None:
        standings = [_standing(each, principal) for each in self._of_client[principal.role][kind]]
        at_address = self._standings(scope, *self._of_address[kind])
        size = 0
        if "upload-bytes" in OF_KIND[kind]:
            size = _length(scope)
            if size is None:
                everything = [*standings, *at_address]
                scope["state"][_DEBTORS] = [each for each in everything if each.policy.in_bytes]
        await self._charge(scope, standings, at_address, size=size or 0)

    async def _charge(
        self,
        scope: Any,
        standings: list[Standing],
        more: Sequence[Standing] = (),
        *,
        size: int = 0,
    ) -> None:
        """Take from all buckets; the answer reports ``standings`` and any that is exhausted."""
        note(scope, standings)
        try:
            await self._take([*standings, *more], 1, size)
        except RateLimited as refusal:
            if refusal.standing in more:
                note(scope, [*standings, refusal.standing])
            raise

    async def _take(self, standings: list[Standing], requests: int, size: int) -> None:
        size = min(size, self._deps.limits.max_upload_bytes)
        charges = {
            each: cost for each in standings if (cost := size if each.policy.in_bytes else requests)
        }
        empty = await self.buckets.take(*((each.bucket, charges[each]) for each in charges))
        if empty is not None:
            standing = next(each for each in charges if each.bucket is empty)
            raise self._refused(standing, charges[standing])

    def _refused(self, standing: Standing, cost: int) -> "RateLimited":
        self._deps.limited(standing.policy.name)
        return RateLimited(standing, standing.bucket.wait_s(cost, self.buckets.clock()))

    def _standings(self, scope: Any, *policies: Policy | None) -> list[Standing]:
        """Return the standings of the scope's address."""
        source = source_of(scope)[:SOURCE_MAX]
        return [Standing(each, each.of(source, source)) for each in policies if each is not None]

    def _policies(self, role: Role | None) -> dict[str, tuple[Policy, ...]]:
        """Return the policies of a client with the role, or of an address, by kind of request."""
        found: dict[str, Policy | None] = {}
        for name in {name for names in OF_KIND.values() for name in names}:
            setting = f"rate_{name.replace('-', '_')}"
            if role is None:
                allowance = getattr(self._deps.rates, f"{setting}_per_address")
                found[name] = self._policy(f"{name}-per-address", allowance, "address")
            else:
                allowance = getattr(getattr(self._deps.rates, setting), role.value)
                found[name] = self._policy(name, allowance, "client")
        return {
            kind: tuple(policy for name in names if (policy := found[name]) is not None)
            for kind, names in OF_KIND.items()
        }

    def _policy(self, name: str, allowance: Allowance | None, whose: str) -> Policy | None:
        if allowance is None:
            return None
        table = Table(
            name,
            allowance.tokens,
            allowance.window_s,
            self._deps.log,
            kept=self._deps.limits.rate_subjects_kept,
        )
        return Policy(name, allowance, table, whose=whose)


class Throttling:
    """Middleware around ``Authentication`` that charges the requests that it rejects."""

    def __init__(self, app: ASGIApp, throttle: Throttle) -> None:
        self.app = app
        self._throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_chunked(scope):
            receive = self._throttle.metered(scope, receive)
        try:
            await self.app(scope, receive, send)
        except (AuthError, Forbidden) as error:
            await self._throttle.admit_stranger(scope, error)
            raise


class RateLimited(Refused):
    """A bucket is exhausted; it may have enough tokens in ``wait_s`` seconds."""

    def __init__(self, standing: Standing, wait_s: float) -> None:
        policy = standing.policy
        seconds = max(1, math.ceil(wait_s))
        super().__init__(
            "rate-limited",
            f"The limit {policy.name} of this {policy.whose} is used up: {policy.words}.",
            headers={"Retry-After": str(seconds)},
        )
        self.standing = standing


async def refuse_handshake(socket: Socket, refused: Refused) -> None:
    """Answer the handshake of a WebSocket with a problem document instead of a connection."""
    scope = cast("Any", socket.scope)
    problem = document(refused.code, refused.detail, trace_id(scope))
    headers = [
        *HEADERS.items(),
        *fields(scope, time.monotonic()),
        *((name.lower().encode(), value.encode()) for name, value in refused.headers.items()),
        (b"content-type", MEDIA_TYPE.encode()),
        (HEADER.lower().encode(), trace_id(scope).encode()),
    ]
    start: Any = {
        "type": "websocket.http.response.start",
        "status": problem.status,
        "headers": headers,
    }
    body: Any = {"type": "websocket.http.response.body", "body": msgspec.json.encode(problem)}
    await socket.send(start)
    await socket.send(body)


def _standing(policy: Policy, principal: Principal) -> Standing:
    return Standing(policy, policy.of(principal.subject, principal.client_id))


def _length(scope: Any) -> int | None:
    """Return the Content-Length; None if there is none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None if _is_chunked(scope) else 0


def _is_chunked(scope: Any) -> bool:
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])
