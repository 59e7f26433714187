"""Handle the cookie of a browser's session, and check the origin of requests that carry it.

A browser sends the cookie automatically. Therefore a request that changes state, and a WebSocket,
must also carry an ``Origin`` that is exactly this gateway, with the same scheme, host and port, or
one that the setting ``cors_origins`` names.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from gateway.http.auth import Forbidden
from gateway.http.bearer import Connection
from gateway.http.cors import Cors
from gateway.http.peer import is_secure

COOKIE = "photolog_session"
SIGN_IN_COOKIE = "photolog_sign_in"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""The name over TLS: a browser accepts it only from exactly this host, with ``Secure``."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def new_cookie(connection: Connection, secret: str, max_age_s: int) -> Cookie:
    """Return the cookie of a session; an empty ``secret`` and an age of 0 remove it."""
    return Cookie(
        key=cookie_name(connection),
        value=secret,
        max_age=max_age_s,
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_secure(connection.scope),
    )


def new_sign_in_cookie(connection: Connection, value: str, max_age_s: int) -> Cookie:
    """Return the cookie that binds sign-ins at a provider to this browser.

    Unlike a session's, it comes along when the provider sends the browser back.
    """
    return Cookie(
        key=_named(connection, SIGN_IN_COOKIE),
        value=value,
        max_age=max_age_s,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_secure(connection.scope),
    )


def sign_in_cookie(connection: Connection) -> str | None:
    """Return the value of that cookie; None without one."""
    return connection.cookies.get(_named(connection, SIGN_IN_COOKIE))


def session_cookie(connection: Connection) -> str | None:
    """Return the secret of the browser's session; None without one."""
    return connection.cookies.get(cookie_name(connection))


def cookie_name(connection: Connection) -> str:
    return _named(connection, COOKIE)


def _named(connection: Connection, name: str) -> str:
    return f"__Host-{name}" if is_secure(connection.scope) else name


def check_cookie_use(connection: Connection, cors: Cors) -> None:
    """Raise Forbidden if a page of another site may have sent the cookie."""
    scope: Any = connection.scope
    # A WebSocket has no method, and its messages may change state.
    if scope.get("method") not in _SAFE_METHODS:
        check_origin(connection, cors)


def check_origin(connection: Connection, cors: Cors, *, required: bool = True) -> None:
    """Raise Forbidden unless the origin is exactly this gateway, or one that ``cors`` allows.

    A missing ``Origin``, as from a program, passes unless it is ``required``.
    """
    origin, host = connection.headers.get("origin"), connection.headers.get("host")
    if origin is None and not required:
        return
    scheme = "https" if is_secure(connection.scope) else "http"
    ours = f"{scheme}://{(host or '').lower().removesuffix(_DEFAULT_PORTS[scheme])}"
    theirs = _origin(origin or "")
    if host and (theirs == ours or cors.allows(origin or "")):
        return
    message = "The session cookie is only valid for requests from this site."
    if host and theirs.partition("://")[2] == ours.partition("://")[2]:
        message = (
            f"The page was loaded over {theirs.partition(':')[0]}, but its request reached the "
            f"gateway over {scheme}. If the gateway is behind a TLS proxy, add the proxy to "
            "PHOTOLOG_TRUSTED_PROXIES and let it send X-Forwarded-Proto."
        )
    raise Forbidden(message, code="cross-origin")


def _origin(text: str) -> str:
    """Return the origin in the form to compare: lower case, without the default port."""
    try:
        parts = urlsplit(text.lower())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ''))}"
