"""Webhooks: commands, state and rules.

Only what must never be lost is here: addresses, types, which secret signs, and where to begin. How
far each webhook has got is in ``store.webhooks``; if that is lost, it begins again here.
"""

from datetime import datetime
from typing import assert_never

import msgspec

from domain.moments import iso
from domain.rejections import InvalidWebhook, TooManyWebhooks, WebhookNotFound
from domain.webhooks import events as e
from domain.webhooks.addresses import Network
from domain.webhooks.urls import check_url

MOST_WEBHOOKS = 500
"""The most webhooks at a time: all are part of one state that every process reads."""

MOST_OF_CLIENTS = 450
"""The most webhooks in all up to which clients can create one; operators can use the rest."""

DESCRIPTION_MAX = 100

TYPES_MAX = 100

MOST_CONTRIBUTORS = 32
"""The most contributors remembered of a webhook: those that changed it last."""


class WebhookCommand(msgspec.Struct, frozen=True, kw_only=True):
    webhook_id: str


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """The id of the token or API key that sent a command, if it has one, and its client."""

    token_id: str | None
    client_id: str | None


class CreateWebhook(WebhookCommand, frozen=True, kw_only=True):
    """Create a webhook. The caller has made its id and secret.

    ``known_types`` are those that may be asked for, except that a client's webhook never gets
    ``system_types``; ``most`` is how many the client may have, and ``in_all`` how many there may
    be. ``private`` are networks that may be reached besides public addresses, also by plain HTTP.
    """

    url: str
    types: tuple[str, ...]
    known_types: frozenset[str]
    system_types: frozenset[str]
    description: str
    client_id: str | None
    after: tuple[str, ...]
    secret_id: str
    digest: str
    by: Author
    most: int
    in_all: int
    private: tuple[Network, ...]


class ChangeWebhook(WebhookCommand, frozen=True, kw_only=True):
    """Replace address, types and description."""

    url: str
    types: tuple[str, ...]
    known_types: frozenset[str]
    system_types: frozenset[str]
    description: str
    private: tuple[Network, ...]
    by: Author


class DisableWebhook(WebhookCommand, frozen=True, kw_only=True):
    cause: e.Cause = "requested"
    reason: str = ""


class EnableWebhook(WebhookCommand, frozen=True, kw_only=True):
    by: Author
    reason: str = ""


class RotateWebhookSecret(WebhookCommand, frozen=True, kw_only=True):
    """Let another secret sign; the one before signs as well until ``previous_until``."""

    secret_id: str
    digest: str
    previous_until: datetime
    by: Author


class ReplayWebhook(WebhookCommand, frozen=True, kw_only=True):
    """Send again what follows ``after``; partitions without a position go on where they are."""

    after: tuple[str, ...]
    by: Author
    reason: str = ""


class DeleteWebhook(WebhookCommand, frozen=True, kw_only=True):
    reason: str = ""


