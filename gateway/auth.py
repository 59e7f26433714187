"""Who is asking: signed tokens, and the middleware that turns them into a ``Principal``.

A token is a JWT (RFC 7519) signed with HMAC-SHA256. It comes in ``Authorization: Bearer``, or in
the cookie that ``POST /api/login`` sets; never in a URL, where logs and histories keep it. A
browser sends the cookie by itself, so with a cookie whatever changes state, and a WebSocket, must
also carry an ``Origin`` that is this very host.
"""

import enum
import math
import re
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import jwt
import msgspec
from litestar.connection import ASGIConnection
from litestar.middleware.authentication import (
    AbstractAuthenticationMiddleware,
    AuthenticationResult,
)
from litestar.types import ASGIApp

COOKIE = "photolog_token"
ISSUER = "photolog"
LEEWAY_S = 5
"""How far the clocks of two machines may be apart."""

MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: at least as long as the hash
MAX_TOKEN_CHARS = 4096
CLIENT_ID = re.compile(r"[A-Za-z0-9._@-]{1,64}", re.ASCII)
"""Client ids become parts of Redis keys and room names."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Role(enum.StrEnum):
    """What a principal may do: its own photos, everything, or read everything."""

    CLIENT = "client"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. ``expires`` is when the token ends, in seconds since 1970.

    ``token_id`` is the token's ``jti``; empty where it has none.
    """

    client_id: str
    role: Role = Role.CLIENT
    expires: float = math.inf
    token_id: str = ""

    @property
    def actor(self) -> str:
        """How events name this principal."""
        return f"{self.role.value}:{self.client_id}"

    @property
    def own(self) -> str | None:
        """The client whose photos alone exist for this principal; None if all do."""
        return self.client_id if self.role is Role.CLIENT else None

    def may_see(self, client_id: str) -> bool:
        """Whether the photos of ``client_id`` exist for this principal."""
        return self.role is not Role.CLIENT or self.client_id == client_id


class _Claims(msgspec.Struct, frozen=True):
    sub: Annotated[str, msgspec.Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z")]
    role: Role
    exp: float
    jti: str = ""


class AuthError(Exception):
    """Nobody we know: ``missing-token``, ``invalid-token`` or ``expired-token``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Forbidden(Exception):
    """Known, and not allowed: ``forbidden``, or ``cross-origin`` for a cookie from another site."""

    def __init__(self, message: str, *, code: str = "forbidden") -> None:
        super().__init__(message)
        self.code = code


class Tokens:
    """Issues and verifies the tokens of one secret."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the token secret needs at least {MIN_SECRET_BYTES} bytes")
        self._secret = secret

    def issue(self, client_id: str, role: Role | str, ttl_s: float, now: float) -> str:
        """A token for ``ttl_s`` seconds from ``now``, in seconds since 1970.

        Raises:
            ValueError: the id has other characters than letters, digits and ``._@-``, or more than
                64 of them; or there is no such role.
        """
        if not CLIENT_ID.fullmatch(client_id):
            given = repr(client_id) if client_id else "the empty text"
            raise ValueError(f"{given} is no client id: use 1 to 64 letters, digits and ._@-")
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": client_id,
            "role": Role(role).value,
            "iat": int(now),
            "exp": int(now + ttl_s),
        }
        return jwt.encode(  # pyright: ignore[reportUnknownMemberType] # types of the library
            claims, self._secret, algorithm="HS256"
        )

    def verify(self, token: str) -> Principal:
        """Raises AuthError."""
        if len(token) > MAX_TOKEN_CHARS:
            raise AuthError("invalid-token", "The token is too long.")
        try:
            claims = jwt.decode(  # pyright: ignore[reportUnknownMemberType] # types of the library
                token,
                self._secret,
                algorithms=["HS256"],
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": ["iss", "sub", "role", "iat", "exp"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise AuthError("expired-token", "The token has expired.") from error
        except jwt.InvalidTokenError as error:
            raise AuthError("invalid-token", "The token is not one of ours.") from error
        try:
            said = msgspec.convert(claims, _Claims)
        except msgspec.ValidationError as error:
            raise AuthError("invalid-token", "The token names no client or no role.") from error
        return Principal(client_id=said.sub, role=said.role, expires=said.exp, token_id=said.jti)


def bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The token of the ``Authorization`` header, if there is one."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def identify(connection: ASGIConnection[Any, Any, Any, Any], tokens: Tokens) -> Principal | None:
    """Who is asking; None if there is no token at all.

    Raises:
        AuthError: there is a token, and it is not good.
        Forbidden: the cookie came with a request that another site may have made.
    """
    if (token := bearer(connection)) is not None:
        return tokens.verify(token)
    if (token := connection.cookies.get(COOKIE)) is None:
        return None
    if _changes_state(connection) and not same_origin(connection):
        raise Forbidden("A cookie counts only for requests of this site.", code="cross-origin")
    return tokens.verify(token)


def authenticate(connection: ASGIConnection[Any, Any, Any, Any], tokens: Tokens) -> Principal:
    """Return who is asking; raises as ``identify``, and AuthError if nobody says so."""
    principal = identify(connection, tokens)
    if principal is None:
        raise AuthError("missing-token", "This needs a token.")
    return principal


def same_origin(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the browser says that a page of this very host makes the request."""
    origin = connection.headers.get("origin")
    host = connection.headers.get("host")
    return origin is not None and host is not None and _host_of(origin) == host.lower()


def writer(principal: Principal) -> Principal:
    """The same principal, if it may change anything; raises Forbidden."""
    if principal.role is Role.AUDITOR:
        raise Forbidden("Auditors read; they change nothing.")
    return principal


def operator(principal: Principal) -> Principal:
    """The same principal, if it may steer the system; raises Forbidden."""
    if principal.role is not Role.OPERATOR:
        raise Forbidden("Only operators steer the system.")
    return principal


def overseer(principal: Principal) -> Principal:
    """The same principal, if it may see all of the system; raises Forbidden."""
    if principal.role is Role.CLIENT:
        raise Forbidden("Only operators and auditors see all of the system.")
    return principal


def seconds_left(principal: Principal) -> int:
    return max(0, int(principal.expires - time.time()))


def _changes_state(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    scope: Any = connection.scope
    # A WebSocket has no method, and may change state by what it says.
    return scope.get("method") not in _SAFE_METHODS


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class Authentication(AbstractAuthenticationMiddleware):
    """Puts the ``Principal`` in ``request.user``, for all routes but those that opt out.

    A route opts out with ``exclude_from_auth=True``.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        super().__init__(app)
        self._tokens = tokens

    async def authenticate_request(
        self, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> AuthenticationResult:
        return AuthenticationResult(user=authenticate(connection, self._tokens), auth=None)
