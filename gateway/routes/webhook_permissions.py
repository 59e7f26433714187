"""Clients see and change their own webhooks, operators all of them."""

from domain.webhooks.webhooks import AnyWebhookCommand, Author, Webhook
from gateway.commands import NO_ANSWER, naming_the_log, steer
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import Forbidden
from gateway.http.problems import Refused
from gateway.http.roles import OPS_WRITE, PHOTOS_WRITE, Role
from store.log.control import ControlLog, ControlState


async def execute_on_webhook(
    request: Asked, deps: Dependencies, command: AnyWebhookCommand
) -> ControlState:
    """Execute a command on a webhook that the requester may change; raises Refused, Forbidden."""
    with naming_the_log(deps.log, NO_ANSWER):
        await changeable_webhook(request, deps, command.webhook_id)
    return await steer(request, deps, command)


async def changeable_webhook(request: Asked, deps: Dependencies, webhook_id: str) -> Webhook:
    """Return the webhook if the requester may change it; raises Refused, Forbidden."""
    webhook = await visible_webhook(request, deps, webhook_id)
    may_change(request)
    return webhook


async def visible_webhook(request: Asked, deps: Dependencies, webhook_id: str) -> Webhook:
    """Return the webhook; that of another client does not exist for a client: Refused."""
    webhook = (await ControlLog(deps.log).load()).controls.webhooks.get(webhook_id)
    own = request.user.own
    if webhook is None or own not in (None, webhook.client_id):
        raise not_found(webhook_id)
    return webhook


def not_found(webhook_id: str) -> Refused:
    return Refused("webhook-not-found", f"There is no webhook {webhook_id[:40]!r}.")


def author_of(request: Asked) -> Author:
    return Author(token_id=request.user.token_id, client_id=request.user.client_id)


def owner_of_new(request: Asked, client_id: str | None) -> str | None:
    """Return whose events a new webhook gets; raises Forbidden."""
    may_change(request)
    own = request.user.own
    if own is not None and client_id not in (None, own):
        raise Forbidden("A client's webhook gets the events of its own photos only.")
    return own or client_id


def may_change(request: Asked) -> None:
    """Reject auditors, and API keys that may not change what they can see."""
    principal = request.user
    scope = PHOTOS_WRITE if principal.role is Role.CLIENT else OPS_WRITE
    if principal.may(scope):
        return
    if principal.api_key is not None:
        detail = f"This API key lacks the scope {scope}."
        raise Forbidden(detail, code="scope-required", scope=scope)
    raise Forbidden("Auditors may read everything and change nothing.")
