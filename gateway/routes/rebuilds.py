"""``POST /api/ops/projections/rebuild``: ask every host to rebuild its read models."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from domain.pipeline.rebuilds import RequestRebuild
from gateway.commands import position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator
from gateway.http.problems import problems
from gateway.http.query_guards import allowed, only
from gateway.openapi.document import POSITION, OptionalBody
from gateway.routes.queues import ReasonRequest


@post(
    "/api/ops/projections/rebuild",
    guards=[allowed(operator), only()],
    operation_class=OptionalBody,
    status_code=202,
    response_headers=[POSITION],
    responses=problems("not-json", "missing-token", "forbidden", "log-unavailable"),
    tags=["operations"],
    summary="Rebuild the read models",
)
async def rebuild_projections(
    request: Asked,
    deps: NamedDependency[Dependencies],
    data: JSONBody[ReasonRequest | None] = None,
) -> Response[None]:
    """Ask the projector of each host to fold the log into new read models beside the live ones.

    Its progress is seen in the room `global`: `projections.rebuild.progressed`, then `completed` or
    `failed`. A projector that is not running begins when it reads the request."""
    command = RequestRebuild(reason=(data and data.reason) or "")
    state = await steer(request, deps, command)
    return Response(None, headers=position_header(state.position))


ROUTES = (rebuild_projections,)
