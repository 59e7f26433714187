"""Who is asking, and what they may have."""

import math
from datetime import UTC, datetime

import msgspec
from litestar import get
from litestar.di import NamedDependency

from domain.events import iso
from gateway.auth import Principal, Role
from gateway.commands import NO_ANSWER, naming_the_log
from gateway.dependencies import Asked, Dependencies
from gateway.parameters import only
from gateway.problems import problems
from gateway.quotas import Quotas, QuotaView


class Me(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The identity that the request was made with. `expires` is when its token ends."""

    client_id: str
    role: Role
    expires: str | None
    quota: QuotaView


@get(
    "/api/me",
    guards=[only()],
    responses=problems("missing-token", "log-unavailable"),
    tags=["login"],
    summary="Who you are, and what you may have",
)
async def show_me(
    request: Asked, deps: NamedDependency[Dependencies], quotas: NamedDependency[Quotas]
) -> Me:
    """Your identity, and how much of your quota is used."""
    principal: Principal = request.user
    with naming_the_log(deps.log, NO_ANSWER):
        quota = await quotas.view(principal.client_id)
    return Me(
        client_id=principal.client_id,
        role=principal.role,
        expires=_expiry(principal),
        quota=quota,
    )


def _expiry(principal: Principal) -> str | None:
    if math.isinf(principal.expires):
        return None
    return iso(datetime.fromtimestamp(principal.expires, UTC))


ROUTES = (show_me,)
