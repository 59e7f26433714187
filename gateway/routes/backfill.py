"""Run one stage over all existing photos, page by page."""

import uuid
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from domain.photo.commands import BackfillStage, PhotoCommand
from domain.pipeline.stages import check_stage
from gateway.commands import position_header
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator
from gateway.http.paging import PAGE, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.openapi.document import POSITION
from gateway.routes.bulk import Skipped, Target, execute_each
from gateway.routes.queues import Reason
from projections.models import photos
from projections.models.photos import Page
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

RUNS = uuid.UUID("40465386-4407-40aa-848e-04af39e72c07")
"""Namespace of the ids of backfill jobs: one run requests each photo's job once."""


class BackfillRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """``run`` is the same for all calls that belong together."""

    stage: str
    run: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]+$",
            max_length=64,
            description="1 to 64 letters, digits and ._-",
        ),
    ]
    reason: Reason | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1)] = PAGE


class Backfilled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``already`` counts photos that an earlier call of the run has requested; ``total`` counts all
    photos, on the first page."""

    requested: int
    already: int
    skipped: list[Skipped]
    next_cursor: str | None
    total: int | None


@post(
    "/api/ops/backfill",
    status_code=200,
    guards=[allowed(operator), only("after")],
    response_headers=[POSITION],
    responses=problems(
        *(
            "unknown-stage",
            "invalid-cursor",
            "invalid-limit",
            "not-json",
            "missing-token",
            "forbidden",
        ),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["operations"],
    summary="Backfill a stage over a page of photos",
)
async def backfill(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    data: JSONBody[BackfillRequest],
) -> Response[Backfilled]:
    """Run a stage, and those that depend on it, over a page of all photos, newest first.

    Tasks go to the low-priority lane. Photos whose job is running or has failed are skipped.
    Repeating a call with the same `run` requests nothing twice."""
    check_stage(data.stage)

    page, total = await _page(deps, reader, data)
    names = {each.photo_id: each.original_filename for each in page.items}

    async def command_for(target: Target) -> PhotoCommand:
        return _command(data, target, names[target.photo_id])

    targets = [Target(photo_id=each.photo_id, client_id=each.client_id) for each in page.items]
    batch = await execute_each(request, deps, targets, command_for)
    answer = Backfilled(
        requested=batch.recorded,
        already=batch.already,
        skipped=batch.skipped,
        next_cursor=page.next_cursor,
        total=total,
    )
    return Response(answer, headers=position_header(*batch.positions))


def _command(wanted: BackfillRequest, target: Target, filename: str) -> BackfillStage:
    name = f"{wanted.stage}:{wanted.run}:{target.photo_id}"
    return BackfillStage(
        photo_id=target.photo_id,
        job_id=str(uuid.uuid5(RUNS, name)),
        stage=wanted.stage,
        original_filename=filename,
        reason=wanted.reason,
    )


async def _page(
    deps: Dependencies, reader: Reader, wanted: BackfillRequest
) -> tuple[Page, int | None]:
    try:
        limit = bounded(wanted.limit, deps.limits.page_limit_max)
        return await reader.query(_photos, wanted.cursor, limit)
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


def _photos(db: Connection, cursor: str | None, limit: int) -> tuple[Page, int | None]:
    page = photos.page(
        db,
        client_id=None,
        status=None,
        session_id=None,
        uploaded_from=None,
        uploaded_to=None,
        cursor=cursor,
        limit=limit,
    )
    return page, photos.count(db) if cursor is None else None


ROUTES = (backfill,)
