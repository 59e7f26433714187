"""Identify the trace of a request: that of its W3C ``traceparent`` header, or a new one.

The trace id goes into every event that the request causes, into problems and log lines, and into
the answer's ``X-Trace-Id``. The flags are ignored: the operator decides whether spans are exported.
"""

import re
import secrets
from collections.abc import MutableMapping
from typing import Any, cast

import msgspec

HEADER = "X-Trace-Id"

# https://www.w3.org/TR/trace-context/: version, trace id, parent id, flags. Version ff is
# forbidden, later versions may be longer, and an id of zeros is invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)

_KEY = "photolog_trace"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Ids in hex: ``span_id`` of the request, ``parent_id`` of the sender's span, empty if none."""

    trace_id: str
    span_id: str
    parent_id: str = ""


def trace(scope: Any) -> Trace:
    """Return the trace of a request, the same one on each call."""
    state = cast("MutableMapping[str, Any]", scope.setdefault("state", {}))
    if _KEY not in state:
        trace_id, parent_id = _of_headers(scope["headers"]) or (secrets.token_hex(16), "")
        state[_KEY] = Trace(trace_id=trace_id, span_id=secrets.token_hex(8), parent_id=parent_id)
    return state[_KEY]


def trace_id(scope: Any) -> str:
    return trace(scope).trace_id


def _of_headers(headers: list[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    for name, value in headers:
        if name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value)):
            return match[1].decode(), match[2].decode()
    return None
