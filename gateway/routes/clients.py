"""Clients as operators see them: their usage and quotas."""

from typing import Annotated

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from domain.clients.quotas import ChangeQuota, Most, OwnQuota
from domain.clients.usage import Usage
from gateway.commands import NO_ANSWER, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import CLIENT_ID, operator, overseer
from gateway.http.connections import Connections
from gateway.http.paging import PAGE, Cursor, Limit, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.limits.quotas import Quotas, QuotaView
from gateway.openapi.document import POSITION
from gateway.routes.queues import Reason
from projections.models import clients
from store.sqlite.reader import Reader

Prefix = Annotated[
    str | None,
    QueryParameter(name="prefix", description="Only clients whose id begins with it."),
]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ClientView(_Shape, frozen=True, kw_only=True):
    """``own`` are the limits set for this client: null means the default, 0 no limit.

    ``open_requests`` counts its requests and streams that are open in this gateway.
    """

    client_id: str
    usage: Usage
    open_requests: int
    own: OwnQuota


class ClientsView(_Shape, frozen=True, kw_only=True):
    """Clients in order of their ids. ``next_cursor`` is null on the last page."""

    items: list[ClientView]
    next_cursor: str | None


class QuotaUse(_Shape, frozen=True, kw_only=True):
    """``share`` is the largest part of any limit that is used: 1 is all of it. ``limits`` are those
    in force; 0 means no limit."""

    client_id: str
    share: float
    usage: Usage
    limits: Usage


class QuotaUses(_Shape, frozen=True, kw_only=True):
    """Clients, the fullest first, and the ``total`` of all clients."""

    items: list[QuotaUse]
    total: Usage


class ClientQuota(_Shape, frozen=True, kw_only=True):
    """``quota`` holds the limits in force and their use, ``own`` the limits set for this client:
    null means the default, 0 no limit. A limit of ``bytes`` up to ``job_bytes``, which each job
    reserves, rejects every upload."""

    client_id: str
    quota: QuotaView
    job_bytes: int
    own: OwnQuota


class QuotaRequest(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that is null or left out takes the default; 0 means no limit."""

    photos: Most | None = None
    bytes: Most | None = None
    jobs: Most | None = None
    uploads: Most | None = None
    idempotency_keys: Most | None = None
    reason: Reason | None = None

    def own(self) -> OwnQuota:
        limits = msgspec.structs.asdict(self)
        del limits["reason"]
        return OwnQuota(**limits)


@get(
    "/api/ops/clients",
    guards=[allowed(overseer), only("prefix", "cursor", "limit", "after")],
    responses=problems(
        *("invalid-client", "invalid-cursor", "invalid-limit", "missing-token", "forbidden"),
        "read-model-behind",
    ),
    tags=["operations"],
    summary="List clients",
)
async def list_clients(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    connections: NamedDependency[Connections],
    prefix: Prefix = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> ClientsView:
    """List the clients that have uploaded a photo or have their own quota, with their usage."""
    if prefix is not None:
        _checked(prefix)
    if cursor is not None and not CLIENT_ID.fullmatch(cursor):
        raise Refused("invalid-cursor", "This cursor does not belong to a list of clients.")
    limit = bounded(limit, deps.limits.page_limit_max)
    found = await reader.query(clients.page, cursor=cursor, limit=limit, prefix=prefix or "")
    items = [
        ClientView(
            client_id=x.client_id,
            usage=x.usage,
            open_requests=connections.open_of(x.client_id),
            own=x.own,
        )
        for x in found.items
    ]
    return ClientsView(items=items, next_cursor=found.next_cursor)


@get(
    "/api/ops/quotas",
    guards=[allowed(overseer), only("limit", "after")],
    responses=problems("invalid-limit", "missing-token", "forbidden", "read-model-behind"),
    tags=["operations"],
    summary="List the clients closest to a quota",
)
async def list_quotas(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    quotas: NamedDependency[Quotas],
    limit: Limit = PAGE,
) -> QuotaUses:
    """List the clients that use the largest share of a limit of photos, bytes or jobs."""
    limit = bounded(limit, deps.limits.page_limit_max)
    found = await reader.query(clients.fullest, deps.limits.quota, limit)
    items: list[QuotaUse] = []
    for share, row in found:
        most = quotas.of(row.client_id)
        limits = Usage(photos=most.photos, bytes=most.bytes, jobs=most.jobs)
        items.append(QuotaUse(client_id=row.client_id, share=share, usage=row.usage, limits=limits))
    return QuotaUses(items=items, total=await reader.query(clients.total))


@get(
    "/api/ops/clients/{client_id:str}/quota",
    guards=[allowed(overseer), only()],
    responses=problems(
        *("invalid-client", "missing-token", "forbidden", "log-unavailable"), reads=True
    ),
    tags=["operations"],
    summary="Get a client's quota",
)
async def show_quota(
    deps: NamedDependency[Dependencies],
    quotas: NamedDependency[Quotas],
    client_id: FromPath[str],
) -> ClientQuota:
    """Return the limits in force for the client, and how much of each is used."""
    return await _view(deps, quotas, _checked(client_id))


@put(
    "/api/ops/clients/{client_id:str}/quota",
    guards=[allowed(operator), only()],
    response_headers=[POSITION],
    responses=problems(
        *("invalid-client", "too-many-quotas", "missing-token", "forbidden", "log-unavailable"),
        "not-json",
    ),
    tags=["operations"],
    summary="Set a client's quota",
)
async def set_quota(
    request: Asked,
    deps: NamedDependency[Dependencies],
    quotas: NamedDependency[Quotas],
    client_id: FromPath[str],
    data: JSONBody[QuotaRequest],
) -> Response[ClientQuota]:
    """Replace all limits that were set for the client before.

    Every gateway applies them within two seconds. A client that exceeds its new quota keeps what it
    has, but cannot add more."""
    command = ChangeQuota(client_id=_checked(client_id), quota=data.own(), reason=data.reason or "")
    steered = await steer(request, deps, command)
    quotas.learn(steered)
    answer = await _view(deps, quotas, client_id)
    return Response(answer, headers=position_header(steered.position))


async def _view(deps: Dependencies, quotas: Quotas, client_id: str) -> ClientQuota:
    with naming_the_log(deps.log, NO_ANSWER):
        quota = await quotas.view(client_id)
    return ClientQuota(
        client_id=client_id,
        quota=quota,
        job_bytes=quotas.of(client_id).job_bytes,
        own=quotas.own(client_id),
    )


def _checked(client_id: str) -> str:
    if not CLIENT_ID.fullmatch(client_id):
        raise Refused("invalid-client", f"{client_id[:40]!r} is not a valid client id.")
    return client_id


ROUTES = (list_clients, list_quotas, show_quota, set_quota)
