"""Create, list, change, replay and delete webhooks.

A client sees and changes its own; operators those of everyone, and those of the system, which get
the events of all clients. Auditors see them all.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from domain.photo.events import EVENT_TYPES
from domain.system_events import SystemData
from domain.webhooks.addresses import parse_networks
from domain.webhooks.webhooks import (
    MOST_OF_CLIENTS,
    MOST_WEBHOOKS,
    AnyWebhookCommand,
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    Webhook,
)
from gateway.commands import NO_ANSWER, naming_the_log, position_header, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Forbidden
from gateway.http.paging import PAGE, ClientId, Limit, bounded
from gateway.http.problems import problems
from gateway.http.query_guards import only
from gateway.limits.throttling import WEBHOOK
from gateway.openapi.document import POSITION
from gateway.queries.webhook_starts import starts_of
from gateway.routes.queues import Reason
from gateway.routes.webhook_permissions import (
    author_of,
    changeable_webhook,
    execute_on_webhook,
    not_found,
    owner_of_new,
    visible_webhook,
)
from gateway.routes.webhook_requests import (
    ReplayRequest,
    WebhookChange,
    WebhookReason,
    WebhookRequest,
)
from gateway.routes.webhook_views import (
    CreatedWebhook,
    DeliveryList,
    RotatedSecret,
    WebhookList,
    WebhookView,
    as_own,
    delivery_view,
    shown,
)
from gateway.webhooks.secrets import make_id
from store.errors import StoreError
from store.log.control import ControlLog
from store.webhooks.progress import Progress, forget, read_deliveries, read_progress

KNOWN_TYPES = frozenset(EVENT_TYPES)

SYSTEM_TYPES = frozenset(kind for kind, cls in EVENT_TYPES.items() if issubclass(cls, SystemData))
"""Types of events that concern no client."""

_CHANGING = ("missing-token", "forbidden", "webhook-not-found", "log-unavailable")


@post(
    "/api/webhooks",
    guards=[only()],
    opt=WEBHOOK,
    response_headers=[POSITION],
    responses=problems(
        *("invalid-webhook", "too-many-webhooks", "invalid-position", "unknown-position"),
        *("missing-token", "forbidden", "scope-required", "log-unavailable", "not-json"),
    ),
    tags=["webhooks"],
    summary="Create a webhook",
)
async def create_webhook(
    request: Asked, deps: NamedDependency[Dependencies], data: JSONBody[WebhookRequest]
) -> Response[CreatedWebhook]:
    """Send events to a URL as they happen. Deliveries begin within a few seconds.

    The answer shows the secret that signs them, and is the only one to do so."""
    client_id = owner_of_new(request, data.client_id)
    webhook_id = make_id()
    secret = deps.webhook_secrets.make(webhook_id)
    limits = deps.limits
    with naming_the_log(deps.log, NO_ANSWER):
        after = await starts_of(deps.log, deps.reader, client_id, data.after, request.user.own)
    command = CreateWebhook(
        webhook_id=webhook_id,
        url=data.url,
        types=tuple(data.types),
        known_types=KNOWN_TYPES,
        system_types=SYSTEM_TYPES,
        description=data.description,
        client_id=client_id,
        after=after,
        secret_id=secret.id,
        digest=secret.digest,
        by=author_of(request),
        most=MOST_WEBHOOKS if client_id is None else limits.webhooks_per_client,
        in_all=MOST_WEBHOOKS if request.user.own is None else MOST_OF_CLIENTS,
        private=parse_networks(limits.webhook_private_addresses),
    )
    steered = await steer(request, deps, command)
    view = await _view(deps, webhook_id, steered.controls.webhooks[webhook_id])
    answer = CreatedWebhook(**msgspec.structs.asdict(view), secret=secret.text)
    return Response(answer, headers=position_header(steered.position))


@get(
    "/api/webhooks",
    guards=[only("clientId")],
    responses=problems("missing-token", "forbidden", "log-unavailable", reads=True),
    tags=["webhooks"],
    summary="List webhooks",
)
async def list_webhooks(
    request: Asked, deps: NamedDependency[Dependencies], client_id: ClientId = None
) -> WebhookList:
    """List the caller's webhooks in the order of their creation; for operators, those of all."""
    own = request.user.own
    if own is not None and client_id not in (None, own):
        raise Forbidden("These webhooks belong to another client.")
    with naming_the_log(deps.log, NO_ANSWER):
        webhooks = (await ControlLog(deps.log).load()).controls.webhooks
        found = {
            name: each
            for name, each in sorted(webhooks.items(), key=lambda item: item[1].created_at)
            if (own or client_id) in (None, each.client_id)
        }
        progress = await read_progress(deps.log, found)
        items = [shown(name, each, progress.get(name)) for name, each in found.items()]
        return WebhookList(items=await as_own(deps.reader, items))


