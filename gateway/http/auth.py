"""Issue and verify signed tokens, and say what their ``Principal`` may do.

A token is a JWT (RFC 7519) signed with HMAC-SHA256. It is sent in ``Authorization: Bearer``, never
in a URL, which logs and browser histories keep. A browser has a session instead, see
``gateway.access.access`` and ``gateway.access.cookies``.

The command line issues tokens too. So this imports neither Litestar nor the Redis client, which
would double the time that a command takes to start.
"""

import hmac
import math
import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

import jwt
import msgspec

from domain.clients.api_keys import token_id_of
from domain.clients.revocations import CLOCK_LEEWAY
from domain.pipeline.stages import lane
from gateway.http.roles import PRIORITY_HIGH, SCOPES_OF, Role
from store.clients.credential_place import CredentialPlace
from store.clients.provider_sign_in import ProviderSignIn

ISSUER = "photolog"
LEEWAY_S = CLOCK_LEEWAY.total_seconds()

LONGEST_LIFE_S = 30 * 86_400.0
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: at least as long as the hash
MAX_TOKEN_CHARS = 4096
TOKEN_ID_BYTES = 10
CLIENT_ID = re.compile(r"[A-Za-z0-9._@-]{1,64}", re.ASCII)
"""Restricts client ids, which become parts of Redis keys and room names."""

CLIENT_ID_FORM = "1 to 64 letters, digits and ._@-"

NAME = re.compile(r"[^\W\d_][\w .'@-]{0,63}")
"""The name of a person: letters and digits of any script, spaces, and ``.'@-_`` between them."""

NOT_VERIFIED = "The token is malformed, or this gateway did not sign it."

SCOPES = frozenset({PRIORITY_HIGH})
"""Scopes that a token can have in addition to those of its role."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The sender of a request, and the token, session or key that it used.

    ``token_id``, ``key_id`` and ``issued`` are those of the token, or of the token that began the
    session; tokens issued by older versions have no ids. ``session`` is the browser's session.
    ``name`` is that of the person, if the token has it. ``api_key`` is the id of the API key, and
    ``granted`` its scopes; without a key, the role and the ``scopes`` of the token count.
    ``provider`` is the issuer that the person signed in with, instead of a token, and
    ``provider_sign_in`` what its sign-outs are compared with. Times are in seconds since 1970.
    """

    client_id: str
    role: Role = Role.CLIENT
    scopes: frozenset[str] = frozenset()
    token_id: str | None = None
    key_id: str | None = None
    issued: float = 0.0
    expires: float = math.inf
    session: CredentialPlace | None = None
    name: str | None = None
    api_key: str | None = None
    granted: frozenset[str] | None = None
    provider: str | None = None
    provider_sign_in: ProviderSignIn | None = None

    @property
    def actor(self) -> str:
        """Return the name of this principal in events; operators and auditors by their own name.

        A client's API key is named too, after a sign that no client id contains.
        """
        if self.role is Role.CLIENT:
            return (
                self.subject
                if self.api_key is None
                else f"{self.subject}+{token_id_of(self.api_key)}"
            )
        return f"{self.role.value}:{self.name or self.client_id}"

    @property
    def subject(self) -> str:
        """Return whose rate limits and turns count, which a name or a key does not change."""
        return f"{self.role.value}:{self.client_id}"

    @property
    def own(self) -> str | None:
        """Return the only client whose photos this principal can see; None if it sees all."""
        return self.client_id if self.role is Role.CLIENT else None

    def may_see(self, client_id: str) -> bool:
        """Return whether this principal can see the photos of ``client_id``."""
        return self.role is not Role.CLIENT or self.client_id == client_id

    def may(self, scope: str) -> bool:
        """Return whether the key has the scope or, without a key, the role or the token."""
        if self.granted is not None:
            return scope in self.granted
        return scope in SCOPES_OF[self.role] or scope in self.scopes & SCOPES


