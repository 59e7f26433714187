"""Read photos, and run commands on existing ones."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from domain.clients.quotas import NO_QUOTA
from domain.photo.commands import DeletePhoto, RequestProcessing
from domain.photo.status import Status
from domain.pipeline.stages import DEFAULT_PIPELINE, DEFAULT_PRIORITY
from gateway.commands import accepting, execute, position_header
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Forbidden, Principal, Role, check_priority_allowed, writer
from gateway.http.compressed import Compressed
from gateway.http.paging import PAGE, ClientId, Cursor, Limit, bounded
from gateway.http.preconditions import CONDITIONAL, of_photo, of_photo_to_change
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.http.times import parse_time
from gateway.limits.quotas import Quotas
from gateway.openapi.document import ETAG, LAST_MODIFIED, NOT_MODIFIED, POSITION, OptionalBody
from gateway.queries.reading import hidden, not_found, owner_to_change, visible
from projections.models import history, photos, timeline
from projections.models.history import Room
from projections.models.photos import Order, Page, PhotoView
from projections.models.timeline import Step, Timeline
from store.log.codec import WireEvent
from store.log.position import Position
from store.sqlite.reader import Reader

StatusFilter = Annotated[
    Status | None, QueryParameter(description="Only photos with this processing status.")
]
SessionId = Annotated[
    str | None,
    QueryParameter(name="sessionId", description="Only photos of this upload session."),
]
Since = Annotated[
    str | None,
    QueryParameter(name="from", description="Only photos uploaded at this time or later."),
]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Only photos uploaded before this time.")
]

Sort = Annotated[
    Order,
    QueryParameter(
        description="By time of upload, or by date taken; photos without one count as taken when "
        "they were uploaded."
    ),
]
TakenFrom = Annotated[
    str | None,
    QueryParameter(
        name="takenFrom",
        description="Only photos taken at this local time or later: `2019-07`, `2019-07-04` or "
        "`2019-07-04T12:00:00`. Requires `sort=taken`, like `takenTo`.",
    ),
]
TakenTo = Annotated[
    str | None,
    QueryParameter(name="takenTo", description="Only photos taken before this local time."),
]
By = Annotated[Step, QueryParameter(description="What each bucket spans.")]
BucketCursor = Annotated[
    str | None, QueryParameter(name="cursor", description="`nextCursor` of the previous page.")
]


class ReprocessRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    pipeline: str = DEFAULT_PIPELINE
    priority: int = DEFAULT_PRIORITY


class Requested(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The new job that will process the photo."""

    photo_id: str
    job_id: str
    status: Literal["queued"] = "queued"
    position: str


