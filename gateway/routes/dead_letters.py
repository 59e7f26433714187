"""Dead letters: jobs that failed permanently, until an operator retries or discards them."""

import uuid
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from domain.photo.commands import DiscardFailure, PhotoCommand, RetryProcessing
from domain.pipeline.failures import Category
from domain.pipeline.stages import check_stage
from domain.rejections import PhotoNotFound
from gateway.commands import position_header
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator, overseer
from gateway.http.paging import PAGE, ClientId, Cursor, Limit, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.http.times import parse_time
from gateway.openapi.document import POSITION
from gateway.queries.reading import find
from gateway.routes.bulk import Result, Skipped, Target, execute_each, result_of
from gateway.routes.queues import Reason
from projections.models import cursor as cursors
from projections.models import dead_letters, photos
from projections.models.dead_letters import DeadLetterGroups, DeadLetters, Filter
from projections.models.listing import Sort
from store.sqlite.reader import Reader

RETRIES = uuid.UUID("df8081e6-38fd-440f-a227-58b45b8854bf")
"""Namespace of the ids of retried jobs: retrying the same failure always yields the same job id."""


StageFilter = Annotated[str | None, QueryParameter(description="Only failures of this stage.")]
CategoryFilter = Annotated[
    Category | None, QueryParameter(description="Only failures of this category.")
]


CodeFilter = Annotated[str | None, QueryParameter(name="code")]
Since = Annotated[
    str | None,
    QueryParameter(name="from", description="Only failures at this time or later."),
]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Only failures before this time.")
]
SortOrder = Annotated[Sort, QueryParameter(name="sort", description="By the last failure.")]


