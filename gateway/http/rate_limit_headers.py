"""Report rate limits in the answer to a request: ``RateLimit`` and ``RateLimit-Policy``.

Both headers follow draft-ietf-httpapi-ratelimit-headers-09 and later: lists of structured fields
(RFC 9651), one item per policy. ``r`` is the remaining quota. ``t`` is the number of seconds until
the quota is full again or, if none remains, until some is available.
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
"""The draft's quota unit for bytes; the default unit is requests."""

_KEY = "photolog_rate_limits"


class Policy:
    """One rate limit, with a separate bucket for each subject that has the same allowance.

    ``whose`` names the kind of subject: ``client`` or ``address``.
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
        """Return the allowance in words."""
        unit = "bytes" if self.in_bytes else "times"
        return f"{self.allowance.tokens} {unit} in {self.allowance.window_s} s"


class Standing(msgspec.Struct, frozen=True, eq=False):
    """A bucket and its policy."""

    policy: Policy
    bucket: Bucket

    def left(self, now: float) -> int:
        return max(0, int(self.bucket.left(now)))

    def reset_s(self, now: float) -> int:
        """Return the seconds until the bucket is full; if it is empty, until it has a token."""
        wanted = self.bucket.capacity if self.left(now) else 1
        return math.ceil(self.bucket.wait_s(wanted, now))


def note(scope: Any, standings: Sequence[Standing]) -> None:
    """Make the answer to this request report these limits, as they stand when it begins."""
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
