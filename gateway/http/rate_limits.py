"""How much each client and each address may do. Plain values: the settings import this too.

| setting | what takes a token | whose |
|---|---|---|
| ``rate_requests`` | a request, but for health and metrics; page files apart | client |
| ``rate_uploads`` | a request that brings a photo | client |
| ``rate_upload_bytes`` | a byte of its body | client |
| ``rate_commands`` | another request that changes something | client |
| ``rate_streams`` | an event stream or a WebSocket that is opened | client |
| ``…_per_address`` | the same, by all clients of one address together | address |
| ``rate_anonymous_per_address`` | a request or a WebSocket without a valid token | address |
| ``rate_sign_in_failures`` | a token that is not valid | address |
| ``rate_messages`` | a message over a WebSocket | client, at each gateway by itself |

Each is answered with 429 ``rate-limited`` and ``Retry-After``; a message with the error
``rate-limited``. An IPv6 address stands for its /64 network.
"""

import msgspec


class Allowance(msgspec.Struct, frozen=True):
    """A token bucket: it holds ``tokens``, and an empty one is full after ``window_s`` seconds."""

    tokens: int
    window_s: int


class ByRole(msgspec.Struct, frozen=True):
    """What a client of each role may do; None is no limit."""

    client: Allowance | None
    operator: Allowance | None
    auditor: Allowance | None


def _staff_twice(tokens: int) -> ByRole:
    client, staff = Allowance(tokens, 60), Allowance(2 * tokens, 60)
    return ByRole(client, staff, staff)


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the same names. None is no limit.

    The defaults let one client upload 10,000 photos at the speed of a local network, and scroll
    through them; four busy clients share an address without noticing each other.
    """

    rate_requests: ByRole = _staff_twice(24_000)
    rate_uploads: ByRole = _staff_twice(15_000)
    rate_upload_bytes: ByRole = _staff_twice(32_000_000_000)
    rate_commands: ByRole = _staff_twice(6_000)
    rate_streams: ByRole = _staff_twice(1_200)
    rate_requests_per_address: Allowance | None = Allowance(96_000, 60)
    rate_uploads_per_address: Allowance | None = Allowance(60_000, 60)
    rate_upload_bytes_per_address: Allowance | None = Allowance(128_000_000_000, 60)
    rate_commands_per_address: Allowance | None = Allowance(24_000, 60)
    rate_streams_per_address: Allowance | None = Allowance(4_800, 60)
    rate_anonymous_per_address: Allowance | None = Allowance(6_000, 60)
    rate_sign_in_failures: Allowance | None = Allowance(60, 60)
    rate_messages: Allowance | None = Allowance(6_000, 60)
