"""The trace id of a request: the one of its W3C ``traceparent`` header, or a new one.

It goes into every event that the request leads to, into problems and logs, and comes back in
``X-Trace-Id``.
"""

import re
import secrets
from collections.abc import MutableMapping
from typing import Any, cast

HEADER = "X-Trace-Id"

# https://www.w3.org/TR/trace-context/: version, trace id, parent id, flags. Version ff is
# forbidden, a later version may be longer, and a trace id of zeros is none.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)

_KEY = "photolog_trace_id"


def trace_id(scope: Any) -> str:
    """32 hex digits, the same each time for one request."""
    state = cast("MutableMapping[str, Any]", scope.setdefault("state", {}))
    if _KEY not in state:
        state[_KEY] = _of_headers(scope["headers"]) or secrets.token_hex(16)
    return state[_KEY]


def _of_headers(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value.strip())):
            return match[1].decode()
    return None
