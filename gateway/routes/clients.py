"""Clients as operators see them: their usage and quotas."""

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from domain.clients.quotas import ChangeQuota, Most, OwnQuota
from domain.clients.usage import Usage
from gateway.commands import NO_ANSWER, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import CLIENT_ID, operator, overseer
from gateway.http.paging import PAGE, Cursor, Limit, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.limits.quotas import Quotas, QuotaView
from gateway.openapi.document import POSITION
from projections.models import clients
from store.sqlite.reader import Reader


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ClientView(_Shape, frozen=True, kw_only=True):
    """``own`` are the limits set for this client: null means the default, 0 no limit."""

    client_id: str
    usage: Usage
    own: OwnQuota


class ClientsView(_Shape, frozen=True, kw_only=True):
    """Clients in order of their ids. ``next_cursor`` is null on the last page."""

    items: list[ClientView]
    next_cursor: str | None


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

    def own(self) -> OwnQuota:
        return OwnQuota(**msgspec.structs.asdict(self))


@get(
    "/api/ops/clients",
    guards=[allowed(overseer), only("cursor", "limit", "after")],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "missing-token", "forbidden", "read-model-behind")
    ),
    tags=["operations"],
    summary="List clients",
)
async def list_clients(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> ClientsView:
    """List the clients that have uploaded a photo or have their own quota, with their usage."""
    if cursor is not None and not CLIENT_ID.fullmatch(cursor):
        raise Refused("invalid-cursor", "This cursor does not belong to a list of clients.")
    limit = bounded(limit, deps.limits.page_limit_max)
    found = await reader.query(clients.page, cursor=cursor, limit=limit)
    items = [ClientView(client_id=x.client_id, usage=x.usage, own=x.own) for x in found.items]
    return ClientsView(items=items, next_cursor=found.next_cursor)


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
    command = ChangeQuota(client_id=_checked(client_id), quota=data.own())
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


ROUTES = (list_clients, show_quota, set_quota)
