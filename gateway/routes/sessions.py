"""Upload sessions: the photos that a client uploads under one ``sessionId``.

| request | answer |
|---|---|
| ``PUT`` of a new session, or of one that has expired | 201: it is open |
| ``PUT`` of an open session | 200; with another ``expected``, that is changed |
| ``PUT`` of a closed session, unless it asks to close it | 409 ``session-closed`` |
| ``PUT`` with ``status: closed`` | 200, also the second time; 404 ``session-not-found`` |
| ``PUT`` by a client with ``open_upload_sessions`` open ones | 429 ``too-many-open-sessions`` |

An upload opens its session by itself. Of two requests that open a session at once, one gets 201.
"""

from contextlib import suppress
from typing import Annotated, Literal
from urllib.parse import unquote
from weakref import WeakValueDictionary

import anyio
import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from domain.clients.quotas import NO_QUOTA
from domain.photo.commands import PhotoCommand, RetryProcessing
from domain.pipeline.failures import LASTING
from domain.sessions.events import Expected
from domain.sessions.session import CloseSession, OpenSession
from gateway.commands import accepting, position_header
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Forbidden, Principal, Role, writer
from gateway.http.paging import PAGE, ClientId, Cursor, Limit, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.http.session_ids import checked_session_id
from gateway.limits.quotas import Quotas
from gateway.openapi.document import POSITION, OptionalBody
from gateway.queries.reading import find, reach
from gateway.routes.bulk import Target, execute_each
from gateway.routes.dead_letters import Retried, retry_of
from gateway.routes.queues import Reason
from gateway.sessions.changing import change, known_of
from projections.models import session_list
from projections.models.session_list import SessionLine, SessionStatus, SessionView
from store.log.sessions import Done
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

FAILURES_SHOWN = 20

StatusFilter = Annotated[SessionStatus | None, QueryParameter(name="status")]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class SessionLines(_Shape, frozen=True, kw_only=True):
    """Sessions, the newest first. ``next_cursor`` is null on the last page."""

    items: list[SessionLine]
    next_cursor: str | None


