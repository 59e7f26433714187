"""The bodies of requests about webhooks."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.http.auth import CLIENT_ID, CLIENT_ID_FORM
from gateway.routes.queues import Reason

Types = Annotated[list[Annotated[str, Meta(max_length=60)]], Meta(max_length=100)]
Url = Annotated[str, Meta(min_length=1, max_length=2_000)]
Description = Annotated[str, Meta(max_length=200)]
Positions = Annotated[str, Meta(min_length=1, max_length=4_096)]


class _Request(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    pass


class WebhookChange(_Request, frozen=True, kw_only=True):
    """The new settings of a webhook. ``types`` are event types; an empty list means all.

    The webhook of a client gets only events of photos and sessions: other types, which concern the
    system, are rejected as `invalid-webhook`.
    The URL must be `https://` and lead to a public address, unless the settings allow others.
    """

    url: Url
    types: Types = []
    description: Description = ""


class WebhookRequest(WebhookChange, frozen=True, kw_only=True):
    """A new webhook. For a client, it gets the events of its own photos. For an operator, it gets
    those of ``client_id``, or without it those of everyone. It begins after the positions
    ``after``, joined by commas; by default, with the next event."""

    client_id: (
        Annotated[str, Meta(pattern=rf"\A{CLIENT_ID.pattern}\Z", description=CLIENT_ID_FORM)] | None
    ) = None
    after: Positions | None = None


class ReplayRequest(_Request, frozen=True, kw_only=True):
    """Send all events after the positions ``after`` again, joined by commas."""

    after: Positions
    reason: Reason | None = None


class WebhookReason(_Request, frozen=True, kw_only=True):
    """The reason to record, if any."""

    reason: Reason | None = None
