"""Which tokens count no more: operators revoke them, and see what is revoked."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from domain.access import Revocations, RevokeAccess
from domain.events import iso
from gateway.auth import CLIENT_ID, operator, overseer
from gateway.commands import naming_the_log, position_header, steer
from gateway.contract import POSITION
from gateway.dependencies import Asked, Dependencies
from gateway.parameters import allowed, only
from gateway.problems import problems
from store.controls import ControlLog

TokenId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
ClientId = Annotated[str, Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z")]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class RevokeWish(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token, or those issued up to ``before``, of one client or of everyone.

    ``before`` may be left out where a client is named: it is the present then.
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
    """``before`` is the time up to which tokens had to be issued to be revoked.

    That of ``everyone`` is null if there is none. Revocations are left out that can concern no
    token any more. Who revoked and why is told by the events ``access.revoked``.
    """

    tokens: list[RevokedToken]
    clients: list[RevokedClient]
    everyone: str | None


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
    request: Asked, deps: NamedDependency[Dependencies], data: JSONBody[RevokeWish]
) -> Response[RevocationsView]:
    """With their sessions: every gateway refuses them and ends their streams within two seconds."""
    command = RevokeAccess(
        now=datetime.now(UTC),
        token_id=data.token_id,
        client_id=data.client_id,
        before=data.before,
        reason=data.reason,
    )
    steered = await steer(request, deps, command)
    request.auth.learn(steered.controls.revocations)
    return Response(_view(steered.controls.revocations), headers=position_header(steered.position))


@get(
    "/api/ops/tokens/revocations",
    guards=[allowed(overseer), only()],
    responses=problems("missing-token", "forbidden", "log-unavailable"),
    tags=["operations"],
    summary="What is revoked",
)
async def list_revocations(deps: NamedDependency[Dependencies]) -> RevocationsView:
    """By token, by client, and of everyone."""
    with naming_the_log(deps.log, "The log does not answer."):
        return _view((await ControlLog(deps.log).load()).controls.revocations)


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


ROUTES = (revoke_tokens, list_revocations)