AnyWebhookCommand = (
    CreateWebhook
    | ChangeWebhook
    | DisableWebhook
    | EnableWebhook
    | RotateWebhookSecret
    | ReplayWebhook
    | DeleteWebhook
)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that signs, by its id; ``digest`` is its SHA-256 in hex."""

    id: str
    digest: str
    until: datetime | None = None


class Contributor(Author, frozen=True, kw_only=True):
    """Access that made a webhook what it is; ``at`` is when it last did."""

    at: datetime


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The position after which a webhook begins in a partition; ``replays`` counts its changes.

    Progress made before the last change does not count.
    """

    after: str
    replays: int = 0


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. Without ``client_id`` it gets the events of everyone, without types all types.

    ``starts`` has an entry for each partition whose events it may get. ``secrets`` has the one that
    signs, and perhaps the one before it. ``retried_since`` is when the time for retries began at
    the earliest. ``contributors`` may know an address, a secret or events because of what they did.
    """

    url: str
    types: tuple[str, ...]
    description: str
    client_id: str | None
    created_at: datetime
    retried_since: datetime
    secrets: tuple[Secret, ...]
    contributors: tuple[Contributor, ...]
    starts: tuple[Start, ...]
    disabled: e.Cause | None = None
    disabled_at: datetime | None = None
    reason: str = ""

    def wants(self, type_: str, client_id: str) -> bool:
        """Return whether an event of this type and client is to be delivered."""
        return self.client_id in (None, client_id) and (not self.types or type_ in self.types)

    def signing(self, now: datetime) -> tuple[Secret, ...]:
        """Return the secrets that sign now, the current one first."""
        return tuple(each for each in self.secrets if each.until is None or each.until > now)


Webhooks = dict[str, Webhook]
"""The webhooks by id."""


def decide(command: AnyWebhookCommand, webhooks: Webhooks) -> tuple[e.WebhookEvent, ...]:
    """Return the events that ``command`` leads to; the empty tuple means "already so".

    Raises:
        InvalidWebhook: the address, a type or the description is not acceptable.
        TooManyWebhooks: the client, or the system, has as many as it may have.
        WebhookNotFound: no webhook has this id.
    """
    if isinstance(command, CreateWebhook):
        return _create(command, webhooks)
    name, webhook = command.webhook_id, webhooks.get(command.webhook_id)
    if webhook is None:
        raise WebhookNotFound(
            f"There is no webhook {name[:40]!r}.", advice="List the webhooks to find its id."
        )
    client_id = webhook.client_id
    match command:
        case ChangeWebhook():
            return _change(command, webhook)
        case DisableWebhook():
            if webhook.disabled is not None:
                return ()
            cause, reason = command.cause, command.reason
            return (
                e.WebhookDisabled(webhook_id=name, client_id=client_id, cause=cause, reason=reason),
            )
        case EnableWebhook():
            if webhook.disabled is None:
                return ()
            return (
                e.WebhookEnabled(
                    webhook_id=name,
                    client_id=client_id,
                    reason=command.reason,
                    created_by=command.by.token_id,
                    created_by_client=command.by.client_id,
                ),
            )
        case RotateWebhookSecret():
            return (
                e.WebhookSecretRotated(
                    webhook_id=name,
                    client_id=client_id,
                    secret_id=command.secret_id,
                    digest=command.digest,
                    previous_until=iso(command.previous_until),
                    changed_by=command.by.token_id,
                    changed_by_client=command.by.client_id,
                ),
            )
        case ReplayWebhook():
            return (
                e.WebhookReplayed(
                    webhook_id=name,
                    client_id=client_id,
                    after=command.after,
                    reason=command.reason,
                    changed_by=command.by.token_id,
                    changed_by_client=command.by.client_id,
                ),
            )
        case DeleteWebhook():
            return (
                e.WebhookDeleted(
                    webhook_id=name, client_id=client_id, url=webhook.url, reason=command.reason
                ),
            )
        case _:
            assert_never(command)


def evolve(webhooks: Webhooks, event: e.WebhookEvent, at: datetime) -> Webhooks:
    """Return the webhooks after ``event``, which happened ``at``."""
    name = event.webhook_id
    if isinstance(event, e.WebhookCreated):
        return {**webhooks, name: _with_author(_created(event, at), event, at)}
    webhook = webhooks.get(name)
    if webhook is None:
        return webhooks
    replace = msgspec.structs.replace
    match event:
        case e.WebhookChanged():
            webhook = replace(
                webhook, url=event.url, types=event.types, description=event.description
            )
        case e.WebhookDisabled():
            webhook = replace(webhook, disabled=event.cause, disabled_at=at, reason=event.reason)
        case e.WebhookEnabled():
            webhook = replace(
                webhook,
                disabled=None,
                disabled_at=None,
                reason="",
                retried_since=at,
            )
        case e.WebhookSecretRotated():
            until = datetime.fromisoformat(event.previous_until)
            before = replace(webhook.secrets[0], until=until)
            webhook = replace(
                webhook, secrets=(Secret(id=event.secret_id, digest=event.digest), before)
            )
        case e.WebhookReplayed():
            given = {_partition(each): each for each in event.after}
            starts = tuple(_restarted(each, given) for each in webhook.starts)
            webhook = replace(webhook, starts=starts, retried_since=at)
        case e.WebhookDeleted():
            return {key: each for key, each in webhooks.items() if key != name}
        case _:
            assert_never(event)
    return {**webhooks, name: _with_author(webhook, event, at)}


def _with_author(webhook: Webhook, event: e.WebhookEvent, at: datetime) -> Webhook:
    """Return the webhook with the author of the event among its contributors."""
    match event:
        case e.WebhookCreated() | e.WebhookEnabled():
            token_id, client_id = event.created_by, event.created_by_client
        case e.WebhookChanged() | e.WebhookSecretRotated() | e.WebhookReplayed():
            token_id, client_id = event.changed_by, event.changed_by_client
        case _:
            return webhook
    if token_id is None and client_id is None:
        return webhook
    author = Contributor(token_id=token_id, client_id=client_id, at=at)
    others = tuple(
        each
        for each in webhook.contributors
        if (each.token_id, each.client_id) != (token_id, client_id)
    )
    return msgspec.structs.replace(webhook, contributors=(*others, author)[-MOST_CONTRIBUTORS:])


def _create(command: CreateWebhook, webhooks: Webhooks) -> tuple[e.WebhookCreated, ...]:
    present = webhooks.get(command.webhook_id)
    if present is not None and present.secrets[0].digest == command.digest:
        return ()
    types = _checked(command, command.client_id)
    own = sum(each.client_id == command.client_id for each in webhooks.values())
    if own >= command.most:
        whose = "The system" if command.client_id is None else f"Client {command.client_id}"
        raise TooManyWebhooks(
            f"{whose} already has {own:,} webhooks, which is the maximum.",
            advice="Delete webhooks that are no longer needed.",
        )
    if len(webhooks) >= command.in_all:
        raise TooManyWebhooks(
            f"There are already {command.in_all:,} webhooks, which is the maximum.",
            advice="Delete webhooks that are no longer needed.",
        )
    return (
        e.WebhookCreated(
            webhook_id=command.webhook_id,
            client_id=command.client_id,
            url=command.url,
            types=types,
            description=command.description,
            after=command.after,
            secret_id=command.secret_id,
            digest=command.digest,
            created_by=command.by.token_id,
            created_by_client=command.by.client_id,
        ),
    )


def _change(command: ChangeWebhook, webhook: Webhook) -> tuple[e.WebhookChanged, ...]:
    types = _checked(command, webhook.client_id)
    wanted = command.url, types, command.description
    if wanted == (webhook.url, webhook.types, webhook.description):
        return ()
    return (
        e.WebhookChanged(
            webhook_id=command.webhook_id,
            client_id=webhook.client_id,
            url=command.url,
            types=types,
            description=command.description,
            changed_by=command.by.token_id,
            changed_by_client=command.by.client_id,
        ),
    )


def _checked(command: CreateWebhook | ChangeWebhook, client_id: str | None) -> tuple[str, ...]:
    """Return the types in order, each once; raises InvalidWebhook."""
    check_url(command.url, command.private)
    text, types = command.description, set(command.types)
    if len(text) > DESCRIPTION_MAX or not (text.isprintable() or not text):
        raise InvalidWebhook(
            f"The description of a webhook may have up to {DESCRIPTION_MAX} printable characters.",
            advice="Shorten it.",
        )
    usable = command.known_types - (frozenset() if client_id is None else command.system_types)
    advice = f"Use {', '.join(sorted(usable))}, or no types for all of them."
    if wrong := sorted(types - command.known_types):
        raise InvalidWebhook(f"There are no events of the type {wrong[0][:60]!r}.", advice=advice)
    if wrong := sorted(types - usable):
        detail = f"A client's webhook gets no events of the system, such as {wrong[0]!r}."
        raise InvalidWebhook(detail, advice=advice)
    return tuple(sorted(types))


def _created(event: e.WebhookCreated, at: datetime) -> Webhook:
    return Webhook(
        url=event.url,
        types=event.types,
        description=event.description,
        client_id=event.client_id,
        created_at=at,
        retried_since=at,
        secrets=(Secret(id=event.secret_id, digest=event.digest),),
        contributors=(),
        starts=tuple(Start(after=each) for each in event.after),
    )


def _restarted(start: Start, given: dict[str, str]) -> Start:
    after = given.get(_partition(start.after))
    return start if after is None else Start(after=after, replays=start.replays + 1)


def _partition(position: str) -> str:
    return position.partition(":")[0]
