"""The events of webhooks. They are events of the system, see ``domain.system_events``.

Deliveries are not events: they would be delivered in turn.
"""

from typing import ClassVar, Literal

from domain.system_events import SystemData

Cause = Literal["requested", "gone", "exhausted", "access-revoked"]
"""Why a webhook was disabled.

| cause | meaning |
|---|---|
| ``requested`` | its client or an operator asked for it |
| ``gone`` | the receiver answered 410 |
| ``exhausted`` | one event could not be delivered within the time for retries |
| ``access-revoked`` | access that made or changed it was revoked; no event of its own says so |
"""


class WebhookData(SystemData, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all events of a webhook; without ``client_id`` it gets the events of everyone."""

    webhook_id: str
    client_id: str | None = None


class WebhookCreated(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook was created, for the events after the positions ``after``, one a partition.

    Without ``types`` it gets events of every type. ``secret_id`` names the secret that signs, and
    ``digest`` is the SHA-256 of that secret, in hex. ``created_by`` is the id of the token or API
    key that created it, and ``created_by_client`` its client; None if that token has no id, or if
    the event is older than the field.
    """

    TYPE: ClassVar[str] = "webhook.created"

    url: str
    types: tuple[str, ...] = ()
    description: str = ""
    after: tuple[str, ...]
    secret_id: str
    digest: str
    created_by: str | None = None
    created_by_client: str | None = None


class WebhookChanged(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """The webhook has another address, other types or another description: all as they are now.

    ``changed_by`` and ``changed_by_client`` name the access that did it, as in the creation.
    """

    TYPE: ClassVar[str] = "webhook.changed"

    url: str
    types: tuple[str, ...] = ()
    description: str = ""
    changed_by: str | None = None
    changed_by_client: str | None = None


class WebhookDisabled(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing is sent until the webhook is enabled; then it continues where it stopped."""

    TYPE: ClassVar[str] = "webhook.disabled"

    cause: Cause
    reason: str = ""


class WebhookEnabled(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """Events are sent again, because of the access ``created_by``."""

    TYPE: ClassVar[str] = "webhook.enabled"

    reason: str = ""
    created_by: str | None = None
    created_by_client: str | None = None


class WebhookSecretRotated(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """Another secret signs. The one before signs as well until ``previous_until``."""

    TYPE: ClassVar[str] = "webhook.secret.rotated"

    secret_id: str
    digest: str
    previous_until: str
    changed_by: str | None = None
    changed_by_client: str | None = None


class WebhookReplayed(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """All events after the positions ``after`` are sent, even if they were delivered before."""

    TYPE: ClassVar[str] = "webhook.replayed"

    after: tuple[str, ...]
    reason: str = ""
    changed_by: str | None = None
    changed_by_client: str | None = None


class WebhookDeleted(WebhookData, frozen=True, kw_only=True, omit_defaults=True):
    """The webhook is gone, with its secrets and its list of deliveries."""

    TYPE: ClassVar[str] = "webhook.deleted"

    url: str
    reason: str = ""


WebhookEvent = (
    WebhookCreated
    | WebhookChanged
    | WebhookDisabled
    | WebhookEnabled
    | WebhookSecretRotated
    | WebhookReplayed
    | WebhookDeleted
)
