"""Read the token or ticket that a request carries."""

import re
from typing import Any

from litestar.connection import ASGIConnection

_TICKET = re.compile(rb"ticket=[^&]*")

STREAMS = frozenset({"/api/events", "/ws"})
"""The addresses that take a ticket: for these, a browser cannot send a header."""

Connection = ASGIConnection[Any, Any, Any, Any]


def bearer(connection: Connection) -> str | None:
    """Return the token of the ``Authorization`` header; None without one."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def stream_ticket(connection: Connection) -> str | None:
    """Return the ticket of a stream, and hide the query from logs; None without a ticket.

    Servers write the address of a WebSocket to their log, and so would reveal a ticket, or a token
    that was put there by mistake. Two tickets are an empty one, which is invalid.
    """
    scope: Any = connection.scope
    if scope.get("path_template") not in STREAMS:
        return None
    tickets = connection.query_params.getall("ticket", [])
    if scope["type"] == "websocket":
        scope["query_string"] = b""
    elif tickets:
        scope["query_string"] = _TICKET.sub(b"ticket=hidden", scope["query_string"])
    if not tickets:
        return None
    return tickets[0] if len(tickets) == 1 else ""
