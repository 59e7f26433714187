"""Read the header ``Idempotency-Key``, as a plain value or as a structured field.

| header | key |
|---|---|
| ``one`` | ``one``, as it always was |
| ``"one"`` | ``one``: a string (RFC 9651), as in draft-ietf-httpapi-idempotency-key-header-07 |
"""

import re
from typing import Any

from litestar import Request

from gateway.http.problems import Refused

KEY_MAX = 200

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"', re.ASCII)


def checked_key(request: Request[Any, Any, Any], key: str | None) -> str | None:
    """Return the key of the header, None without one; raises Refused."""
    if len(set(request.headers.getall("idempotency-key", []))) > 1:
        raise Refused(
            "invalid-idempotency-key",
            "The request has several Idempotency-Key headers.",
            advice="Send one.",
        )
    if key is None and "idempotency-key" not in request.headers:
        return None
    key = key or ""
    if (string := _STRING.fullmatch(key)) is not None:
        key = re.sub(r"\\(.)", r"\1", string[1])
    if not (0 < len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        raise Refused(
            "invalid-idempotency-key",
            f"The Idempotency-Key must have 1 to {KEY_MAX} printable ASCII characters.",
        )
    return key
