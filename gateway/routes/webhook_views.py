"""How webhooks and their deliveries are shown. Secrets are in no list."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from domain.moments import iso
from domain.webhooks.events import Cause
from domain.webhooks.webhooks import Webhook
from projections.models import history
from store.errors import Unavailable
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader
from store.webhooks.progress import Delivery, Progress

State = Literal["delivering", "failing", "unsigned", "disabled"]
"""``unsigned``: nothing is sent, because the secret was made with another webhook key."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class WebhookView(_Shape, frozen=True, kw_only=True):
    """A webhook. Without a client it gets the events of everyone, without types those of all types.

    ``state`` is `unsigned` if nothing is sent because the secret was made with another webhook key.
    ``positions`` are those up to which everything was delivered, one for each partition; those of a
    client's webhook are of the client's own events.
    ``waiting_since`` is when the oldest event that waits to be delivered was appended, and
    ``failing_since`` when the first of the attempts failed that have failed in a row.
    ``failing_reason`` says why the last of them failed, and ``last_status`` is that of the last
    answer. All five are null if there is no such thing.
    """

    id: str
    url: str
    types: list[str]
    description: str
    client_id: str | None
    created_at: str
    state: State
    disabled_cause: Cause | None
    disabled_at: str | None
    disabled_reason: str | None
    previous_secret_until: str | None
    positions: list[str]
    waiting_since: str | None
    failing_since: str | None
    failing_reason: str | None
    last_attempt_at: str | None
    last_status: int | None


class CreatedWebhook(WebhookView, frozen=True, kw_only=True):
    """A new webhook. ``secret`` is shown only in this answer; nobody can read it later."""

    secret: str


class RotatedSecret(_Shape, frozen=True, kw_only=True):
    """The new secret of webhook ``id``; the one before signs as well until ``previous_until``."""

    id: str
    secret: str
    previous_until: str


class WebhookList(_Shape, frozen=True, kw_only=True):
    """Webhooks in the order of their creation."""

    items: list[WebhookView]


class DeliveryView(_Shape, frozen=True, kw_only=True):
    """One attempt to deliver the event at ``position``, at ``time``.

    ``outcome`` is `delivered`, `rejected` (an answer other than 2xx), `gone` (410), `timeout`,
    `unreachable`, `not-allowed` (the address is not public) or `tls` (no valid certificate).
    ``answer`` is the beginning of the answer's body, or why no answer came. ``next_attempt_at`` is
    null if there will be no other attempt.
    """

    position: str
    type: str
    attempt: int
    time: str
    duration_ms: int
    outcome: str
    status: int | None
    answer: str
    next_attempt_at: str | None


class DeliveryList(_Shape, frozen=True, kw_only=True):
    """The last attempts of a webhook, the newest first."""

    items: list[DeliveryView]


def shown(webhook_id: str, webhook: Webhook, progress: Progress | None) -> WebhookView:
    """Return the webhook as it is shown; without ``progress`` nothing was sent yet."""
    known = progress or Progress()
    state: State = "delivering"
    if webhook.disabled:
        state = "disabled"
    elif known.unsigned:
        state = "unsigned"
    elif known.failing_since_ms:
        state = "failing"
    until = webhook.secrets[-1].until
    is_past = until is not None and until <= datetime.now(UTC)
    return WebhookView(
        id=webhook_id,
        url=webhook.url,
        types=list(webhook.types),
        description=webhook.description,
        client_id=webhook.client_id,
        created_at=iso(webhook.created_at),
        state=state,
        disabled_cause=webhook.disabled,
        disabled_at=webhook.disabled_at and iso(webhook.disabled_at),
        disabled_reason=webhook.reason or None,
        previous_secret_until=None if until is None or is_past else iso(until),
        positions=_positions(webhook, known),
        waiting_since=_moment(known.waiting_since_ms),
        failing_since=_moment(known.failing_since_ms),
        failing_reason=known.failing_reason or None,
        last_attempt_at=_moment(known.last_at_ms),
        last_status=known.last_status,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        position=delivery.position,
        type=delivery.type,
        attempt=delivery.attempt,
        time=_moment(delivery.at_ms) or "",
        duration_ms=delivery.duration_ms,
        outcome=delivery.outcome,
        status=delivery.status,
        answer=delivery.answer,
        next_attempt_at=_moment(delivery.next_at_ms or 0),
    )


def _positions(webhook: Webhook, progress: Progress) -> list[str]:
    found: list[str] = []
    for start in webhook.starts:
        position = Position.parse(start.after)
        reached = progress.reached.get(position.partition)
        if reached is not None and reached.replays == start.replays:
            position = Position(position.partition, reached.ms, reached.seq)
        found.append(str(position))
    return found


def _moment(ms: int) -> str | None:
    return iso(datetime.fromtimestamp(ms / 1000, UTC)) if ms else None


async def as_own(reader: Reader, views: list[WebhookView]) -> list[WebhookView]:
    """Return the views, with positions of the client's own events for those of a client.

    A webhook begins at the end of the log, and passes over the events of others. Either would show
    a client when others are active.
    """
    try:
        return await reader.query(_as_own, views)
    except Unavailable:  # there is no read model yet, so no event of the client is known
        return [_at(each, [Position.start(p.partition) for p in _parsed(each)]) for each in views]


def _as_own(db: Connection, views: list[WebhookView]) -> list[WebhookView]:
    return [
        _at(each, [history.last_of_client(db, each.client_id, p) for p in _parsed(each)])
        if each.client_id is not None
        else each
        for each in views
    ]


def _parsed(view: WebhookView) -> list[Position]:
    return [Position.parse(each) for each in view.positions]


def _at(view: WebhookView, positions: list[Position]) -> WebhookView:
    if view.client_id is None:
        return view
    return msgspec.structs.replace(view, positions=[str(each) for each in positions])
