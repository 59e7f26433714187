"""``GET /api/ops/breakers``: the circuit breakers of this gateway."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from gateway.dependencies import Dependencies
from gateway.http.auth import overseer
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from store.breaker import State


class BreakerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A breaker that is not ``closed`` rejects calls of what it is named after.

    ``retry_after_ms`` is when the next call can pass, 0 unless it is open. ``openings`` counts how
    often it opened since the gateway started.
    """

    name: str
    state: State
    retry_after_ms: int
    openings: int


class BreakersView(msgspec.Struct, frozen=True, kw_only=True):
    items: list[BreakerView]


@get(
    "/api/ops/breakers",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden"),
    tags=["operations"],
    summary="List circuit breakers",
)
async def list_breakers(deps: NamedDependency[Dependencies]) -> BreakersView:
    """List the circuit breakers of the gateway that answers: of each Redis server, and of the photo
    storage."""
    breakers = (*deps.log.redis.breaker.parts, *deps.blobs.breaker.parts)
    return BreakersView(
        items=[
            BreakerView(
                name=each.name,
                state=each.state,
                retry_after_ms=round(each.retry_after_s * 1000),
                openings=each.openings,
            )
            for each in breakers
        ]
    )


ROUTES = (list_breakers,)
