"""Call the operations on webhooks of a running Photolog."""

from typing import Any
from urllib.parse import quote

import msgspec

from ops.client.operations import Operations
from ops.client.queues import Answer


class WebhookLine(Answer, frozen=True, kw_only=True):
    id: str
    url: str
    types: list[str]
    description: str
    client_id: str | None
    state: str
    disabled_cause: str | None = None
    disabled_reason: str | None = None
    waiting_since: str | None = None
    failing_since: str | None = None
    failing_reason: str | None = None
    last_status: int | None = None


class DeliveryLine(Answer, frozen=True, kw_only=True):
    position: str
    type: str
    attempt: int
    time: str
    duration_ms: int
    outcome: str
    status: int | None = None
    answer: str = ""
    next_attempt_at: str | None = None


class _Webhooks(Answer, frozen=True, kw_only=True):
    items: list[WebhookLine]


class _Deliveries(Answer, frozen=True, kw_only=True):
    items: list[DeliveryLine]


class _Secret(Answer, frozen=True, kw_only=True):
    id: str
    secret: str


class WebhookOperations:
    """The operations on webhooks, over those of ``operations``."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def webhooks(self, client_id: str | None) -> list[WebhookLine]:
        content = await self._ask("GET", "", clientId=client_id)
        return msgspec.json.decode(content, type=_Webhooks).items

    async def deliveries(self, webhook_id: str, limit: int) -> list[DeliveryLine]:
        content = await self._ask("GET", f"{_of(webhook_id)}/deliveries", limit=limit)
        return msgspec.json.decode(content, type=_Deliveries).items

    async def create(self, wish: dict[str, Any]) -> tuple[str, str]:
        """Create a webhook; return its id and secret."""
        made = msgspec.json.decode(await self._ask("POST", "", wish), type=_Secret)
        return made.id, made.secret

    async def rotate(self, webhook_id: str) -> str:
        """Return the new secret."""
        content = await self._ask("POST", f"{_of(webhook_id)}/secret")
        return msgspec.json.decode(content, type=_Secret).secret

    async def enable(self, webhook_id: str, reason: str | None) -> None:
        await self._ask("POST", f"{_of(webhook_id)}/enable", _reason(reason))

    async def disable(self, webhook_id: str, reason: str | None) -> None:
        await self._ask("POST", f"{_of(webhook_id)}/disable", _reason(reason))

    async def replay(self, webhook_id: str, after: str, reason: str | None) -> None:
        body = {"after": after, **(_reason(reason) or {})}
        await self._ask("POST", f"{_of(webhook_id)}/replay", body)

    async def delete(self, webhook_id: str, reason: str | None) -> None:
        await self._ask("DELETE", _of(webhook_id), reason=reason)

    async def _ask(self, method: str, path: str, body: Any = None, **query: Any) -> bytes:
        return await self._operations.ask(method, f"webhooks{path}", body, under="/api/", **query)


def _of(webhook_id: str) -> str:
    return f"/{quote(webhook_id, safe='')}"


def _reason(reason: str | None) -> dict[str, str] | None:
    return None if reason is None else {"reason": reason}
