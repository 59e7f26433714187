"""Revoke tokens, and list the revocations."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from domain.clients.api_keys import RevokeApiKey
from domain.clients.revocations import (
    LONGEST_LIFE,
    AccessRevoked,
    Revocations,
    RevokeAccess,
    is_superseded,
)
from domain.moments import iso
from domain.photo.events import Metadata
from domain.webhooks.revocations import disabled_since
from gateway.commands import NO_ANSWER, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import CLIENT_ID, CLIENT_ID_FORM, operator, overseer
from gateway.http.paging import PAGE, Cursor, Limit, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.openapi.document import POSITION
from gateway.queries.reading import reach
from projections.models import history
from projections.models.history import LATEST_MS
from store.log.control import PARTITION, ControlLog, ControlState
from store.log.position import Position
from store.sqlite.reader import Reader

TokenId = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z", description="1 to 64 letters, digits and ._-")
]
ClientId = Annotated[str, Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z", description=CLIENT_ID_FORM)]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class RevokeRequest(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Revoke one token, or all tokens issued up to ``before``, of one client or of everyone.

    For a client, ``before`` defaults to the current time.
    """

    token_id: TokenId | None = None
    client_id: ClientId | None = None
    before: Annotated[datetime, Meta(tz=True)] | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""


class RevokedToken(_Shape, frozen=True, kw_only=True):
    token_id: str
    revoked_at: str


class RevokedClient(_Shape, frozen=True, kw_only=True):
    client_id: str
    before: str


class RevocationsView(_Shape, frozen=True, kw_only=True):
    """The revocations in force: tokens issued up to ``before`` are revoked.

    ``everyone`` is that time for the tokens of all clients; null if they were never revoked.
    Revocations that a wider one supersedes are left out; ``/api/ops/tokens/history`` lists them.
    """

    tokens: list[RevokedToken]
    clients: list[RevokedClient]
    everyone: str | None


class Revoked(RevocationsView, frozen=True, kw_only=True):
    """The revocations in force after one more, and the ids of the webhooks that it has disabled:
    those that the access has made, changed, enabled or replayed, or whose secret it rotated."""

    disabled_webhooks: list[str]


class RevocationView(_Shape, frozen=True, kw_only=True):
    """A revocation of one token, or of those issued up to ``before``, of a client or of everyone.

    ``superseded``: a wider revocation rejects the same tokens and more.
    """

    token_id: str | None
    client_id: str | None
    before: str | None
    revoked_at: str
    revoked_by: str
    reason: str
    superseded: bool
    position: str


class RevocationHistory(_Shape, frozen=True, kw_only=True):
    items: list[RevocationView]
    next_cursor: str | None


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as stored in the history."""

    id: str
    timestamp: str
    data: AccessRevoked
    metadata: Metadata


_recorded = msgspec.json.Decoder(_Recorded)


@post(
    "/api/ops/tokens/revoke",
    guards=[allowed(operator), only()],
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("invalid-revocation", "too-many-revocations", "missing-token", "forbidden"),
        *("log-unavailable", "not-json"),
    ),
    tags=["operations"],
    summary="Revoke tokens",
)
async def revoke_tokens(
    request: Asked, deps: NamedDependency[Dependencies], data: JSONBody[RevokeRequest]
) -> Response[Revoked]:
    """Revoke one token, or all tokens of a client or of everyone issued up to a time.

    Their sessions end too, and with those of a client or of everyone the API keys created up to
    the time. Within two seconds, every gateway rejects them and closes their streams."""
    command = RevokeAccess(
        now=datetime.now(UTC),
        token_id=data.token_id,
        client_id=data.client_id,
        before=data.before,
        reason=data.reason,
    )
    steered, disabled = await revoking(request, deps, command)
    view = msgspec.structs.asdict(_view(steered.controls.revocations))
    answer = Revoked(**view, disabled_webhooks=disabled)
    return Response(answer, headers=position_header(steered.position))


async def revoking(
    request: Asked, deps: Dependencies, command: RevokeAccess | RevokeApiKey
) -> tuple[ControlState, list[str]]:
    """End access; return the controls then, and the webhooks that were disabled meanwhile."""
    with naming_the_log(deps.log, NO_ANSWER):
        before = (await ControlLog(deps.log).load()).controls.webhooks
    steered = await steer(request, deps, command)
    request.auth.learn(steered.controls)
    return steered, list(disabled_since(before, steered.controls.webhooks))


@get(
    "/api/ops/tokens/revocations",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden", "log-unavailable", reads=True),
    tags=["operations"],
    summary="List the revocations in force",
)
async def list_revocations(deps: NamedDependency[Dependencies]) -> RevocationsView:
    """List the revocations that currently reject tokens: by token, by client, and of everyone."""
    with naming_the_log(deps.log, NO_ANSWER):
        return _view((await ControlLog(deps.log).load()).controls.revocations)


@get(
    "/api/ops/tokens/history",
    guards=[allowed(overseer), only("cursor", "limit", "after")],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "missing-token", "forbidden", "log-unavailable"),
        "read-model-behind",
        reads=True,
    ),
    tags=["operations"],
    summary="List all revocations",
)
async def list_revoked(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> RevocationHistory:
    """List every revocation, newest first: what was revoked, when, by whom and why.

    Revocations are left out once every token that they cover has expired."""
    limit = bounded(limit, deps.limits.page_limit_max)
    before = Position(PARTITION, LATEST_MS, 0) if cursor is None else _from_cursor(cursor)
    with naming_the_log(deps.log, NO_ANSWER):
        steered = await ControlLog(deps.log).load()
    if cursor is None:
        await reach(deps, steered.position)
    since_ms = int((datetime.now(UTC) - LONGEST_LIFE).timestamp() * 1000)
    entries = await reader.query(history.of_no_photo, AccessRevoked.TYPE, before, since_ms, limit)
    revocations = steered.controls.revocations
    return RevocationHistory(
        items=[_item(_recorded.decode(entry.body), revocations) for entry in entries],
        next_cursor=str(entries[-1].position) if len(entries) == limit else None,
    )


def _from_cursor(cursor: str) -> Position:
    try:
        position = Position.parse(cursor)
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error
    if position.partition != PARTITION:
        raise Refused("invalid-cursor", "This cursor belongs to another list.")
    return position


def _item(recorded: _Recorded, revocations: Revocations) -> RevocationView:
    data = recorded.data
    return RevocationView(
        token_id=data.token_id,
        client_id=data.client_id,
        before=data.before,
        revoked_at=recorded.timestamp,
        revoked_by=recorded.metadata.actor,
        reason=data.reason,
        superseded=is_superseded(data, datetime.fromisoformat(recorded.timestamp), revocations),
        position=recorded.id,
    )


def _view(revocations: Revocations) -> RevocationsView:
    return RevocationsView(
        tokens=[
            RevokedToken(token_id=token_id, revoked_at=iso(at))
            for token_id, at in revocations.tokens.items()
        ],
        clients=[
            RevokedClient(client_id=client_id, before=iso(before))
            for client_id, before in revocations.clients.items()
        ],
        everyone=revocations.everyone and iso(revocations.everyone),
    )


ROUTES = (revoke_tokens, list_revocations, list_revoked)
