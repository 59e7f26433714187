"""The cookie that holds a browser's session, and where requests that carry it may come from.

A browser sends the cookie by itself, so with it whatever changes state, and a WebSocket, must also
carry an ``Origin`` that is this very gateway: the same scheme, host and port.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from gateway.http.auth import Connection, Forbidden
from gateway.http.peer import is_secure

COOKIE = "photolog_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Over TLS: a browser takes it only from this very host, and only with ``Secure``."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def new_cookie(connection: Connection, secret: str, max_age_s: int) -> Cookie:
    """The cookie of a session; an empty ``secret`` and age remove it."""
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
    """The secret of the browser's session, if there is one."""
    return connection.cookies.get(cookie_name(connection))


def cookie_name(connection: Connection) -> str:
    return SECURE_COOKIE if is_secure(connection.scope) else COOKIE


def check_cookie_use(connection: Connection) -> None:
    """Raise Forbidden where a cookie may have been sent by a page of another site."""
    scope: Any = connection.scope
    # A WebSocket has no method, and may change state by what it says.
    if scope.get("method") not in _SAFE_METHODS:
        check_origin(connection)


def check_origin(connection: Connection, *, required: bool = True) -> None:
    """Raise Forbidden unless a page of this very gateway asks: the same scheme, host and port.

    A program sends no ``Origin``; where it is not ``required`` that is fine.
    """
    origin, host = connection.headers.get("origin"), connection.headers.get("host")
    if origin is None and not required:
        return
    scheme = "https" if is_secure(connection.scope) else "http"
    ours = f"{scheme}://{(host or '').lower().removesuffix(_DEFAULT_PORTS[scheme])}"
    theirs = _origin(origin or "")
    if host and theirs == ours:
        return
    message = "A cookie counts only for requests of this site."
    if host and theirs.partition("://")[2] == ours.partition("://")[2]:
        message = (
            f"The page was loaded over {theirs.partition(':')[0]}, and the gateway was asked over "
            f"{scheme}. If a TLS proxy stands in front of it, name it in PHOTOLOG_TRUSTED_PROXIES "
            "and let it send X-Forwarded-Proto."
        )
    raise Forbidden(message, code="cross-origin")


def _origin(text: str) -> str:
    """An origin as it is compared: in lower case, without the default port."""
    try:
        parts = urlsplit(text.lower())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ''))}"
