"""The bounds of the delivery of webhooks; each has a setting of its name."""

import msgspec


class WebhookBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.

    | bound | what happens at the bound |
    |---|---|
    | ``webhook_concurrency``: requests of one webhook at a time | further events wait |
    | ``webhook_timeout_s``: the longest duration of a request | the attempt has failed |
    | ``webhook_retry_longest_s``: the longest pause before a retry | |
    | ``webhook_retry_for_s``: how long one event is retried | the webhook is disabled |
    | ``webhook_deliveries_kept`` in the list of a webhook | the oldest are dropped |

    ``webhook_private_addresses`` are comma-separated addresses and networks that webhooks may reach
    besides public ones, also without TLS. ``webhook_ca_file`` holds certificates to trust besides
    the usual ones.
    """

    webhook_concurrency: int = 4
    webhook_timeout_s: float = 10.0
    webhook_retry_longest_s: float = 3_600.0
    webhook_retry_for_s: float = 172_800.0
    webhook_deliveries_kept: int = 200
    webhook_private_addresses: str = ""
    webhook_ca_file: str | None = None