class SessionRequest(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``expected`` is how many photos the client will upload; null leaves it as it is. ``reason``
    is for operators that close a session."""

    status: Literal["open", "closed"] = "open"
    expected: Expected | None = None
    reason: Reason | None = None


class SessionChange(_Shape, frozen=True, kw_only=True):
    """The session after the request. ``position`` is that of its last event; null without any."""

    session_id: str
    client_id: str
    status: Literal["open", "closed"]
    expected: int | None
    position: str | None


class SessionRetry(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retry up to ``limit`` failed photos of a session.

    ``cursor`` is ``nextCursor`` of the previous answer; ``client_id`` is for operators.
    ``skip_lasting`` leaves out failures that lie in the bytes of the photo, whose category is
    `data` or `security`: they would come back."""

    session_id: str
    client_id: str | None = None
    skip_lasting: bool = False
    cursor: (
        Annotated[
            str,
            Meta(
                pattern=r"\A[0-9A-Za-z-]{1,64}\Z",
                description="the nextCursor of the page before, unchanged",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1)] = PAGE
    reason: Reason | None = None


class Openings:
    """One opening at a time for each client of a gateway, so that the limit can be counted."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def of(self, client_id: str) -> anyio.Lock:
        return self._locks.setdefault(client_id, anyio.Lock())


@get(
    "/api/sessions",
    guards=[only("clientId", "status", "cursor", "limit", "after")],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "missing-token", "forbidden", "read-model-behind")
    ),
    tags=["sessions"],
    summary="List upload sessions",
)
async def list_sessions(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    client_id: ClientId = None,
    status: StatusFilter = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> SessionLines:
    """List upload sessions, the newest first.

    Clients see their own; operators and auditors see all, or those of `clientId`."""
    given = {"client_id": _whose(request.user, client_id), "status": status}
    filters: dict[str, str] = {name: value for name, value in given.items() if value is not None}
    limit = bounded(limit, deps.limits.page_limit_max)
    try:
        items, end = await reader.query(
            session_list.page, filters=filters, cursor=cursor, limit=limit
        )
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error
    return SessionLines(items=items, next_cursor=end)


@get(
    "/api/sessions/{session_id:path}",
    guards=[only("clientId", "after")],
    responses=problems(
        *("session-not-found", "ambiguous-session", "missing-token", "read-model-behind")
    ),
    tags=["sessions"],
    summary="Get an upload session",
)
async def one_session(
    request: Asked,
    reader: NamedDependency[Reader],
    session_id: FromPath[str],  # described in OpenAPI; see ``_of_path``
    client_id: ClientId = None,
) -> SessionView:
    """Count what was uploaded in a session, and what became of it, with the first 20 failures.

    `GET /api/photos` with `sessionId` and `status=failed` lists all of them. Operators and auditors
    add `clientId` if several clients use the same session id."""
    session_id = _of_path(request)
    whose = request.user.client_id if request.user.role is Role.CLIENT else client_id
    line = _only_one(await reader.query(_found, session_id, whose), session_id)
    failures = await reader.query(
        session_list.failures, line.client_id, session_id, "", FAILURES_SHOWN
    )
    fields = msgspec.structs.asdict(line)
    return SessionView(**fields, failures=failures)


@put(
    "/api/sessions/{session_id:path}",
    guards=[allowed(writer), only("clientId")],
    operation_class=OptionalBody,
    response_headers=[POSITION],
    status_code=201,
    responses={
        200: ResponseSpec(
            SessionChange, description="The session was open, or is closed", generate_examples=False
        ),
    }
    | problems(
        *("invalid-session", "session-closed", "session-not-found", "ambiguous-session"),
        *("too-many-open-sessions", "missing-token", "forbidden", "not-json"),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["sessions"],
    summary="Open or close an upload session",
)
async def change_session(
    request: Asked,
    deps: NamedDependency[Dependencies],
    openings: NamedDependency[Openings],
    session_id: FromPath[str],  # described in OpenAPI; see ``_of_path``
    data: JSONBody[SessionRequest | None] = None,
    client_id: ClientId = None,
) -> Response[SessionChange]:
    """Open a session, perhaps with how many photos it will have, or close it for good.

    201 if the request has opened it. A closed session takes no more uploads: they get 409
    `session-closed`. The event `session.completed` says what came of it, once all of its photos
    have been processed. Operators may close the session of another client, `clientId`."""
    session_id, wanted = checked_session_id(_of_path(request)), data or SessionRequest()
    await accepting(deps, request.user)
    if wanted.status == "closed":
        return await _close(request, deps, session_id, client_id, wanted)
    if client_id not in (None, request.user.client_id):
        raise Forbidden("Only the client itself can open its session.")
    return await _open(request, deps, openings, session_id, wanted)


@post(
    "/api/photos/retry",
    guards=[allowed(writer), only("after")],
    response_headers=[POSITION],
    status_code=200,
    responses=problems(
        *("invalid-session", "session-not-found", "ambiguous-session", "invalid-limit"),
        *("missing-token", "forbidden", "not-json", "log-unavailable", "read-model-behind"),
    ),
    tags=["sessions"],
    summary="Retry the failed photos of a session",
)
async def retry_failed(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    quotas: NamedDependency[Quotas],
    data: JSONBody[SessionRetry],
) -> Response[Retried]:
    """Start a new job for each failed photo of the session, from the stage that failed.

    Repeating the request starts no job twice. Photos whose failure an operator has discarded are
    skipped, and so are those beyond the client's quota. Closed sessions are retried too."""
    limit = bounded(data.limit, deps.limits.page_limit_max)
    session_id = checked_session_id(data.session_id)
    await accepting(deps, request.user)
    line = await _existing(request.user, deps, session_id, data.client_id)
    failed = await reader.query(
        session_list.failures, line.client_id, session_id, data.cursor or "", limit
    )
    left_out = LASTING if data.skip_lasting else ()
    jobs = {each.photo_id: each.job_id for each in failed if each.category not in left_out}

    async def retry(target: Target) -> PhotoCommand:
        job_id = jobs[target.photo_id]
        return RetryProcessing(
            photo_id=target.photo_id,
            job_id=retry_of(job_id),
            failed_job=job_id,
            unless_discarded=True,
            reason=data.reason,
        )

    targets = [Target(photo_id=each, client_id=line.client_id) for each in jobs]
    is_client = request.user.role is Role.CLIENT
    quota = quotas.of(line.client_id) if is_client else NO_QUOTA
    batch = await execute_each(request, deps, targets, retry, quota=quota)
    answer = Retried(
        retried=batch.recorded + batch.already,
        skipped=batch.skipped,
        results=batch.results,
        next_cursor=failed[-1].photo_id if len(failed) == limit else None,
    )
    return Response(answer, headers=position_header(*batch.positions))


async def _open(
    request: Asked,
    deps: Dependencies,
    openings: Openings,
    session_id: str,
    wanted: SessionRequest,
) -> Response[SessionChange]:
    client_id = request.user.client_id
    async with openings.of(client_id):
        line = (await known_of(deps, client_id, session_id)).line
        is_new = line is None or line.status == "expired"
        if is_new:
            await _check_count(deps, client_id)
        command = OpenSession(client_id=client_id, session_id=session_id, expected=wanted.expected)
        done = await change(request, deps, command)
        if is_new and done.changed and done.after.position is not None:
            with suppress(Refused):  # it is open, even if the next opening may not count it
                await reach(deps, done.after.position)
    return _answer(client_id, session_id, done, 201 if is_new and done.changed else 200)


async def _close(
    request: Asked,
    deps: Dependencies,
    session_id: str,
    client_id: str | None,
    wanted: SessionRequest,
) -> Response[SessionChange]:
    if wanted.expected is not None:
        raise Refused("invalid-request", "`expected` is only for a session that stays open.")
    line = await _existing(request.user, deps, session_id, client_id)
    command = CloseSession(
        client_id=line.client_id, session_id=session_id, reason=wanted.reason or None
    )
    done = await change(request, deps, command)
    return _answer(line.client_id, session_id, done, 200)


async def _check_count(deps: Dependencies, client_id: str) -> None:
    most = deps.limits.open_upload_sessions
    if await deps.reader.query(session_list.open_of, client_id, most) >= most:
        raise Refused(
            "too-many-open-sessions", f"The client already has {most:,} open upload sessions."
        )


async def _existing(
    principal: Principal, deps: Dependencies, session_id: str, client_id: str | None
) -> SessionLine:
    """Return the session, waiting for the read model before it denies that there is one."""
    if principal.role is Role.CLIENT:
        whose = _whose(principal, client_id)
        partitions = (deps.log.partition_of(principal.client_id),)
    else:
        whose, partitions = client_id, tuple(range(deps.log.partitions))
    found = await find(deps, partitions, _found_or_none, session_id, whose)
    return _only_one(found or [], session_id)


def _answer(
    client_id: str, session_id: str, done: Done, status_code: int
) -> Response[SessionChange]:
    session, position = done.after.session, done.after.position
    answer = SessionChange(
        session_id=session_id,
        client_id=client_id,
        status="closed" if session.closed else "open",
        expected=session.expected,
        position=None if position is None else str(position),
    )
    return Response(answer, status_code=status_code, headers=position_header(position))


def _of_path(request: Asked) -> str:
    """Return the session id in the path, as it was sent: the router merges its slashes."""
    return unquote(request.scope["raw_path"].decode("latin-1")).removeprefix("/api/sessions/")


def _whose(principal: Principal, client_id: str | None) -> str | None:
    if principal.role is not Role.CLIENT:
        return client_id
    if client_id not in (None, principal.client_id):
        raise Forbidden("Clients can use only their own sessions.")
    return principal.client_id


def _only_one(found: list[SessionLine], session_id: str) -> SessionLine:
    if not found:
        raise Refused("session-not-found", f"There is no session {session_id[:64]!r}.")
    if len(found) > 1:
        raise Refused("ambiguous-session", f"{len(found)} clients have a session with this id.")
    return found[0]


def _found(db: Connection, session_id: str, client_id: str | None) -> list[SessionLine]:
    if client_id is None:
        return session_list.find(db, session_id)
    session = session_list.get(db, client_id, session_id)
    return [session] if session else []


def _found_or_none(
    db: Connection, session_id: str, client_id: str | None
) -> list[SessionLine] | None:
    return _found(db, session_id, client_id) or None


ROUTES = (list_sessions, one_session, change_session, retry_failed)
