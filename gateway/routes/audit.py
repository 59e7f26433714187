"""``GET /api/audit``: what operators did, when, to what, and why."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from domain.pipeline.stages import ERASURE, check_stage
from gateway.dependencies import Dependencies
from gateway.http.auth import overseer
from gateway.http.paging import PAGE, ClientId, Cursor, Limit, SortOrder, bounded
from gateway.http.problems import Refused, problems, use_one_of
from gateway.http.query_guards import SHOWN, allowed, only
from gateway.http.times import parse_time
from gateway.routes.queues import ALL
from projections.models import audit
from projections.models.audit import AuditEntries
from store.sqlite.reader import Reader

Actor = Annotated[
    str | None,
    QueryParameter(name="actor", description="Only what this one did, such as `operator:alice`."),
]
What = Annotated[str | None, QueryParameter(name="what", description="Only this type of event.")]
Stage = Annotated[
    str | None, QueryParameter(name="stage", description="Only what was done to this stage.")
]
PhotoId = Annotated[str | None, QueryParameter(name="photoId")]
Since = Annotated[
    str | None, QueryParameter(name="from", description="Only what was done then or later.")
]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Only what was done before this time.")
]


@get(
    "/api/audit",
    guards=[
        allowed(overseer),
        only(
            *("actor", "what", "stage", "photoId", "clientId", "from", "to"),
            *("sort", "cursor", "limit", "after"),
        ),
    ],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "invalid-time", "unknown-stage", "missing-token"),
        *("forbidden", "read-model-behind"),
    ),
    tags=["operations"],
    summary="List what operators did",
)
async def list_audit(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    actor: Actor = None,
    what: What = None,
    stage: Stage = None,
    photo_id: PhotoId = None,
    client_id: ClientId = None,
    since: Since = None,
    until: Until = None,
    sort: SortOrder = "newest",
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> AuditEntries:
    """List the changes that operators made, newest first by default: controls, quotas,
    revoked access, and what they did to photos and jobs.

    Alerts and what clients do are not listed."""
    if stage is not None:
        check_stage(stage, ALL, ERASURE)
    if what is not None and what not in audit.LISTED:
        detail = f"what: cannot be {what[:SHOWN]!r}"
        raise Refused("invalid-request", detail, advice=use_one_of(audit.LISTED))
    given = {
        "actor": actor,
        "type": what,
        "stage": stage,
        "photo_id": photo_id,
        "client_id": client_id,
    }
    try:
        return await reader.query(
            audit.page,
            filters={name: value for name, value in given.items() if value is not None},
            since=parse_time(since),
            until=parse_time(until),
            sort=sort,
            cursor=cursor,
            limit=bounded(limit, deps.limits.page_limit_max),
        )
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


ROUTES = (list_audit,)
