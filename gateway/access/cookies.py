"""Handle the cookie of a browser's session, and check the origin of requests that carry it.

A browser sends the cookie automatically. Therefore a request that changes state, and a WebSocket,
must also carry an ``Origin`` that is exactly this gateway: the same scheme, host and port.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from gateway.http.auth import Forbidden
from gateway.http.bearer import Connection
from gateway.http.peer import is_secure

COOKIE = "photolog_session"
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


def session_cookie(connection: Connection) -> str | None:
    """Return the secret of the browser's session; None without one."""
    return connection.cookies.get(cookie_name(connection))


def cookie_name(connection: Connection) -> str:
    return SECURE_COOKIE if is_secure(connection.scope) else COOKIE


def check_cookie_use(connection: Connection) -> None:
    """Raise Forbidden if a page of another site may have sent the cookie."""
    scope: Any = connection.scope
    # A WebSocket has no method, and its messages may change state.
    if scope.get("method") not in _SAFE_METHODS:
        check_origin(connection)


def check_origin(connection: Connection, *, required: bool = True) -> None:
    """Raise Forbidden unless the origin is exactly this gateway: the same scheme, host and port.

    A missing ``Origin``, as from a program, passes unless it is ``required``.
    """
    origin, host = connection.headers.get("origin"), connection.headers.get("host")
    if origin is None and not required:
        return
    scheme = "https" if is_secure(connection.scope) else "http"
    ours = f"{scheme}://{(host or '').lower().removesuffix(_DEFAULT_PORTS[scheme])}"
    theirs = _origin(origin or "")
    if host and theirs == ours:
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