class Selection(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Select photos by `photoIds`, or by a filter or `all`, of which one call handles a page."""

    photo_ids: Annotated[list[str], Meta(min_length=1)] | None = None
    stage: str | None = None
    category: Category | None = None
    code: str | None = None
    client_id: str | None = None
    since: str | None = msgspec.field(default=None, name="from")
    until: str | None = msgspec.field(default=None, name="to")
    all: bool = False
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1)] = PAGE

    def filter(self) -> Filter:
        """Return what the dead letters must match; raises Refused, ``invalid-time``."""
        return Filter(
            stage=self.stage,
            category=self.category,
            code=self.code,
            client_id=self.client_id,
            failed_from=parse_time(self.since),
            failed_to=parse_time(self.until),
        )


Priority = Annotated[int, Meta(ge=1, le=10)]


class RetryRequest(Selection, frozen=True, kw_only=True):
    """A null ``priority`` keeps the priority of the failed job."""

    priority: Priority | None = None
    reason: Reason | None = None


class DiscardRequest(Selection, frozen=True, kw_only=True):
    reason: Reason


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """The photos of a selection, those that do not exist, and the cursor of the next page."""

    targets: list[Target]
    missing: list[Skipped] = []
    next_cursor: str | None = None


class Retried(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``next_cursor`` continues with the rest of the selection; null at its end."""

    retried: int
    skipped: list[Skipped]
    results: list[Result]
    next_cursor: str | None


class Discarded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    discarded: int
    skipped: list[Skipped]
    results: list[Result]
    next_cursor: str | None


@get(
    "/api/ops/dead-letters",
    guards=[
        allowed(overseer),
        only(
            *("stage", "category", "code", "clientId", "from", "to", "sort"),
            *("cursor", "limit", "after"),
        ),
    ],
    responses=problems(
        *(
            "unknown-stage",
            "invalid-cursor",
            "invalid-limit",
            "invalid-time",
            "missing-token",
            "forbidden",
            "read-model-behind",
        )
    ),
    tags=["operations"],
    summary="List dead letters",
)
async def list_dead_letters(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    stage: StageFilter = None,
    category: CategoryFilter = None,
    code: CodeFilter = None,
    client_id: ClientId = None,
    since: Since = None,
    until: Until = None,
    sort: SortOrder = "newest",
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> DeadLetters:
    """List jobs that failed permanently: the stage, its attempts and the reason."""
    selection = Selection(
        stage=stage,
        category=category,
        code=code,
        client_id=client_id,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    _check_stage(selection)
    return await _page(deps, reader, selection, sort)


@get(
    "/api/ops/dead-letters/groups",
    guards=[
        allowed(overseer),
        only("stage", "category", "code", "clientId", "from", "to", "after"),
    ],
    responses=problems(
        *("unknown-stage", "invalid-time", "missing-token", "forbidden", "read-model-behind")
    ),
    tags=["operations"],
    summary="Count dead letters by reason",
)
async def group_dead_letters(
    reader: NamedDependency[Reader],
    stage: StageFilter = None,
    category: CategoryFilter = None,
    code: CodeFilter = None,
    client_id: ClientId = None,
    since: Since = None,
    until: Until = None,
) -> DeadLetterGroups:
    """Count the dead letters of each stage, category and code, with the latest as an example."""
    selection = Selection(
        stage=stage, category=category, code=code, client_id=client_id, since=since, until=until
    )
    _check_stage(selection)
    return await reader.query(dead_letters.groups, selection.filter())


@post(
    "/api/ops/dead-letters/retry",
    status_code=200,
    guards=[allowed(operator), only("after")],
    response_headers=[POSITION],
    responses=problems(
        *(
            "unknown-stage",
            "invalid-cursor",
            "invalid-limit",
            "invalid-time",
            "missing-token",
            "not-json",
            "forbidden",
            "log-unavailable",
        ),
        "read-model-behind",
    ),
    tags=["operations"],
    summary="Retry dead letters",
)
async def retry_dead_letters(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    data: JSONBody[RetryRequest],
) -> Response[Retried]:
    """Start a new job for each selected photo from the stage that failed. Completed stages are not
    repeated."""

    async def retry(target: Target) -> PhotoCommand:
        return await _retry(deps, target, data)

    selected = await _select(deps, reader, data)
    batch = await execute_each(request, deps, selected.targets, retry)
    answer = Retried(
        retried=batch.recorded + batch.already,
        skipped=[*selected.missing, *batch.skipped],
        results=[*map(result_of, selected.missing), *batch.results],
        next_cursor=selected.next_cursor,
    )
    return Response(answer, headers=position_header(*batch.positions))


@post(
    "/api/ops/dead-letters/discard",
    status_code=200,
    guards=[allowed(operator), only("after")],
    response_headers=[POSITION],
    responses=problems(
        *(
            "unknown-stage",
            "invalid-cursor",
            "invalid-limit",
            "invalid-time",
            "missing-token",
            "not-json",
            "forbidden",
            "log-unavailable",
        ),
        "read-model-behind",
    ),
    tags=["operations"],
    summary="Discard dead letters",
)
async def discard_dead_letters(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    data: JSONBody[DiscardRequest],
) -> Response[Discarded]:
    """Remove the selected failures from the dead letters. The photos do not change; their history
    records the reason."""

    async def discard(target: Target) -> PhotoCommand:
        return DiscardFailure(photo_id=target.photo_id, reason=data.reason)

    selected = await _select(deps, reader, data)
    batch = await execute_each(request, deps, selected.targets, discard)
    answer = Discarded(
        discarded=batch.recorded + batch.already,
        skipped=[*selected.missing, *batch.skipped],
        results=[*map(result_of, selected.missing), *batch.results],
        next_cursor=selected.next_cursor,
    )
    return Response(answer, headers=position_header(*batch.positions))


def _check_stage(selection: Selection) -> None:
    if selection.stage is not None:
        check_stage(selection.stage)


def retry_of(job_id: str) -> str:
    """Return the id of the job that retries this one."""
    return str(uuid.uuid5(RETRIES, job_id))


async def _retry(deps: Dependencies, target: Target, wanted: RetryRequest) -> PhotoCommand:
    """Return the command that retries the photo's failure.

    If two operators retry the same failure concurrently, one starts the job and the other finds it
    already started. The read model may not show yet that a failure was discarded: it stays
    discarded unless the request names the photo.
    """
    photo = (await deps.log.load(target.photo_id, target.client_id)).photo
    if photo is None:
        raise PhotoNotFound(f"There is no photo {target.photo_id}.")
    job_id = retry_of(photo.job.job_id)
    return RetryProcessing(
        photo_id=photo.photo_id,
        job_id=job_id,
        priority=wanted.priority,
        unless_discarded=wanted.photo_ids is None,
        reason=wanted.reason,
    )


async def _select(deps: Dependencies, reader: Reader, selection: Selection) -> Selected:
    _check_stage(selection)
    bounded(selection.limit, deps.limits.page_limit_max)
    _check_cursor(selection.cursor)
    is_filtered = selection.all or bool(selection.filter().values())
    if is_filtered == (selection.photo_ids is not None):
        raise Refused(
            "invalid-request",
            "Select either by photoIds, or by stage, category, code, clientId, from and to, "
            "or all: true.",
        )
    if selection.photo_ids is not None:
        return await _find(deps, selection.photo_ids)
    page = await _page(deps, reader, selection)
    targets = [Target(photo_id=each.photo_id, client_id=each.client_id) for each in page.items]
    return Selected(targets=targets, next_cursor=page.next_cursor)


def _check_cursor(cursor: str | None) -> None:
    """Reject an invalid cursor, even if the selection does not use it."""
    try:
        if cursor is not None:
            cursors.Cursor.decode(cursor)
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


async def _find(deps: Dependencies, photo_ids: list[str]) -> Selected:
    bounded(len(photo_ids), deps.limits.page_limit_max)
    partitions = tuple(range(deps.log.partitions))
    selected = Selected(targets=[], missing=[])
    for photo_id in dict.fromkeys(photo_ids):
        owner = await find(deps, partitions, photos.owner, photo_id)
        if owner is None:
            missing = Skipped(photo_id=photo_id[:64], code=PhotoNotFound.code)
            selected.missing.append(missing)
        else:
            selected.targets.append(Target(photo_id=photo_id, client_id=owner.client_id))
    return selected


async def _page(
    deps: Dependencies, reader: Reader, selection: Selection, sort: Sort = "newest"
) -> DeadLetters:
    wanted = selection.filter()
    try:
        return await reader.query(
            dead_letters.page,
            wanted=wanted,
            sort=sort,
            cursor=selection.cursor,
            limit=bounded(selection.limit, deps.limits.page_limit_max),
        )
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


ROUTES = (group_dead_letters, list_dead_letters, retry_dead_letters, discard_dead_letters)
