"""Settings of webhooks; ``gateway.webhooks.settings`` has the defaults of the delivery."""

from typing import Annotated

from msgspec import Meta

from gateway.http.limits import Limits
from gateway.webhooks.secrets import MIN_KEY_BYTES
from gateway.webhooks.settings import WebhookBounds
from ops.config.bounds import Count, Positive, Seconds
from ops.config.oidc_settings import OidcSettings
from ops.config.setting_values import SECRET

_LIMITS = Limits()
_BOUNDS = WebhookBounds()


class WebhookSettings(OidcSettings, frozen=True, kw_only=True):
    """Which addresses get events, and how persistently."""

    webhooks_per_client: Annotated[
        Count, Meta(description="Maximum number of webhooks of a client.")
    ] = _LIMITS.webhooks_per_client
    webhook_private_addresses: Annotated[
        str,
        Meta(
            description="Addresses and networks that webhooks may reach besides public ones, also "
            "without TLS, such as 127.0.0.1,10.0.0.0/8."
        ),
    ] = _BOUNDS.webhook_private_addresses
    webhook_concurrency: Annotated[
        Count, Meta(description="Requests to one webhook at a time, for different photos.")
    ] = _BOUNDS.webhook_concurrency
    webhook_timeout_s: Annotated[
        Seconds, Meta(description="Longest duration of a request to a webhook.")
    ] = _BOUNDS.webhook_timeout_s
    webhook_retry_longest_s: Annotated[
        Seconds, Meta(description="Longest pause before a failed delivery is retried.")
    ] = _BOUNDS.webhook_retry_longest_s
    webhook_retry_for_s: Annotated[
        Positive,
        Meta(description="How long one event is retried before its webhook is disabled."),
    ] = _BOUNDS.webhook_retry_for_s
    webhook_deliveries_kept: Annotated[
        Count, Meta(description="Attempts in the list of deliveries of a webhook.")
    ] = _BOUNDS.webhook_deliveries_kept
    webhook_secret_overlap_s: Annotated[
        Positive,
        Meta(description="How long a secret signs as well after it was replaced."),
    ] = _LIMITS.webhook_secret_overlap_s
    webhook_ca_file: Annotated[
        str | None,
        Meta(
            description="File with certificates, in PEM, that webhooks trust besides the usual "
            "ones."
        ),
    ] = _BOUNDS.webhook_ca_file
    webhook_key: Annotated[
        Annotated[str, Meta(min_length=MIN_KEY_BYTES)] | None,
        Meta(
            description="Key from which the secrets of webhooks are derived, the same on every "
            "machine; unset: generated once and kept in the data folder."
        ),
        SECRET,
    ] = None
    degraded_webhooks_s: Annotated[
        Positive,
        Meta(description="Health is degraded if a webhook of the system is further behind."),
    ] = _LIMITS.degraded_webhooks_s
