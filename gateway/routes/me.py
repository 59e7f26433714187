"""``GET /api/me``: the caller's identity, quota usage and rate limits."""

from datetime import UTC, datetime
from typing import Literal

import msgspec
from litestar import get
from litestar.di import NamedDependency

from domain.moments import iso
from gateway.commands import NO_ANSWER, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Principal, Role, seconds_left
from gateway.http.problems import problems
from gateway.http.query_guards import only
from gateway.http.roles import SCOPES_OF
from gateway.limits.quotas import Quotas, QuotaView
from gateway.limits.throttling import Throttle


class Identity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The client of the token. ``expires_at`` is null if the token does not expire.

    An API key has only its ``scopes``, whatever its role; ``api_key`` is its id."""

    client_id: str
    role: Role
    scopes: list[str]
    api_key: str | None
    expires_at: str | None
    expires_in_s: int | None


class RateLimitView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One rate limit: ``quota`` tokens, refilled evenly within ``window_s`` seconds.

    ``remaining`` of them are left; without further requests, all are available again in
    ``full_in_s`` seconds.
    """

    policy: str
    unit: Literal["requests", "bytes"]
    quota: int
    window_s: int
    remaining: int
    full_in_s: float


class Me(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The caller's identity, quota usage, and what is left of its rate limits."""

    identity: Identity
    quota: QuotaView
    limits: list[RateLimitView]


@get(
    "/api/me",
    guards=[only()],
    responses=problems("missing-token", "log-unavailable", reads=True),
    tags=["login"],
    summary="Get my identity, quota and limits",
)
async def show_me(
    request: Asked,
    deps: NamedDependency[Dependencies],
    quotas: NamedDependency[Quotas],
    throttle: NamedDependency[Throttle],
) -> Me:
    """Return the client of the token, how much of its quota is used, and its rate limits.

    Rate limits hold across all gateways; unlimited ones are left out."""
    with naming_the_log(deps.log, NO_ANSWER):
        quota = await quotas.view(request.user.client_id)
    limits = await _limits(throttle, request.user)
    return Me(identity=_identity(request.user), quota=quota, limits=limits)


def _identity(principal: Principal) -> Identity:
    ends = principal.expires < MAX_TIME_S
    return Identity(
        client_id=principal.client_id,
        role=principal.role,
        scopes=sorted(filter(principal.may, SCOPES_OF[Role.OPERATOR])),
        api_key=principal.api_key,
        expires_at=iso(datetime.fromtimestamp(principal.expires, UTC)) if ends else None,
        expires_in_s=seconds_left(principal) if ends else None,
    )


async def _limits(throttle: Throttle, principal: Principal) -> list[RateLimitView]:
    standings = throttle.of_client(principal)
    await throttle.buckets.refresh(*(each.bucket for each in standings))
    now = throttle.buckets.clock()
    return [
        RateLimitView(
            policy=each.policy.name,
            unit="bytes" if each.policy.in_bytes else "requests",
            quota=each.policy.allowance.tokens,
            window_s=each.policy.allowance.window_s,
            remaining=each.left(now),
            full_in_s=round(each.bucket.wait_s(each.bucket.capacity, now), 1),
        )
        for each in standings
    ]


MAX_TIME_S = datetime.max.replace(tzinfo=UTC).timestamp()

ROUTES = (show_me,)