class _Claims(msgspec.Struct, frozen=True):
    """The claims of a token; ``scope`` is separated by spaces (RFC 8693, section 4.2)."""

    sub: Annotated[str, msgspec.Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z")]
    role: Role
    iat: float
    exp: float
    nbf: float = -math.inf
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    scope: str = ""
    name: str | None = None


class AuthError(Exception):
    """The sender is unknown: ``missing-token``, ``invalid-token``, ``expired-token`` and others."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Forbidden(Exception):
    """The sender may not do this: ``forbidden``, ``cross-origin`` or ``scope-required``.

    Without ``advice``, the answer has the advice of the code.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "forbidden",
        scope: str | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.scope = scope
        self.advice = advice


class Key(msgspec.Struct, frozen=True, dict=True):
    """A key that signs tokens, and verifies them until ``until``, in seconds since 1970."""

    secret: bytes
    until: float = math.inf

    @cached_property
    def id(self) -> str:
        """Return the ``kid`` of its tokens, derived from the secret so that all hosts agree."""
        return hmac.digest(self.secret, b"photolog key id", "sha256").hex()[:12]


class Tokens:
    """Issue tokens with the first of several keys, and verify them with any.

    ``keys`` is one secret, the keys, or a function that returns the current keys.
    """

    def __init__(
        self,
        keys: bytes | Sequence[Key] | Callable[[], Sequence[Key]],
        *,
        longest_life_s: float = LONGEST_LIFE_S,
    ) -> None:
        if isinstance(keys, bytes):
            keys = (Key(keys),)
        self._keys: Callable[[], Sequence[Key]] = keys if callable(keys) else lambda: keys
        self.longest_life_s = longest_life_s
        if any(len(key.secret) < MIN_SECRET_BYTES for key in self._keys()):
            raise ValueError(f"a secret that signs tokens needs at least {MIN_SECRET_BYTES} bytes")

    def knows(self, key_id: str) -> bool:
        """Return whether tokens of that key are accepted now."""
        now = time.time()
        return any(key.id == key_id and key.until > now for key in self._keys())

    def issue(
        self,
        client_id: str,
        role: Role | str,
        ttl_s: float,
        now: float,
        scopes: Collection[str] = (),
        name: str | None = None,
    ) -> str:
        """Return a token for ``ttl_s`` seconds from ``now``, in seconds since 1970.

        ``name`` is that of the person, as it appears in events.

        Raises:
            ValueError: the id is not 1 to 64 letters, digits and ``._@-``; the role or a scope does
                not exist; the name is not as ``NAME``; or the lifetime exceeds ``longest_life_s``.
        """
        if not CLIENT_ID.fullmatch(client_id):
            raise ValueError(
                f"{client_id!r} is not a valid client id: use 1 to 64 letters, digits and ._@-"
            )
        if name is not None and not is_name(name):
            raise ValueError(
                f"{name!r} is not a valid name: begin with a letter, and use at most 64 letters, "
                "digits, spaces and .'@-_"
            )
        if unknown := sorted(set(scopes) - SCOPES):
            raise ValueError(f"unknown scope {unknown[0]!r}: use {', '.join(sorted(SCOPES))}")
        if ttl_s > self.longest_life_s:
            raise ValueError(
                f"a token may be valid for at most {_days(self.longest_life_s)} "
                f"(PHOTOLOG_TOKEN_TTL_MAX_S), not {_days(ttl_s)}"
            )
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": client_id,
            "role": Role(role).value,
            "jti": secrets.token_hex(TOKEN_ID_BYTES),
            # To the millisecond: a token issued right after its client's revocation is valid.
            "iat": math.floor(now * 1000) / 1000,
            "exp": int(now + ttl_s),
        }
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))
        if name is not None:
            claims["name"] = name
        key = self._keys()[0]
        return jwt.encode(  # pyright: ignore[reportUnknownMemberType] # types of the library
            claims, key.secret, algorithm="HS256", headers={"kid": key.id}
        )

    def verify(self, token: str) -> Principal:
        """Return the principal of the token, even of a revoked one; raises AuthError."""
        if len(token) > MAX_TOKEN_CHARS:
            raise AuthError(
                "invalid-token", f"The token has more than {MAX_TOKEN_CHARS} characters."
            )
        claims, key_id = self._decode(token)
        try:
            found = msgspec.convert(claims, _Claims)
        except msgspec.ValidationError as error:
            raise AuthError(
                "invalid-token", "The token lacks a valid client id or role."
            ) from error
        if found.name is not None and not is_name(found.name):
            raise AuthError("invalid-token", "The name in the token is malformed.")
        self._check_times(found, time.time())
        return Principal(
            client_id=found.sub,
            role=found.role,
            scopes=frozenset(found.scope.split()),
            token_id=found.jti,
            key_id=key_id,
            issued=found.iat,
            expires=found.exp,
            name=found.name,
        )

    def _decode(self, token: str) -> tuple[dict[str, Any], str]:
        """Return the claims and the id of the key; try every key if the token has no ``kid``."""
        now = time.time()
        try:
            named = jwt.get_unverified_header(token).get("kid")
            keys = [k for k in self._keys() if k.until > now and named in (None, k.id)]
            for key in keys:
                try:
                    return jwt.decode(  # pyright: ignore[reportUnknownMemberType] # types of the library
                        token,
                        key.secret,
                        algorithms=["HS256"],
                        issuer=ISSUER,
                        options={
                            "require": ["iss", "sub", "role", "iat", "exp"],
                            # ``_check_times`` checks these; its errors mention the clock.
                            "verify_exp": False,
                            "verify_iat": False,
                            "verify_nbf": False,
                        },
                    ), key.id
                except jwt.InvalidSignatureError:
                    continue
        except jwt.InvalidTokenError as error:
            raise AuthError("invalid-token", NOT_VERIFIED) from error
        raise AuthError("invalid-token", NOT_VERIFIED)

    def _check_times(self, claims: _Claims, now: float) -> None:
        clock = f"this gateway's clock says {_time(now)}"
        if not claims.exp > now - LEEWAY_S:
            raise AuthError("expired-token", f"The token expired at {_time(claims.exp)}; {clock}.")
        begins = max(claims.iat, claims.nbf)
        if not begins <= now + LEEWAY_S:
            raise AuthError(
                "token-not-yet-valid",
                f"The token is valid from {_time(begins)} on; {clock}: the clock of the machine "
                "that issued it is ahead, or this one is behind.",
            )
        if not claims.exp - claims.iat <= self.longest_life_s:
            raise AuthError(
                "invalid-token",
                f"The token is valid for {_days(claims.exp - claims.iat)}; this gateway accepts at "
                f"most {_days(self.longest_life_s)}.",
            )


