"""What the answer to a request says about rate limits: ``RateLimit`` and ``RateLimit-Policy``.

Both fields are as in draft-ietf-httpapi-ratelimit-headers-09 and later: lists of structured fields
(RFC 9651), one item a policy. ``r`` is what is left, ``t`` the seconds until something is left
again, or until everything is.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.http.rate_limits import Allowance
from store.clients.rate_limits import Bucket, Table

LIMIT_FIELD = "RateLimit"
POLICY_FIELD = "RateLimit-Policy"
BYTES = "content-bytes"
"""The draft's quota unit of bytes; that of requests is the default."""

_KEY = "photolog_rate_limits"


class Policy:
    """One rate limit of all those who have the same allowance, each in a bucket of its own.

    ``whose`` says what it is counted by: ``client`` or ``address``.
    """

    def __init__(self, name: str, allowance: Allowance, table: Table, *, whose: str) -> None:
        self.name = name
        self.allowance = allowance
        self.whose = whose
        self.in_bytes = "bytes" in name
        self.of = table.of
        unit = f';qu="{BYTES}"' if self.in_bytes else ""
        self.field = f'"{name}";q={allowance.tokens};w={allowance.window_s}{unit}'

    @property
    def words(self) -> str:
        """What is allowed, for people."""
        unit = "bytes" if self.in_bytes else "times"
        return f"{self.allowance.tokens} {unit} in {self.allowance.window_s} s"


class Standing(msgspec.Struct, frozen=True, eq=False):
    """A bucket and the policy that it is of."""

    policy: Policy
    bucket: Bucket

    def left(self, now: float) -> int:
        return max(0, int(self.bucket.left(now)))

    def reset_s(self, now: float) -> int:
        """Return the seconds until there is a token; if there is one, until the bucket is full."""
        wanted = self.bucket.capacity if self.left(now) else 1
        return math.ceil(self.bucket.wait_s(wanted, now))


def note(scope: Any, standings: Sequence[Standing]) -> None:
    """Let the answer to this request say how these limits stand then."""
    scope["state"][_KEY] = standings


def is_noted(scope: Any) -> bool:
    return _KEY in scope.get("state", {})


def fields(scope: Any, now: float) -> list[tuple[bytes, bytes]]:
    """Return the header fields of the answer; none if the request is not limited."""
    standings: Sequence[Standing] = scope.get("state", {}).get(_KEY, ())
    if not standings:
        return []
    left = ", ".join(
        f'"{each.policy.name}";r={each.left(now)};t={each.reset_s(now)}' for each in standings
    )
    policies = ", ".join(each.policy.field for each in standings)
    return [
        (LIMIT_FIELD.lower().encode(), left.encode()),
        (POLICY_FIELD.lower().encode(), policies.encode()),
    ]
