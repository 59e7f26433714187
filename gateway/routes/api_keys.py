"""Create, list and revoke API keys."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from domain.clients.api_keys import MOST_KEYS, ApiKey, CreateApiKey, RevokeApiKey
from domain.moments import iso
from gateway.commands import NO_ANSWER, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http import api_keys
from gateway.http.auth import CLIENT_ID, CLIENT_ID_FORM
from gateway.http.problems import problems
from gateway.http.query_guards import only
from gateway.openapi.document import POSITION
from gateway.routes.queues import Reason
from gateway.routes.tokens import revoking
from store.clients.key_uses import read_uses
from store.log.control import ControlLog

Scopes = Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(min_length=1, max_length=10)]


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class KeyRequest(_Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key with a client acts for that client, with the scopes `photos.read`, `photos.write`,
    `events.read` and `priority:high`. A key without one sees and controls the system, with the
    scopes `ops.read`, `ops.write`, `audit.read` and `events.read`. Without ``expires_at`` it does
    not expire."""

    name: Annotated[str, Meta(max_length=200)]
    scopes: Scopes
    client_id: (
        Annotated[str, Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z", description=CLIENT_ID_FORM)] | None
    ) = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class KeyView(_Shape, frozen=True, kw_only=True):
    """A key in force. ``last_used_at`` is null if it was not used in the last year; it may be
    behind by a minute."""

    id: str
    name: str
    client_id: str | None
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class CreatedKey(KeyView, frozen=True, kw_only=True):
    """A new key. ``key`` is shown only in this answer; nobody can read it later."""

    key: str


class KeysView(_Shape, frozen=True, kw_only=True):
    """The keys that have neither expired nor been revoked, in the order of their creation."""

    items: list[KeyView]


class EndedKeyView(_Shape, frozen=True, kw_only=True):
    """A key that was revoked or has expired. ``last_used_at`` is null if it was not used for a
    year."""

    id: str
    ended_at: str
    last_used_at: str | None


class EndedKeysView(_Shape, frozen=True, kw_only=True):
    """The last 1,000 keys that were revoked or have expired, in the order in which they ended."""

    items: list[EndedKeyView]


@post(
    "/api/keys",
    guards=[only()],
    response_headers=[POSITION],
    responses=problems(
        *("invalid-key", "too-many-keys", "missing-token", "forbidden", "log-unavailable"),
        "not-json",
    ),
    tags=["operations"],
    summary="Create an API key",
)
async def create_key(
    request: Asked, deps: NamedDependency[Dependencies], data: JSONBody[KeyRequest]
) -> Response[CreatedKey]:
    """Create a key for a program, which sends it in `Authorization: Bearer`.

    The log keeps its SHA-256 only. Within two seconds, every gateway accepts it."""
    made = api_keys.make()
    command = CreateApiKey(
        now=datetime.now(UTC),
        key_id=made.id,
        name=data.name,
        digest=made.digest,
        scopes=frozenset(data.scopes),
        client_id=data.client_id,
        expires_at=data.expires_at,
    )
    steered = await steer(request, deps, command)
    request.auth.learn(steered.controls)
    view = _view(made.id, steered.controls.api_keys.active[made.id], None)
    answer = CreatedKey(**msgspec.structs.asdict(view), key=made.text)
    return Response(answer, headers=position_header(steered.position))


@get(
    "/api/keys",
    guards=[only()],
    responses=problems("missing-token", "forbidden", "log-unavailable", reads=True),
    tags=["operations"],
    summary="List API keys",
)
async def list_keys(deps: NamedDependency[Dependencies]) -> KeysView:
    """List the keys in force, with their scopes and when each was last used."""
    now = datetime.now(UTC)
    with naming_the_log(deps.log, NO_ANSWER):
        active = (await ControlLog(deps.log).load()).controls.api_keys.active
        uses = await read_uses(deps.log, active)
    return KeysView(
        items=[
            _view(key_id, key, uses.get(key_id))
            for key_id, key in sorted(active.items(), key=lambda item: item[1].created_at)
            if not key.is_expired(now)
        ]
    )


@get(
    "/api/keys/ended",
    guards=[only()],
    responses=problems("missing-token", "forbidden", "log-unavailable", reads=True),
    tags=["operations"],
    summary="List API keys that have ended",
)
async def list_ended_keys(deps: NamedDependency[Dependencies]) -> EndedKeysView:
    """List keys that were revoked or have expired, with when each was last used.

    Their names and scopes, and who revoked them, are in `GET /api/audit`."""
    now = datetime.now(UTC)
    with naming_the_log(deps.log, NO_ANSWER):
        keys = (await ControlLog(deps.log).load()).controls.api_keys
        ended = sorted(keys.all_ended(now).items(), key=lambda item: item[1])[-MOST_KEYS:]
        uses = await read_uses(deps.log, [key_id for key_id, _ in ended])
    return EndedKeysView(
        items=[
            EndedKeyView(id=key_id, ended_at=iso(at), last_used_at=_used_at(uses.get(key_id)))
            for key_id, at in ended
        ]
    )


class KeyRevoked(_Shape, frozen=True, kw_only=True):
    """The ids of the webhooks that the revocation has disabled: those that the key has made,
    changed, enabled or replayed, or whose secret it rotated."""

    disabled_webhooks: list[str]


@delete(
    "/api/keys/{key_id:str}",
    status_code=200,
    guards=[only("reason")],
    response_headers=[POSITION],
    responses=problems("key-not-found", "missing-token", "forbidden", "log-unavailable"),
    tags=["operations"],
    summary="Revoke an API key",
)
async def revoke_key(
    request: Asked,
    deps: NamedDependency[Dependencies],
    key_id: FromPath[str],
    reason: Annotated[
        Reason | None, QueryParameter(description="Recorded with the revocation.")
    ] = None,
) -> Response[KeyRevoked]:
    """Revoke a key for good. Within two seconds, every gateway rejects it and closes its streams.

    Revoking it again records nothing."""
    command = RevokeApiKey(key_id=key_id, reason=reason or "")
    steered, disabled = await revoking(request, deps, command)
    answer = KeyRevoked(disabled_webhooks=disabled)
    return Response(answer, headers=position_header(steered.position))


def _view(key_id: str, key: ApiKey, used_ms: int | None) -> KeyView:
    return KeyView(
        id=key_id,
        name=key.name,
        client_id=key.client_id,
        scopes=sorted(key.scopes),
        created_at=iso(key.created_at),
        expires_at=iso(key.expires_at) if key.expires_at else None,
        last_used_at=_used_at(used_ms),
    )


def _used_at(used_ms: int | None) -> str | None:
    return None if used_ms is None else iso(datetime.fromtimestamp(used_ms / 1000, UTC))


ROUTES = (create_key, list_keys, list_ended_keys, revoke_key)