def _days(seconds: float) -> str:
    if seconds < 86_400:
        return f"{seconds:.0f} seconds"
    days = round(seconds / 86_400, 1)
    return "1 day" if days == 1 else f"{days:g} days"


def _time(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"


def is_name(text: str) -> bool:
    """Return whether the text can be a person's name in a token and in events."""
    return bool(NAME.fullmatch(text)) and text.strip() == text and text.isprintable()


def writer(principal: Principal) -> Principal:
    """Return the principal if it may make changes; raises Forbidden."""
    if principal.role is Role.AUDITOR:
        raise Forbidden("Auditors may read everything and change nothing.")
    return principal


def operator(principal: Principal) -> Principal:
    """Return the principal if it may operate the system; raises Forbidden."""
    if principal.role is not Role.OPERATOR:
        raise Forbidden("Only operators may do this.")
    return principal


def overseer(principal: Principal) -> Principal:
    """Return the principal if it may see the whole system; raises Forbidden."""
    if principal.role is Role.CLIENT:
        raise Forbidden("Only operators and auditors may see this.")
    return principal


def check_priority_allowed(principal: Principal, priority: int) -> None:
    """Raise Forbidden, ``scope-required``, if the principal may not use the high lane."""
    if priority >= 1 and lane(priority) == "high" and not principal.may(PRIORITY_HIGH):
        raise Forbidden(
            f"Priority {priority} needs the scope {PRIORITY_HIGH}; 4 to 10 need none.",
            code="scope-required",
            scope=PRIORITY_HIGH,
        )


def seconds_left(principal: Principal) -> int:
    return max(0, int(principal.expires - time.time()))
