"""Encode a rejection as an HTTP response, for requests that never reach the application."""

from collections.abc import Sequence

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.http.envelope import HEADERS
from gateway.http.problems import MEDIA_TYPE, RETRY_AFTER_S, Refused, document
from gateway.http.tracing import HEADER


def raw_response(fault: Refused, trace: str, more: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return the whole response with its problem document; it announces the connection's end.

    ``more`` are further headers.
    """
    problem = document(fault.code, fault.detail, trace)
    body = msgspec.json.encode(problem)
    headers = HEADERS | {
        b"content-type": MEDIA_TYPE.encode(),
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
        HEADER.lower().encode(): trace.encode(),
    }
    if problem.status in (429, 503):
        headers[b"retry-after"] = str(RETRY_AFTER_S).encode()
    lines = b"".join(b"%b: %b\r\n" % header for header in (*headers.items(), *more))
    return b"%b%b\r\n%b" % (STATUS_LINE[problem.status], lines, body)