@get(
    "/api/webhooks/{webhook_id:str}",
    guards=[only()],
    responses=problems(*_CHANGING, reads=True),
    tags=["webhooks"],
    summary="Get a webhook",
)
async def get_webhook(
    request: Asked, deps: NamedDependency[Dependencies], webhook_id: FromPath[str]
) -> WebhookView:
    """Get a webhook, and how far it has got."""
    with naming_the_log(deps.log, NO_ANSWER):
        webhook = await visible_webhook(request, deps, webhook_id)
        progress = await read_progress(deps.log, (webhook_id,))
        return await _view(deps, webhook_id, webhook, progress.get(webhook_id))


@get(
    "/api/webhooks/{webhook_id:str}/deliveries",
    guards=[only("limit")],
    responses=problems(*_CHANGING, "invalid-limit", reads=True),
    tags=["webhooks"],
    summary="List the last deliveries of a webhook",
)
async def list_webhook_deliveries(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    limit: Limit = PAGE,
) -> DeliveryList:
    """List the last attempts, the newest first, each with the beginning of its answer.

    They are kept for 30 days, and only the last of each webhook."""
    most = bounded(limit, deps.limits.page_limit_max)
    with naming_the_log(deps.log, NO_ANSWER):
        await visible_webhook(request, deps, webhook_id)
        found = await read_deliveries(deps.log, webhook_id, most)
    return DeliveryList(items=[delivery_view(each) for each in found])


@put(
    "/api/webhooks/{webhook_id:str}",
    guards=[only()],
    opt=WEBHOOK,
    response_headers=[POSITION],
    responses=problems(*_CHANGING, "invalid-webhook", "scope-required", "not-json"),
    tags=["webhooks"],
    summary="Change a webhook",
)
async def change_webhook(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    data: JSONBody[WebhookChange],
) -> Response[WebhookView]:
    """Replace URL, types and description. What was delivered before is not sent again."""
    command = ChangeWebhook(
        webhook_id=webhook_id,
        url=data.url,
        types=tuple(data.types),
        known_types=KNOWN_TYPES,
        system_types=SYSTEM_TYPES,
        description=data.description,
        private=parse_networks(deps.limits.webhook_private_addresses),
        by=author_of(request),
    )
    return await _changed(request, deps, command)


@post(
    "/api/webhooks/{webhook_id:str}/disable",
    status_code=200,
    guards=[only()],
    response_headers=[POSITION],
    responses=problems(*_CHANGING, "scope-required", "not-json"),
    tags=["webhooks"],
    summary="Disable a webhook",
)
async def disable_webhook(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    data: JSONBody[WebhookReason | None] = None,
) -> Response[WebhookView]:
    """Send nothing until the webhook is enabled; requests in flight may still arrive."""
    reason = (data.reason if data else None) or ""
    return await _changed(request, deps, DisableWebhook(webhook_id=webhook_id, reason=reason))


@post(
    "/api/webhooks/{webhook_id:str}/enable",
    status_code=200,
    guards=[only()],
    opt=WEBHOOK,
    response_headers=[POSITION],
    responses=problems(*_CHANGING, "scope-required", "not-json"),
    tags=["webhooks"],
    summary="Enable a webhook",
)
async def enable_webhook(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    data: JSONBody[WebhookReason | None] = None,
) -> Response[WebhookView]:
    """Continue where the webhook stopped: everything since is sent, and retries begin again."""
    reason = (data.reason if data else None) or ""
    command = EnableWebhook(webhook_id=webhook_id, reason=reason, by=author_of(request))
    return await _changed(request, deps, command)


