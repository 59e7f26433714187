"""Assemble the gateway from its routes as one ASGI application."""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import anyio
import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import (
    InternalServerException,
    SerializationException,
    ValidationException,
)
from litestar.middleware import DefineMiddleware
from litestar.response.base import ASGIResponse

from gateway.access import route_scopes
from gateway.access.access import Access
from gateway.access.authentication import Authentication
from gateway.access.oidc.flow import Flow
from gateway.access.security_log import SecurityLog
from gateway.dependencies import Dependencies
from gateway.health.checks import Checks
from gateway.http.connections import Connections, counting_requests
from gateway.http.cors import Cors
from gateway.http.envelope import Envelope, as_get, methods_at
from gateway.http.negotiation import check_json, negotiate
from gateway.http.preconditions import answering
from gateway.http.problems import Damages, Refused, body_incomplete
from gateway.http.tracing import Trace, trace
from gateway.limits.quotas import Quotas
from gateway.limits.throttling import Throttle, Throttling
from gateway.limits.upload_slots import Slots
from gateway.observing import Answered, AnswerObserver
from gateway.openapi.asyncapi import asyncapi_route
from gateway.openapi.document import description
from gateway.openapi.event_schema import EventSchema
from gateway.queries import read_models
from gateway.queries.queue_snapshot import queue_snapshot
from gateway.queries.reading import provide_reader
from gateway.queries.series import Series
from gateway.queries.throughput import Counting
from gateway.rooms import sse, websocket
from gateway.rooms.hub import Hub
from gateway.routes import (
    alerts,
    api_keys,
    archive,
    audit,
    backfill,
    breakers,
    chain,
    check,
    clients,
    dead_letters,
    drains,
    files,
    health,
    jobs,
    login,
    me,
    metrics,
    oidc,
    ops_jobs,
    photos,
    presence,
    queues,
    rebuilds,
    resumable_uploads,
    sessions,
    settings,
    stream_tickets,
    tokens,
    uploads,
    webhooks,
)
from gateway.routes import series as series_route
from gateway.routes.metrics import Gauges
from gateway.routes.sessions import Openings
from gateway.sessions.keeper import SessionKeeper
from gateway.uploads.resumable.protocol import announcing, overridden
from gateway.uploads.resumable.uploads import ResumableUploads
from gateway.web import pages
from projections.models.history import HistoryEntry
from store import log_context
from store.log_context import Subject


class JsonRequest(Request[Any, Any, State]):
    """Read JSON bodies strictly: unlike in a query, 1 is not true and "5" is not a number.

    JSON that is nested too deeply, and a body that is cut off, are the sender's mistakes.
    """

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in chunks; raises Refused, ``body-incomplete``."""
        try:
            async for chunk in super().stream():
                yield chunk
        except InternalServerException as error:  # raised by Litestar when the connection ends
            raise body_incomplete() from error

    async def body(self) -> bytes:
        """Return the whole body; uploads are read by ``gateway.uploads.bodies`` instead.

        Raises:
            AuthError: the sender's access ended while the body arrived.
            Refused: ``body-stalled``, ``body-incomplete``.
        """
        app, body = cast("Gateway", self.app), None
        with anyio.move_on_after(app.body_patience_s):
            body = await super().body()
        if body is None:
            raise Refused(
                "body-stalled",
                f"The request body did not arrive within {app.body_patience_s:g} seconds.",
            )
        scope: Any = self.scope
        if (principal := scope.get("user")) is not None:
            await self.auth.still(principal)
        return body

    async def json(self) -> Any:
        """Return the body as the type that the route expects.

        Raises:
            ValidationException: the body has another type.
            SerializationException: the body is not JSON.
            AuthError, Refused: as for ``body``; ``not-json``.
        """
        check_json(self)
        wanted = self.route_handler.parsed_data_field
        try:
            return msgspec.convert(
                _with_integers(msgspec.json.decode(await self.body())),
                wanted.annotation if wanted else Any,
            )
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            reason = {"message": message, "key": place.rstrip("`") or "body"}
            raise ValidationException(message, extra=[reason]) from error
        except msgspec.DecodeError as error:
            raise SerializationException(str(error)) from error
        except RecursionError as error:
            raise SerializationException("JSON is nested too deeply") from error


def _with_integers(value: Any) -> Any:
    """Return the JSON value with 7.0 as 7, which JSON Schema treats as the same integer."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_with_integers(each) for each in cast("list[Any]", value)]
        case dict():
            return {
                name: _with_integers(each) for name, each in cast("dict[str, Any]", value).items()
            }
        case _:
            return value


class Gateway(Litestar):
    """Wrap every HTTP exchange in an ``Envelope``, including those without a route."""

    __slots__ = ("body_patience_s", "connections", "cors", "linger_s", "observe", "security")

    body_patience_s: float
    connections: Connections
    cors: Cors
    linger_s: float
    observe: AnswerObserver
    security: SecurityLog

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        asked = trace(scope)
        inner = overridden(as_get(scope))
        answered = _answering(inner, scope["method"], asked, self.observe, self.security)
        envelope = Envelope(
            scope,
            receive,
            send,
            linger_s=self.linger_s,
            cors=self.cors,
            answered=answered,
            methods=lambda: methods_at(self, inner.get("path_template")),
        )
        if (headers := self.cors.preflight(scope)) is not None:
            response = ASGIResponse(status_code=204, headers=headers)
            await response(scope, envelope.receive, envelope.send)
            return
        if (
            scope["path"] == "*" and scope["method"] == "OPTIONS"
        ):  # asks about the server as a whole
            await ASGIResponse(status_code=204)(scope, envelope.receive, envelope.send)
            return
        await super().__call__(inner, envelope.receive, answering(scope, envelope.send))


