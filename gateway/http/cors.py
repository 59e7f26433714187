"""Let pages of other origins use the gateway: cross-origin resource sharing (CORS).

The setting ``cors_origins`` lists these origins exactly; by default it is empty. Their pages may
send credentials, read every answer and the headers in ``EXPOSED``, open event streams and
WebSockets, and use the session cookie where the browser sends it, which it does for sites of the
same domain only. For all other origins nothing changes.

A preflight is answered before authentication and rate limits. Its answer depends on the origin
alone, and a browser may reuse it for ``MAX_AGE_S``. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from typing import Any
from urllib.parse import urlsplit

Header = tuple[bytes, bytes]

MAX_AGE_S = 7_200
"""The longest that Chromium reuses the answer to a preflight."""

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"

ACCEPTED = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Traceparent"),
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"),
    *("Cache-Control", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
    *("Upload-Defer-Length", "Upload-Concat", "Upload-Checksum", "X-HTTP-Method-Override"),
    *(
        "X-Requested-With",
        "Content-Digest",
        "Repr-Digest",
        "Upload-Complete",
        "Content-Disposition",
    ),
    *("Upload-Draft-Interop-Version", "Want-Repr-Digest"),
)
"""Request headers that these pages may send."""

EXPOSED = (
    *("X-Log-Position", "X-Trace-Id", "ETag", "Location", "Retry-After", "RateLimit"),
    *("RateLimit-Policy", "WWW-Authenticate", "Allow", "Content-Disposition", "Content-Range"),
    *("Accept-Ranges", "Date", "Upload-Offset", "Upload-Length", "Upload-Expires"),
    *("Upload-Metadata", "Upload-Defer-Length", "Tus-Resumable", "Tus-Version", "Tus-Extension"),
    *("Tus-Max-Size", "Tus-Checksum-Algorithm", "Upload-Complete", "Upload-Concat", "Upload-Limit"),
    *("Upload-Draft-Interop-Version", "Content-Location", "Repr-Digest"),
)
"""Response headers that these pages may read, besides those that are always readable."""

_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Cors:
    """The origins of ``listed``, which are separated by commas; raises ValueError."""

    def __init__(self, listed: str = "") -> None:
        parts = [part.strip() for part in listed.split(",")]
        self.origins = frozenset(parse_origin(part) for part in parts if part)

    def allows(self, origin: str) -> bool:
        """Return whether the text of an ``Origin`` header is exactly one of the origins."""
        return origin in self.origins

    def headers(self, scope: Any) -> list[Header]:
        """Return the headers for the answer to any request but a preflight."""
        if not self.origins:
            return []
        origin = self._origin(scope)
        if origin is None:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", ", ".join(EXPOSED).encode()),
        ]

    def preflight(self, scope: Any) -> dict[str, str] | None:
        """Return the headers that ``headers`` does not, if the request is a preflight; else None.

        A preflight from another origin is an ordinary ``OPTIONS`` request.
        """
        asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
        if scope["method"] != "OPTIONS" or not asks or self._origin(scope) is None:
            return None
        return {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ", ".join(ACCEPTED),
            "Access-Control-Max-Age": str(MAX_AGE_S),
        }

    def _origin(self, scope: Any) -> bytes | None:
        """Return the request's origin; None if it is missing, repeated or not allowed."""
        sent = [value for name, value in scope["headers"] if name == b"origin"]
        if len(sent) != 1 or not self.allows(sent[0].decode("latin-1")):
            return None
        return sent[0]


def parse_origin(text: str) -> str:
    """Return the origin as browsers send it.

    Raises:
        ValueError: it is not a scheme, a host and perhaps a port, and nothing else.
    """
    advice = f"{text!r} is not an origin: write it like https://app.example.com"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(advice) from error
    host = parts.netloc.lower().removesuffix(f":{port}") if port is not None else parts.netloc
    host = host.lower()
    rest = text[len(parts.scheme) + len("://") + len(parts.netloc) :]
    if parts.scheme not in _DEFAULT_PORTS or rest or not _HOST.fullmatch(host):
        raise ValueError(advice)
    is_default = port in (None, _DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{port}"