@post(
    "/api/webhooks/{webhook_id:str}/secret",
    status_code=200,
    guards=[only()],
    opt=WEBHOOK,
    response_headers=[POSITION],
    responses=problems(*_CHANGING, "scope-required"),
    tags=["webhooks"],
    summary="Rotate the secret of a webhook",
)
async def rotate_webhook_secret(
    request: Asked, deps: NamedDependency[Dependencies], webhook_id: FromPath[str]
) -> Response[RotatedSecret]:
    """Let another secret sign; this answer alone shows it.

    The one before signs as well until `previousUntil`, so that receivers can change over."""
    with naming_the_log(deps.log, NO_ANSWER):
        await changeable_webhook(request, deps, webhook_id)
    secret = deps.webhook_secrets.make(webhook_id)
    until = datetime.now(UTC) + timedelta(seconds=deps.limits.webhook_secret_overlap_s)
    command = RotateWebhookSecret(
        webhook_id=webhook_id,
        secret_id=secret.id,
        digest=secret.digest,
        previous_until=until,
        by=author_of(request),
    )
    steered = await steer(request, deps, command)
    view = shown(webhook_id, steered.controls.webhooks[webhook_id], None)
    answer = RotatedSecret(
        id=webhook_id, secret=secret.text, previous_until=view.previous_secret_until or ""
    )
    return Response(answer, headers=position_header(steered.position))


@post(
    "/api/webhooks/{webhook_id:str}/replay",
    status_code=200,
    guards=[only()],
    opt=WEBHOOK,
    response_headers=[POSITION],
    responses=problems(
        *_CHANGING,
        *("invalid-position", "unknown-position", "scope-required", "not-json"),
    ),
    tags=["webhooks"],
    summary="Send events again",
)
async def replay_webhook(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    data: JSONBody[ReplayRequest],
) -> Response[WebhookView]:
    """Continue after a position, earlier or later than where the webhook is.

    With a later one, what lies between is not sent."""
    with naming_the_log(deps.log, NO_ANSWER):
        webhook = await changeable_webhook(request, deps, webhook_id)
        starts = await starts_of(
            deps.log, deps.reader, webhook.client_id, data.after, request.user.own, only_given=True
        )
    reason, by = data.reason or "", author_of(request)
    command = ReplayWebhook(webhook_id=webhook_id, after=starts, reason=reason, by=by)
    return await _changed(request, deps, command)


@delete(
    "/api/webhooks/{webhook_id:str}",
    guards=[only("reason")],
    response_headers=[POSITION],
    responses=problems(*_CHANGING, "scope-required"),
    tags=["webhooks"],
    summary="Delete a webhook",
)
async def delete_webhook(
    request: Asked,
    deps: NamedDependency[Dependencies],
    webhook_id: FromPath[str],
    reason: Annotated[
        Reason | None, QueryParameter(description="Recorded with the deletion.")
    ] = None,
) -> Response[None]:
    """Delete a webhook, its secrets and its list of deliveries for good."""
    command = DeleteWebhook(webhook_id=webhook_id, reason=reason or "")
    steered = await execute_on_webhook(request, deps, command)
    with suppress(StoreError):  # the deliverer forgets it too, and what is left expires
        await forget(deps.log, webhook_id)
    return Response(None, status_code=204, headers=position_header(steered.position))


async def _view(
    deps: Dependencies, webhook_id: str, webhook: Webhook, progress: Progress | None = None
) -> WebhookView:
    return (await as_own(deps.reader, [shown(webhook_id, webhook, progress)]))[0]


async def _changed(
    request: Asked, deps: Dependencies, command: AnyWebhookCommand
) -> Response[WebhookView]:
    steered = await execute_on_webhook(request, deps, command)
    name = command.webhook_id
    with naming_the_log(deps.log, NO_ANSWER):
        progress = await read_progress(deps.log, (name,))
    webhook = steered.controls.webhooks.get(name)
    if webhook is None:
        raise not_found(name)
    view = await _view(deps, name, webhook, progress.get(name))
    return Response(view, headers=position_header(steered.position))


ROUTES = (
    create_webhook,
    list_webhooks,
    get_webhook,
    list_webhook_deliveries,
    change_webhook,
    disable_webhook,
    enable_webhook,
    rotate_webhook_secret,
    replay_webhook,
    delete_webhook,
)