def create_app(deps: Dependencies) -> Gateway:
    """Return the gateway over ``deps``, which it uses but does not close."""
    connections = Connections(deps.limits)
    flow = Flow(deps.oidc, deps.log)
    access = Access(deps.log, deps.tokens, deps.limits, deps.background)
    hub = Hub(deps.log, deps.reader, deps.limits, deps.background)
    slots = Slots(deps.limits.uploads_at_once)
    checks = Checks(deps, hub, connections)
    quotas = Quotas(deps, slots)
    resumable = ResumableUploads(deps, quotas, slots)
    openings = Openings()
    keeper = SessionKeeper(deps)
    gauges = Gauges(deps, hub, slots, connections)
    series = Series(deps)
    counting = Counting(deps.log, deps.background, series.add)
    snapshot = queue_snapshot(deps, counting)
    damages = Damages()
    throttle = Throttle(deps, access)
    security = SecurityLog(deps.limits, deps.background)

    def happened(entry: HistoryEntry) -> None:
        security.happened(entry)
        series.happened(entry)

    hub.observe = happened

    def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        security.refused(request.scope, error)
        return pages.error_response(request, throttle.judge(request.scope, error), damages)

    app = Gateway(
        [
            *uploads.ROUTES,
            *resumable_uploads.ROUTES,
            *check.ROUTES,
            *archive.ROUTES,
            *photos.ROUTES,
            *chain.ROUTES,
            *files.ROUTES,
            *jobs.ROUTES,
            *sessions.ROUTES,
            *queues.ROUTES,
            *series_route.ROUTES,
            *ops_jobs.ROUTES,
            *drains.ROUTES,
            *dead_letters.ROUTES,
            *backfill.ROUTES,
            *clients.ROUTES,
            *breakers.ROUTES,
            *presence.ROUTES,
            *audit.ROUTES,
            *alerts.ROUTES,
            *settings.ROUTES,
            *read_models.ROUTES,
            *login.ROUTES,
            *oidc.ROUTES,
            *me.ROUTES,
            *rebuilds.ROUTES,
            *tokens.ROUTES,
            *api_keys.ROUTES,
            *webhooks.ROUTES,
            *sse.ROUTES,
            *stream_tickets.ROUTES,
            *websocket.ROUTES,
            asyncapi_route(),
            *pages.ROUTES,
            *health.ROUTES,
            *metrics.ROUTES,
        ],
        dependencies={
            "connections": Provide(lambda: connections, sync_to_thread=False),
            "flow": Provide(lambda: flow, sync_to_thread=False),
            "access": Provide(lambda: access, sync_to_thread=False),
            "deps": Provide(lambda: deps, sync_to_thread=False),
            "counting": Provide(lambda: counting, sync_to_thread=False),
            "series": Provide(lambda: series, sync_to_thread=False),
            "snapshot": Provide(lambda: snapshot, sync_to_thread=False),
            "checks": Provide(lambda: checks, sync_to_thread=False),
            "gauges": Provide(lambda: gauges, sync_to_thread=False),
            "quotas": Provide(lambda: quotas, sync_to_thread=False),
            "hub": Provide(lambda: hub, sync_to_thread=False),
            "throttle": Provide(lambda: throttle, sync_to_thread=False),
            "security": Provide(lambda: security, sync_to_thread=False),
            "openings": Provide(lambda: openings, sync_to_thread=False),
            "resumable": Provide(lambda: resumable, sync_to_thread=False),
            "slots": Provide(lambda: slots, sync_to_thread=False),
            "reader": Provide(provide_reader),
        },
        guards=[throttle.guard, route_scopes.guard],
        before_request=negotiate,
        before_send=[announcing(deps.limits)],
        middleware=[
            DefineMiddleware(Throttling, throttle=throttle),
            DefineMiddleware(Authentication, access=access),
            counting_requests,
        ],
        exception_handlers={Exception: error_response, 500: error_response},
        request_class=JsonRequest,
        lifespan=[
            access.running,
            hub.running,
            counting.running,
            quotas.running,
            resumable.running,
            keeper.running,
            throttle.running,
            security.running,
        ],
        openapi_config=description(deps.limits),
        plugins=[EventSchema()],
        request_max_body_size=deps.limits.max_json_bytes,
        logging_config=None,
    )
    app.connections = connections
    app.cors = access.cors
    app.body_patience_s = deps.limits.body_patience_s
    app.linger_s = deps.limits.linger_s
    app.observe = deps.observe
    app.security = security
    return app


def _answering(
    scope: Any, method: str, asked: Trace, observe: AnswerObserver, security: SecurityLog
) -> Callable[[int], None]:
    """Begin the span of a request; return the function to call with the status of its answer."""
    log_context.begin(Subject(trace_id=asked.trace_id, span_id=asked.span_id))
    began_ns, began = time.time_ns(), time.perf_counter()

    def answered(status: int) -> None:
        security.answered(scope, status)
        observe(
            Answered(
                method=method,
                route=scope.get("path_template", ""),
                status=status,
                trace=asked,
                began_ns=began_ns,
                seconds=time.perf_counter() - began,
            )
        )

    return answered
