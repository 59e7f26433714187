"""Define how much each client and each address may do. Plain values: the settings use them too.

| setting | each of these takes a token | per |
|---|---|---|
| ``rate_requests`` | a request, except health, metrics and page files | client |
| ``rate_uploads`` | a request that uploads a photo | client |
| ``rate_upload_bytes`` | a byte of an upload's body | client |
| ``rate_commands`` | any other request that changes something | client |
| ``rate_webhook_changes`` | of these, one that makes or changes a webhook | client |
| ``rate_streams`` | the opening of an event stream or a WebSocket | client |
| ``…_per_address`` | the same, for all clients of an address together | address |
| ``rate_anonymous_per_address`` | any of them without a valid token | address |
| ``rate_page_files_per_address`` | a file of the pages, with or without a token | address |
| ``rate_sign_in_failures`` | an invalid token | address |
| ``rate_messages`` | a WebSocket message | client, separately at each gateway |

A request over the limit gets 429 ``rate-limited`` with ``Retry-After``, a message the error
``rate-limited``. An IPv6 address counts as its /64 network.
"""

import msgspec

PAGE_FILES = 100
"""The most files that a visit to a page loads; a lower limit would leave the page blank."""


class Allowance(msgspec.Struct, frozen=True):
    """A token bucket of ``tokens``, which refills completely in ``window_s`` seconds."""

    tokens: int
    window_s: int


class ByRole(msgspec.Struct, frozen=True):
    """The allowance of a client of each role; None is unlimited."""

    client: Allowance | None
    operator: Allowance | None
    auditor: Allowance | None


def _staff_twice(tokens: int, window_s: int = 60) -> ByRole:
    client, staff = Allowance(tokens, window_s), Allowance(2 * tokens, window_s)
    return ByRole(client, staff, staff)


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the same names; None is unlimited.

    With the defaults, one client can upload 10,000 photos at the speed of a local network and
    scroll through them, and four busy clients can share an address without affecting each other.
    Changes of webhooks are few because each is an event that stays, and no quota counts them.
    """

    rate_requests: ByRole = _staff_twice(24_000)
    rate_uploads: ByRole = _staff_twice(15_000)
    rate_upload_bytes: ByRole = _staff_twice(32_000_000_000)
    rate_commands: ByRole = _staff_twice(6_000)
    rate_webhook_changes: ByRole = _staff_twice(60, 3_600)
    rate_streams: ByRole = _staff_twice(1_200)
    rate_requests_per_address: Allowance | None = Allowance(96_000, 60)
    rate_uploads_per_address: Allowance | None = Allowance(60_000, 60)
    rate_upload_bytes_per_address: Allowance | None = Allowance(128_000_000_000, 60)
    rate_commands_per_address: Allowance | None = Allowance(24_000, 60)
    rate_webhook_changes_per_address: Allowance | None = Allowance(240, 3_600)
    rate_streams_per_address: Allowance | None = Allowance(4_800, 60)
    rate_anonymous_per_address: Allowance | None = Allowance(6_000, 60)
    rate_page_files_per_address: Allowance | None = Allowance(24_000, 60)
    rate_sign_in_failures: Allowance | None = Allowance(60, 60)
    rate_messages: Allowance | None = Allowance(6_000, 60)
