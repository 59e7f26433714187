"""The gateway as one ASGI application, put together from its routes."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import SerializationException, ValidationException
from litestar.middleware import DefineMiddleware

from gateway import (
    backfill,
    dead_letters,
    files,
    health,
    jobs,
    login,
    metrics,
    pages,
    photos,
    queues,
    read_models,
    revoking,
    sockets,
    sse,
    uploads,
)
from gateway.access import Access
from gateway.auth import Authentication
from gateway.checks import Checks
from gateway.contract import description
from gateway.dependencies import Dependencies
from gateway.envelope import Envelope
from gateway.event_schema import EventSchema
from gateway.hub import Hub
from gateway.metrics import Gauges
from gateway.observing import Answered, AnswerObserver
from gateway.problems import Damages
from gateway.rates import Counting
from gateway.reading import provide_reader
from gateway.slots import Slots
from gateway.tracing import trace
from store import subject
from store.subject import Subject


class JsonRequest(Request[Any, Any, State]):
    """Takes JSON at its word: 1 is not true, and "5" no number, as they are in an address.

    JSON that is nested too deeply is the sender's mistake too.
    """

    async def json(self) -> Any:
        """The body as what the route takes.

        Raises:
            ValidationException: it is something else.
            SerializationException: it is no JSON.
        """
        wanted = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=wanted.annotation if wanted else Any)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            reason = {"message": message, "key": place.rstrip("`") or "body"}
            raise ValidationException(message, extra=[reason]) from error
        except msgspec.DecodeError as error:
            raise SerializationException(str(error)) from error
        except RecursionError as error:
            raise SerializationException("JSON is nested too deeply") from error


class Gateway(Litestar):
    """Puts every HTTP exchange in an ``Envelope``, also those that no route answers."""

    __slots__ = ("linger_s", "observe")

    linger_s: float
    observe: AnswerObserver

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            answered = _answering(scope, self.observe)
            envelope = Envelope(scope, receive, send, linger_s=self.linger_s, answered=answered)
            receive, send = envelope.receive, envelope.send
        await super().__call__(scope, receive, send)


def create_app(deps: Dependencies) -> Gateway:
    """The gateway over ``deps``, which it uses and leaves open."""
    access = Access(deps.log, deps.tokens, deps.limits, deps.background)
    hub = Hub(deps.log, deps.reader, deps.limits)
    slots = Slots(deps.limits.uploads_at_once)
    checks = Checks(deps)
    gauges = Gauges(deps, hub, slots)
    counting = Counting(deps.log)
    damages = Damages()

    def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        return pages.error_response(request, error, damages)

    app = Gateway(
        [
            *uploads.ROUTES,
            *photos.ROUTES,
            *files.ROUTES,
            *jobs.ROUTES,
            *queues.ROUTES,
            *dead_letters.ROUTES,
            *backfill.ROUTES,
            *read_models.ROUTES,
            *login.ROUTES,
            *revoking.ROUTES,
            *sse.ROUTES,
            *sockets.ROUTES,
            *pages.ROUTES,
            *health.ROUTES,
            *metrics.ROUTES,
        ],
        dependencies={
            "access": Provide(lambda: access, sync_to_thread=False),
            "deps": Provide(lambda: deps, sync_to_thread=False),
            "counting": Provide(lambda: counting, sync_to_thread=False),
            "checks": Provide(lambda: checks, sync_to_thread=False),
            "gauges": Provide(lambda: gauges, sync_to_thread=False),
            "hub": Provide(lambda: hub, sync_to_thread=False),
            "slots": Provide(lambda: slots, sync_to_thread=False),
            "reader": Provide(provide_reader),
        },
        middleware=[DefineMiddleware(Authentication, access=access)],
        exception_handlers={Exception: error_response, 500: error_response},
        request_class=JsonRequest,
        lifespan=[access.running, hub.running, counting.running],
        openapi_config=description(),
        plugins=[EventSchema()],
        request_max_body_size=deps.limits.max_json_bytes,
        logging_config=None,
    )
    app.linger_s = deps.limits.linger_s
    app.observe = deps.observe
    return app


def _answering(scope: Any, observe: AnswerObserver) -> Callable[[int], None]:
    """Begin the span of a request; the function is called with the status of its answer."""
    asked = trace(scope)
    subject.begin(Subject(trace_id=asked.trace_id, span_id=asked.span_id))
    began_ns, began = time.time_ns(), time.perf_counter()

    def answered(status: int) -> None:
        observe(
            Answered(
                method=scope["method"],
                route=scope.get("path_template", ""),
                status=status,
                trace=asked,
                began_ns=began_ns,
                seconds=time.perf_counter() - began,
            )
        )

    return answered
