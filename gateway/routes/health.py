"""Report whether the gateway works: to people, load balancers and process supervisors.

| path | reports |
|---|---|
| ``/health/live`` | the process answers: always 200, whatever else is broken |
| ``/health/ready`` | it can serve requests: 200, else 503; cheap |
| ``/health`` | every check in detail; 503 if something that the gateway needs is down |
"""

from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from gateway.health.checks import Checks
from gateway.health.results import Check, State


class ReadinessChecks(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The checks that serving depends on, without the costly probes."""

    redis: Check
    blobs: Check
    sqlite: Check
    rooms: Check


class HealthChecks(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    redis: Check
    blobs: Check
    sqlite: Check
    system_resources: Check
    worker_pool: Check
    rooms: Check
    background: Check
    connections: Check
    webhooks: Check
    archive: Check
    libraries: Check


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The worst status of the checks."""

    status: State
    checks: ReadinessChecks


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The worst status of the checks: ``down``, then ``degraded``, then ``ok``."""

    status: State
    checks: HealthChecks


class Live(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["ok"] = "ok"


_NOT_READY = {503: ResponseSpec(Readiness, description="A check is down", generate_examples=False)}
_DOWN = {503: ResponseSpec(Health, description="A check is down", generate_examples=False)}


@get(
    "/health/live",
    exclude_from_auth=True,
    security=[{}],
    tags=["health"],
    summary="Check that the process is alive",
)
async def live() -> Live:
    """Return 200 as long as the process answers, whatever else is broken."""
    return Live()


@get(
    "/health/ready",
    exclude_from_auth=True,
    security=[{}],
    responses=_NOT_READY,
    tags=["health"],
    summary="Check that the gateway can serve requests",
)
async def ready(checks: NamedDependency[Checks]) -> Response[Readiness]:
    """Return 503 if Redis, the blob store, the read model or the event rooms are down."""
    found = await checks.serving()
    status = worst(found)
    return Response(
        Readiness(status=status, checks=ReadinessChecks(**found)), status_code=_code(status)
    )


@get(
    "/health",
    exclude_from_auth=True,
    security=[{}],
    responses=_DOWN,
    tags=["health"],
    summary="Check every part of the system",
)
async def health(checks: NamedDependency[Checks]) -> Response[Health]:
    """Return the result of every check: 503 if one is down, 200 if some are only `degraded`."""
    found = await checks.everything()
    status = worst(found)
    return Response(Health(status=status, checks=HealthChecks(**found)), status_code=_code(status))


def worst(found: dict[str, Check]) -> State:
    """Return the worst status of the checks."""
    states = {check.status for check in found.values()}
    return "down" if "down" in states else "degraded" if "degraded" in states else "ok"


def _code(status: State) -> int:
    return 503 if status == "down" else 200


ROUTES = (live, ready, health)
