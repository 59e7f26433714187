"""Whether the gateway works: for people, for load balancers, for whoever restarts it.

| path | says |
|---|---|
| ``/health/live`` | the process answers: 200, whatever else is broken |
| ``/health/ready`` | it can do its work: 200, else 503; cheap |
| ``/health`` | what works and what does not; 503 when something that it needs is down |
"""

from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from gateway.health.checks import Check, Checks, State


class Readiness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What serving needs, without a look into it."""

    redis: Check
    blobs: Check
    sqlite: Check
    rooms: Check


class Examination(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    redis: Check
    blobs: Check
    sqlite: Check
    system_resources: Check
    worker_pool: Check
    rooms: Check
    background: Check
    connections: Check
    libraries: Check


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """``down`` if one of the checks is."""

    status: State
    checks: Readiness


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``down`` if one of the checks is, ``degraded`` likewise."""

    status: State
    checks: Examination


class Live(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["ok"] = "ok"


_NOT_READY = {503: ResponseSpec(Ready, description="Something is down", generate_examples=False)}
_DOWN = {503: ResponseSpec(Health, description="Something is down", generate_examples=False)}


@get(
    "/health/live",
    exclude_from_auth=True,
    security=[{}],
    tags=["health"],
    summary="Does the process answer?",
)
async def live() -> Live:
    """Always 200."""
    return Live()


@get(
    "/health/ready",
    exclude_from_auth=True,
    security=[{}],
    responses=_NOT_READY,
    tags=["health"],
    summary="Can it do its work?",
)
async def ready(checks: NamedDependency[Checks]) -> Response[Ready]:
    """503 when Redis, the blobs, the read model or the hub of the rooms is down."""
    found = await checks.serving()
    status = worst(found)
    return Response(Ready(status=status, checks=Readiness(**found)), status_code=_code(status))


@get(
    "/health",
    exclude_from_auth=True,
    security=[{}],
    responses=_DOWN,
    tags=["health"],
    summary="What works and what does not?",
)
async def health(checks: NamedDependency[Checks]) -> Response[Health]:
    """503 when something is down; `degraded` is 200."""
    found = await checks.everything()
    status = worst(found)
    return Response(Health(status=status, checks=Examination(**found)), status_code=_code(status))


def worst(found: dict[str, Check]) -> State:
    states = {check.status for check in found.values()}
    return "down" if "down" in states else "degraded" if "degraded" in states else "ok"


def _code(status: State) -> int:
    return 503 if status == "down" else 200


ROUTES = (live, ready, health)