class History(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Events, oldest first; ``next_cursor`` continues with later ones."""

    items: list[WireEvent]
    next_cursor: str | None


FRESH = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""A photo may be cached, but must be revalidated each time."""

_wire = msgspec.json.Decoder(WireEvent)

_LOCAL_TIME = re.compile(r"\d{4}-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?", re.ASCII)
_BUCKET = re.compile(timeline.BUCKET, re.ASCII)


@get(
    "/api/photos",
    guards=[
        only(
            *("status", "sessionId", "clientId", "from", "to", "sort", "takenFrom", "takenTo"),
            *("cursor", "limit", "after"),
        )
    ],
    middleware=[Compressed],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "invalid-time", "missing-token", "forbidden"),
        "read-model-behind",
    ),
    tags=["photos"],
    summary="List photos",
)
async def list_photos(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    status: StatusFilter = None,
    session_id: SessionId = None,
    client_id: ClientId = None,
    since: Since = None,
    until: Until = None,
    sort: Sort = "uploaded",
    taken_from: TakenFrom = None,
    taken_to: TakenTo = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Page:
    """List photos, newest first.

    Clients see their own photos; operators and auditors see all, or those of `clientId`. With
    `sort=taken`, filter by `takenFrom` and `takenTo`; otherwise by `status`, `sessionId`, `from`
    and `to`."""
    of_uploads = {"status": status, "sessionId": session_id, "from": since, "to": until}
    of_shots = {"takenFrom": taken_from, "takenTo": taken_to}
    for name, value in (of_uploads if sort == "taken" else of_shots).items():
        if value is not None:
            other = "taken" if sort == "uploaded" else "uploaded"
            raise Refused(
                "invalid-request",
                f"{name} filters photos in another order.",
                advice=f"Use {name} with sort={other}.",
            )
    try:
        return await reader.query(
            photos.page,
            client_id=_listed_client(request.user, client_id),
            status=status,
            session_id=session_id,
            uploaded_from=parse_time(since),
            uploaded_to=parse_time(until),
            taken_from=_local_time(taken_from),
            taken_to=_local_time(taken_to),
            order=sort,
            cursor=cursor,
            limit=bounded(limit, deps.limits.page_limit_max),
        )
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


@get(
    "/api/photos/timeline",
    guards=[only("by", "clientId", "cursor", "after")],
    middleware=[Compressed],
    responses=problems("invalid-cursor", "missing-token", "forbidden", "read-model-behind"),
    tags=["photos"],
    summary="Count photos by date",
)
async def photo_timeline(
    request: Asked,
    reader: NamedDependency[Reader],
    by: By = "month",
    client_id: ClientId = None,
    cursor: BucketCursor = None,
) -> Timeline:
    """Count the photos of each day, month or year that has any, latest first.

    A photo counts on the local day on which it was taken or, if that is unknown, on the day of its
    upload. Clients see their own photos; operators and auditors see all, or those of `clientId`."""
    if cursor is not None and not _BUCKET.fullmatch(cursor):
        raise Refused("invalid-cursor", f"{cursor[:40]!r} is not a cursor of this list.")
    return await reader.query(
        timeline.page, by=by, client_id=_listed_client(request.user, client_id), cursor=cursor
    )


@get(
    "/api/photos/{photo_id:str}",
    guards=[only("after")],
    response_headers=[ETAG, LAST_MODIFIED],
    responses=problems("photo-not-found", "missing-token", "read-model-behind") | NOT_MODIFIED,
    tags=["photos"],
    summary="Get a photo",
)
async def one_photo(
    request: Asked, reader: NamedDependency[Reader], photo_id: FromPath[str]
) -> Response[PhotoView]:
    """Return what is known about the photo so far. Its `ETag` changes with each of its events."""
    photo = await reader.query(photos.get, photo_id)
    if photo is None:
        raise not_found(photo_id)
    if not request.user.may_see(photo.client_id):
        raise hidden(photo_id)
    current = of_photo(photo.version, Position.parse(photo.position))
    return Response(photo, headers=current.headers() | FRESH)


@delete(
    "/api/photos/{photo_id:str}",
    guards=[allowed(writer), only()],
    opt={CONDITIONAL: True},
    response_headers=[POSITION],
    responses=problems("photo-not-found", "missing-token", "forbidden", "log-unavailable"),
    tags=["photos"],
    summary="Delete a photo",
)
async def delete_photo(
    request: Asked, deps: NamedDependency[Dependencies], photo_id: FromPath[str]
) -> Response[None]:
    """Delete a photo; its files are erased in the background.

    Deleting it again also returns 204 and records nothing. With `If-Match`, the photo is deleted
    only if it has this `ETag`."""
    require = of_photo_to_change(request)
    await accepting(deps, request.user)
    owner = await owner_to_change(deps, photo_id, request.user)
    command = DeletePhoto(photo_id=photo_id)
    outcome = await execute(request, deps, command, owner.client_id, require=require)
    return Response(None, status_code=204, headers=position_header(outcome.position))


@post(
    "/api/photos/{photo_id:str}/reprocess",
    guards=[allowed(writer), only()],
    opt={CONDITIONAL: True},
    operation_class=OptionalBody,
    status_code=202,
    response_headers=[POSITION],
    responses=problems(
        *("photo-not-found", "photo-deleted", "job-running", "unknown-pipeline"),
        *("invalid-priority", "not-json", "missing-token", "forbidden", "scope-required"),
        *("log-unavailable", "quota-jobs", "quota-bytes", "too-many-superseded"),
    ),
    tags=["photos"],
    summary="Process a photo again",
)
async def reprocess(
    request: Asked,
    deps: NamedDependency[Dependencies],
    quotas: NamedDependency[Quotas],
    photo_id: FromPath[str],
    data: JSONBody[ReprocessRequest | None] = None,
) -> Response[Requested]:
    """Run a pipeline over the photo as a new job.

    The photo's current job must have ended. `If-Match` and the other preconditions refer to the
    photo. Operators may exceed the client's quota."""
    require = of_photo_to_change(request)
    wanted, job_id = data or ReprocessRequest(), str(uuid.uuid4())
    check_priority_allowed(request.user, wanted.priority)
    await accepting(deps, request.user)
    owner = await owner_to_change(deps, photo_id, request.user)
    command = RequestProcessing(
        photo_id=photo_id, job_id=job_id, pipeline=wanted.pipeline, priority=wanted.priority
    )
    quota = quotas.of(owner.client_id) if request.user.role is Role.CLIENT else NO_QUOTA
    outcome = await execute(request, deps, command, owner.client_id, quota=quota, require=require)
    answer = Requested(photo_id=photo_id, job_id=job_id, position=str(outcome.position))
    return Response(answer, status_code=202, headers=position_header(outcome.position))


@get(
    "/api/photos/{photo_id:str}/history",
    guards=[only("cursor", "limit", "after")],
    responses=problems(
        *("photo-not-found", "invalid-cursor", "invalid-limit", "missing-token"),
        "read-model-behind",
    ),
    tags=["photos"],
    summary="Get a photo's history",
)
async def photo_history(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: FromPath[str],
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> History:
    """List the photo's events, oldest first, even after it was deleted."""
    owner = visible(await reader.query(photos.owner, photo_id), photo_id, request.user)
    partition = deps.log.partition_of(owner.client_id)
    room = Room(kind="photo", id=photo_id, client_id=owner.client_id)
    limit = bounded(limit, deps.limits.page_limit_max)
    start = history_start(cursor, partition)
    entries = await reader.query(history.room_events, room, partition, start, None, limit)
    return History(
        items=[_wire.decode(entry.body) for entry in entries],
        next_cursor=str(entries[-1].position) if len(entries) == limit else None,
    )


def _listed_client(principal: Principal, client_id: str | None) -> str | None:
    if principal.role is not Role.CLIENT:
        return client_id
    if client_id not in (None, principal.client_id):
        raise Forbidden("Clients can list only their own photos.")
    return principal.client_id


def _local_time(text: str | None) -> str | None:
    """Return the first moment of a local time, day or month, as photos are dated.

    Raises:
        Refused: ``invalid-time``.
    """
    if text is None:
        return None
    written = text.upper()
    moment = timeline.dated(written, None)
    try:
        if moment is not None and _LOCAL_TIME.fullmatch(written):
            datetime.fromisoformat(moment)
            return moment
    except ValueError:
        pass
    raise Refused(
        "invalid-time",
        f"{text[:40]!r} is not a local date or time.",
        advice="Write times without a zone, like 2026-11-23T10:00:00, days or months.",
    )


def history_start(cursor: str | None, partition: int) -> Position:
    """Return the position after which a page of a photo's history begins; raises Refused."""
    if cursor is None:
        return Position.start(partition)
    try:
        position = Position.parse(cursor)
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error
    if position.partition != partition:
        raise Refused("invalid-cursor", "This cursor belongs to another history.")
    return position


ROUTES = (list_photos, photo_timeline, one_photo, delete_photo, reprocess, photo_history)
