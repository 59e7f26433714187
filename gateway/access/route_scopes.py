"""Say which scope each route needs, and reject callers that lack it.

The guard runs before those of the routes, and before parameters and bodies are read. Routes still
check what depends on the role besides: whose photos a caller sees, and which rooms it may enter.
"""

from typing import Any, cast

from litestar.handlers import BaseRouteHandler

from gateway.http.auth import Forbidden, Principal
from gateway.http.bearer import Connection
from gateway.http.roles import (
    AUDIT_READ,
    EVENTS_READ,
    OPS_READ,
    OPS_WRITE,
    PHOTOS_READ,
    PHOTOS_WRITE,
)

PUBLIC = "public"
"""The route needs no token."""

ANYONE = "anyone"
"""The route needs a token, a session or an API key, with any scopes."""

NEEDS: dict[str, str] = {
    # photos
    "POST /api/photos/upload": PHOTOS_WRITE,
    "POST /api/photos/check": PHOTOS_WRITE,
    "POST /api/uploads": PHOTOS_WRITE,
    "GET /api/uploads/{upload_id}": PHOTOS_WRITE,
    "PATCH /api/uploads/{upload_id}": PHOTOS_WRITE,
    "DELETE /api/uploads/{upload_id}": PHOTOS_WRITE,
    "GET /api/photos": PHOTOS_READ,
    "GET /api/photos/timeline": PHOTOS_READ,
    "GET /api/photos/archive": PHOTOS_READ,
    "GET /api/photos/{photo_id}": PHOTOS_READ,
    "DELETE /api/photos/{photo_id}": PHOTOS_WRITE,
    "POST /api/photos/{photo_id}/reprocess": PHOTOS_WRITE,
    "GET /api/photos/{photo_id}/history": PHOTOS_READ,
    "GET /api/photos/{photo_id}/chain": PHOTOS_READ,
    "GET /api/photos/{photo_id}/original": PHOTOS_READ,
    "GET /api/photos/{photo_id}/optimized": PHOTOS_READ,
    "GET /api/photos/{photo_id}/thumbnails/{size}": PHOTOS_READ,
    "GET /api/jobs/{job_id}": PHOTOS_READ,
    "GET /api/sessions": PHOTOS_READ,
    "GET /api/sessions/{session_id}": PHOTOS_READ,
    "PUT /api/sessions/{session_id}": PHOTOS_WRITE,
    "POST /api/photos/retry": PHOTOS_WRITE,
    # events
    "GET /api/events": EVENTS_READ,
    "POST /api/events/tickets": EVENTS_READ,
    "WEBSOCKET /ws": EVENTS_READ,
    # webhooks, see also BESIDES
    "GET /api/webhooks": EVENTS_READ,
    "POST /api/webhooks": EVENTS_READ,
    "GET /api/webhooks/{webhook_id}": EVENTS_READ,
    "PUT /api/webhooks/{webhook_id}": EVENTS_READ,
    "DELETE /api/webhooks/{webhook_id}": EVENTS_READ,
    "GET /api/webhooks/{webhook_id}/deliveries": EVENTS_READ,
    "POST /api/webhooks/{webhook_id}/disable": EVENTS_READ,
    "POST /api/webhooks/{webhook_id}/enable": EVENTS_READ,
    "POST /api/webhooks/{webhook_id}/replay": EVENTS_READ,
    "POST /api/webhooks/{webhook_id}/secret": EVENTS_READ,
    # operations
    "GET /api/ops/queues": OPS_READ,
    "POST /api/ops/queues/{stage}/pause": OPS_WRITE,
    "POST /api/ops/queues/{stage}/resume": OPS_WRITE,
    "PUT /api/ops/queues/{stage}/limits": OPS_WRITE,
    "POST /api/ops/queues/{stage}/cancel": OPS_WRITE,
    "POST /api/ops/queues/{stage}/drain": OPS_WRITE,
    "GET /api/ops/queues/{stage}/drain": OPS_READ,
    "GET /api/ops/series": OPS_READ,
    "GET /api/ops/jobs": OPS_READ,
    "GET /api/ops/jobs/{job_id}": OPS_READ,
    "POST /api/ops/jobs/{job_id}/run-now": OPS_WRITE,
    "POST /api/ops/jobs/{job_id}/retry": OPS_WRITE,
    "POST /api/ops/jobs/{job_id}/cancel": OPS_WRITE,
    "PUT /api/ops/jobs/{job_id}/priority": OPS_WRITE,
    "GET /api/ops/dead-letters": OPS_READ,
    "GET /api/ops/dead-letters/groups": OPS_READ,
    "POST /api/ops/dead-letters/retry": OPS_WRITE,
    "POST /api/ops/dead-letters/discard": OPS_WRITE,
    "POST /api/ops/backfill": OPS_WRITE,
    "GET /api/ops/breakers": OPS_READ,
    "GET /api/ops/presence": OPS_READ,
    "GET /api/ops/quotas": OPS_READ,
    "GET /api/ops/clients": OPS_READ,
    "GET /api/ops/clients/{client_id}/quota": OPS_READ,
    "PUT /api/ops/clients/{client_id}/quota": OPS_WRITE,
    "GET /api/ops/alerts": OPS_READ,
    "GET /api/ops/settings": OPS_READ,
    "GET /api/ops/projections": OPS_READ,
    "POST /api/ops/projections/rebuild": OPS_WRITE,
    "GET /api/audit": AUDIT_READ,
    # access
    "POST /api/ops/tokens/revoke": OPS_WRITE,
    "GET /api/ops/tokens/revocations": OPS_READ,
    "GET /api/ops/tokens/history": OPS_READ,
    "GET /api/keys": OPS_READ,
    "GET /api/keys/ended": OPS_READ,
    "POST /api/keys": OPS_WRITE,
    "DELETE /api/keys/{key_id}": OPS_WRITE,
    "POST /api/login": PUBLIC,
    "POST /api/login/preview": PUBLIC,
    "POST /api/login/tickets": ANYONE,
    "GET /api/login": ANYONE,
    "GET /api/login/current": PUBLIC,
    "DELETE /api/login": PUBLIC,
    "GET /api/login/oidc": PUBLIC,
    "GET /api/login/oidc/callback": PUBLIC,
    "GET /api/login/oidc/sign-out": PUBLIC,
    "POST /api/login/oidc/back-channel": PUBLIC,
    "GET /api/me": ANYONE,
    # the page, the contract, and the state of the system
    "GET /": PUBLIC,
    "GET /console": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /pages/{name}": PUBLIC,
    "GET /pages/{folder}/{name}": PUBLIC,
    "GET /pages/{of}/{folder}/{name}": PUBLIC,
    "GET /schema": PUBLIC,
    "GET /schema/openapi.json": PUBLIC,
    "GET /schema/asyncapi.json": PUBLIC,
    "GET /schema/{path}": PUBLIC,
    "GET /ws": PUBLIC,  # answers that the address is a WebSocket's
    "GET /health": PUBLIC,
    "GET /health/live": PUBLIC,
    "GET /health/ready": PUBLIC,
    "GET /metrics": PUBLIC,
}
"""The scope that each route needs, or one of the constants above."""

