"""Whether the gateway works: for people, for load balancers, for whoever restarts it.

| path | says |
|---|---|
| ``/health/live`` | the process answers: 200, whatever else is broken |
| ``/health/ready`` | it can do its work: 200, else 503 |
| ``/health`` | what works and what does not; 503 when something that it needs is down |
"""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import anyio
import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from gateway.dependencies import Dependencies
from gateway.reading import lag_ms
from projections import checkpoints
from store.breaker import State as BreakerState
from store.errors import Full, StoreError, Unavailable

logger = logging.getLogger("photolog.gateway")

State = Literal["ok", "degraded", "down"]


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``lag_ms`` is how long the oldest event outside the read model has been waiting.

    ``breaker`` is that of Redis or of the blobs, left out while it is closed.
    """

    status: State
    latency_ms: float | None = None
    free_bytes: int | None = None
    lag_ms: int | None = None
    breaker: BreakerState = "closed"


class Checks(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    redis: Check
    blobs: Check
    read_model: Check


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``down`` if one of the checks is, ``degraded`` likewise."""

    status: State
    checks: Checks


class Live(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["ok"] = "ok"


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
    responses=_DOWN,
    tags=["health"],
    summary="Can it do its work?",
)
async def ready(deps: NamedDependency[Dependencies]) -> Response[Health]:
    """503 when Redis, the blobs or the read model is down."""
    return _report(await examine(deps))


@get(
    "/health",
    exclude_from_auth=True,
    security=[{}],
    responses=_DOWN,
    tags=["health"],
    summary="What works and what does not?",
)
async def health(deps: NamedDependency[Dependencies]) -> Response[Health]:
    """503 when something is down; `degraded` is 200."""
    return _report(await examine(deps))


async def examine(deps: Dependencies) -> Health:
    """Ask each part, all at once, for at most ``check_timeout_s``."""
    found: dict[str, Check] = {}

    async def ask(name: str, check: Callable[[Dependencies], Awaitable[Check]]) -> None:
        found[name] = Check(status="down")
        with anyio.move_on_after(deps.limits.check_timeout_s):
            try:
                found[name] = await check(deps)
            except StoreError as error:
                logger.warning("health: %s: %s", name, error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "redis", _redis)
        group.start_soon(ask, "blobs", _blobs)
        group.start_soon(ask, "read_model", _read_model)
    for name, breaker in (("redis", deps.log.redis.breaker), ("blobs", deps.blobs.breaker)):
        found[name] = msgspec.structs.replace(found[name], breaker=breaker.state)
    states = {check.status for check in found.values()}
    worst: State = "down" if "down" in states else "degraded" if "degraded" in states else "ok"
    return Health(status=worst, checks=Checks(**found))


def _report(health: Health) -> Response[Health]:
    return Response(health, status_code=503 if health.status == "down" else 200)


async def _redis(deps: Dependencies) -> Check:
    began = time.monotonic()
    await deps.log.end(0)
    return Check(status="ok", latency_ms=round((time.monotonic() - began) * 1000, 2))


async def _blobs(deps: Dependencies) -> Check:
    """A disk that takes nothing more still gives what it has."""
    free = await deps.blobs.free_bytes()
    with suppress(Full, Unavailable):
        await deps.blobs.check()
    well = deps.blobs.breaker.state == "closed" and free > deps.limits.min_free_bytes
    return Check(status="ok" if well else "degraded", free_bytes=free)


async def _read_model(deps: Dependencies) -> Check:
    await deps.reader.query(checkpoints.get, 0)
    try:
        lag = max([await lag_ms(deps, partition) for partition in range(deps.log.partitions)])
    except Unavailable:  # Redis is away, which its own check says
        return Check(status="ok")
    late = lag > deps.limits.degraded_lag_s * 1000
    return Check(status="degraded" if late else "ok", lag_ms=lag)


ROUTES = (live, ready, health)
