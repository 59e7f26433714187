"""The gateway as one ASGI application, put together from its routes."""

import time
from typing import Any

import anyio
from litestar import Litestar
from litestar.di import Provide
from litestar.middleware import DefineMiddleware

from gateway import files, health, jobs, login, metrics, pages, photos, sockets, sse, uploads
from gateway.auth import Authentication
from gateway.contract import description
from gateway.dependencies import Dependencies
from gateway.envelope import Envelope
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.problems import problem_response
from gateway.reading import provide_reader


class Gateway(Litestar):
    """Puts every HTTP exchange in an ``Envelope``, also those that no route answers."""

    __slots__ = ("linger_s", "metrics")

    linger_s: float
    metrics: Metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            began = time.monotonic()

            def answered(status: int) -> None:
                method, route = scope["method"], scope.get("path_template", "")
                self.metrics.answered(method, route, status, time.monotonic() - began)

            envelope = Envelope(scope, receive, send, linger_s=self.linger_s, answered=answered)
            receive, send = envelope.receive, envelope.send
        await super().__call__(scope, receive, send)


def create_app(deps: Dependencies) -> Gateway:
    """The gateway over ``deps``, which it uses and leaves open."""
    hub = Hub(deps.log, deps.reader, deps.limits)
    slots = anyio.CapacityLimiter(deps.limits.uploads_at_once)
    measured = Metrics(hub, slots, (deps.log.redis.breaker, deps.blobs.breaker))
    app = Gateway(
        [
            *uploads.ROUTES,
            *photos.ROUTES,
            *files.ROUTES,
            *jobs.ROUTES,
            *login.ROUTES,
            *sse.ROUTES,
            *sockets.ROUTES,
            *pages.ROUTES,
            *health.ROUTES,
            *metrics.ROUTES,
        ],
        dependencies={
            "deps": Provide(lambda: deps, sync_to_thread=False),
            "metrics": Provide(lambda: measured, sync_to_thread=False),
            "hub": Provide(lambda: hub, sync_to_thread=False),
            "slots": Provide(lambda: slots, sync_to_thread=False),
            "reader": Provide(provide_reader),
        },
        middleware=[DefineMiddleware(Authentication, tokens=deps.tokens)],
        exception_handlers={Exception: problem_response, 500: problem_response},
        lifespan=[hub.running],
        openapi_config=description(),
        request_max_body_size=deps.limits.max_json_bytes,
        logging_config=None,
    )
    app.linger_s = deps.limits.linger_s
    app.metrics = measured
    return app