BESIDES: dict[str, tuple[str, ...]] = {
    route: (PHOTOS_WRITE, OPS_WRITE)
    for route in NEEDS
    if "/api/webhooks" in route and not route.startswith("GET ")
}
"""Scopes of which the route needs one more: the first acts for a client, the second for all.

``gateway.routes.webhook_permissions`` checks them."""

NOT_FOR_KEYS = frozenset({"POST /api/login/tickets", "POST /api/keys", "DELETE /api/keys/{key_id}"})
"""Routes that reject API keys whatever their scopes: a key cannot give access to anyone else."""


async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Pass a request whose principal has what its route needs; raises Forbidden.

    A WebSocket has no principal yet; its route calls ``check``.
    """
    scope = cast("Any", connection.scope)
    if isinstance(principal := scope.get("user"), Principal):
        check(principal, scope)


def check(principal: Principal, scope: Any) -> None:
    """Raise Forbidden unless the principal has what the route of the ASGI scope needs.

    A route that is missing in the table rejects API keys.
    """
    method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
    route = f"{method} {scope.get('path_template', '')}"
    need = NEEDS.get(route)
    if principal.api_key is not None and (need is None or route in NOT_FOR_KEYS):
        raise Forbidden(
            "API keys may not do this, whatever their scopes.",
            code="scope-required",
            advice="Use a token instead of the API key.",
        )
    if need in (None, PUBLIC, ANYONE) or principal.may(need):
        return
    if principal.api_key is not None:
        raise Forbidden(f"This API key lacks the scope {need}.", code="scope-required", scope=need)
    raise Forbidden(_REFUSALS[need])


_REFUSALS = {
    PHOTOS_WRITE: "Auditors may read everything and change nothing.",
    OPS_READ: "Only operators and auditors may see this.",
    OPS_WRITE: "Only operators may do this.",
    AUDIT_READ: "Only operators and auditors may see this.",
}
