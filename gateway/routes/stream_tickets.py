"""Tickets of streams, for browsers, which can send no header with an EventSource or a WebSocket."""

import time
from datetime import UTC, datetime

import msgspec
from litestar import post

from domain.moments import iso
from gateway.dependencies import Asked
from gateway.http.problems import problems
from gateway.http.query_guards import bodiless, only

LIFETIME_S = 30.0


class StreamTicket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Add `?ticket=` with ``ticket`` to `/api/events` or `/ws`, before ``expires_at``."""

    ticket: str
    expires_at: str


@post(
    "/api/events/tickets",
    guards=[only()],
    before_request=bodiless,
    responses=problems("missing-token", "forbidden", "cross-origin"),
    tags=["events"],
    summary="Get a ticket for a stream",
)
async def make_stream_ticket(request: Asked) -> StreamTicket:
    """Create a ticket that opens one event stream or WebSocket, within 30 seconds.

    The stream has the rights of the caller, and ends when the caller's token, session or API key
    does. An `EventSource` that reconnects needs a new ticket."""
    lifetime_s = min(LIFETIME_S, request.user.expires - time.time())
    expires_at = datetime.fromtimestamp(time.time() + lifetime_s, UTC)
    ticket = await request.auth.make_stream_ticket(request.user, lifetime_s)
    return StreamTicket(ticket=ticket, expires_at=iso(expires_at))


ROUTES = (make_stream_ticket,)
