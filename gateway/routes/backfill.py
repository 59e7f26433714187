"""Running one stage over the photos that are there, page by page."""

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
from projections.models import photos
from projections.models.photos import Page
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

RUNS = uuid.UUID("40465386-4407-40aa-848e-04af39e72c07")
"""The namespace of the ids of backfilled jobs: one run asks for each photo's job once."""


class BackfillWish(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """``run`` names all calls that belong together."""

    stage: str
    run: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]+$", max_length=64)]
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1)] = PAGE


class Backfilled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``already`` were asked for by an earlier call of the run; ``total`` counts all photos, on
    the first page."""

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
    summary="Run a stage over a page of all photos",
)
async def backfill(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    data: JSONBody[BackfillWish],
) -> Response[Backfilled]:
    """The stage and those that build on it, in the low lane, newest photos first. Photos whose job
    runs or has failed are skipped. Calling again with the same `run` does nothing twice."""
    check_stage(data.stage)

    async def command_for(target: Target) -> PhotoCommand:
        return _command(data, target)

    page, total = await _page(deps, reader, data)
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


def _command(wish: BackfillWish, target: Target) -> BackfillStage:
    name = f"{wish.stage}:{wish.run}:{target.photo_id}"
    return BackfillStage(
        photo_id=target.photo_id, job_id=str(uuid.uuid5(RUNS, name)), stage=wish.stage
    )


async def _page(deps: Dependencies, reader: Reader, wish: BackfillWish) -> tuple[Page, int | None]:
    try:
        limit = bounded(wish.limit, deps.limits.page_limit_max)
        return await reader.query(_photos, wish.cursor, limit)
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
