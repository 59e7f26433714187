"""Find API keys that are no longer in force, from the audit list."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec

from ops.client.operations import Operations
from ops.client.queues import Answer
from ops.client.text_table import moment

MOST = 10_000
"""The latest creations, and the latest revocations, that are read."""


class EndedKey(Answer, frozen=True, kw_only=True):
    """A key that is not in force.

    ``revoked_at``, ``revoked_by`` and ``reason`` are null unless this very key was revoked.
    ``last_used_at`` is null if it is not known; see ``gateway.routes.api_keys``.
    """

    id: str
    name: str
    client_id: str | None
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None = None
    revoked_by: str | None = None
    reason: str | None = None

    @property
    def how(self) -> str:
        """Say when the key has ended, by whom and why."""
        if self.revoked_at is not None:
            why = f": {self.reason}" if self.reason else ""
            return f"revoked {moment(self.revoked_at)} by {self.revoked_by}{why}"
        if self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= datetime.now(
            UTC
        ):
            return f"expired {moment(self.expires_at)}"
        return "revoked with all access of its client"


class _Entry(Answer, frozen=True, kw_only=True):
    time: str
    actor: str
    reason: str | None
    data: dict[str, Any]


async def ended_keys(operations: Operations, active: Collection[str]) -> list[EndedKey]:
    """Return the keys that were created and are not ``active``, in the order of creation."""
    revoked = {each.data["keyId"]: each for each in await _entries(operations, "revoked")}
    uses = await operations.ended_keys()
    found: list[EndedKey] = []
    for each in reversed(await _entries(operations, "created")):
        data = each.data
        if data["keyId"] in active:
            continue
        end = revoked.get(data["keyId"])
        found.append(
            EndedKey(
                id=data["keyId"],
                name=data["name"],
                client_id=data.get("clientId"),
                scopes=sorted(data["scopes"]),
                created_at=each.time,
                expires_at=data.get("expiresAt"),
                last_used_at=uses.get(data["keyId"]),
                revoked_at=end and end.time,
                revoked_by=end and end.actor,
                reason=end and end.reason,
            )
        )
    return found


async def _entries(operations: Operations, what: str) -> list[_Entry]:
    filters: dict[str, str | None] = {"what": f"access.key.{what}"}
    return [
        msgspec.json.decode(each, type=_Entry)
        async for each in operations.items("audit", MOST, filters, under="/api/")
    ]
