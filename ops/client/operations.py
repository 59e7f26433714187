"""Call the operations of a running Photolog over HTTP. Every call may safely be repeated."""

import math
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec

from ops.client.client import checked
from ops.client.queues import Answer, Cancelled, Drain, Held, Limit, Queues
from ops.client.retry import BUSY, Retry

LONGEST_LOOK_S = 2.0
"""How long one call waits for a stage to become idle."""

CHUNK = 50
"""Most photos that one call names."""


class DeadLetter(Answer, frozen=True, kw_only=True):
    photo_id: str
    client_id: str
    stage: str
    category: str
    code: str
    error: str
    attempts: int
    first_failed_at: str
    last_failed_at: str


class Listed(Answer, frozen=True, kw_only=True):
    """A page of a list."""

    items: list[msgspec.Raw]
    next_cursor: str | None = None


class Skipped(Answer, frozen=True, kw_only=True):
    photo_id: str
    code: str


class Swept(Answer, frozen=True, kw_only=True):
    """The result of one call, which retries or discards photos."""

    retried: int = 0
    discarded: int = 0
    skipped: list[Skipped]
    next_cursor: str | None

    @property
    def done(self) -> int:
        return self.retried + self.discarded


class Backfilled(Answer, frozen=True, kw_only=True):
    requested: int
    already: int
    skipped: list[Skipped]
    next_cursor: str | None
    total: int | None


class Amount(Answer, frozen=True, kw_only=True):
    """A used amount; a ``limit`` of None means no limit."""

    used: int
    limit: int | None


class OwnQuota(Answer, frozen=True, kw_only=True):
    """The quota that is set for one client: None means the default, 0 no limit."""

    photos: int | None = None
    bytes: int | None = None
    jobs: int | None = None
    uploads: int | None = None
    idempotency_keys: int | None = None


class QuotaAmounts(Answer, frozen=True, kw_only=True):
    photos: Amount
    bytes: Amount
    reserved_bytes: int
    jobs: Amount
    uploads: Amount
    idempotency_keys: Amount


class ClientQuota(Answer, frozen=True, kw_only=True):
    """The quota of one client; each job reserves ``job_bytes`` of its ``bytes``."""

    client_id: str
    quota: QuotaAmounts
    job_bytes: int = 0
    own: OwnQuota

    @property
    def holds_nothing(self) -> bool:
        """Return whether the client has stored nothing, and asked for nothing lately."""
        quota = self.quota
        amounts = (quota.photos, quota.bytes, quota.jobs, quota.idempotency_keys)
        return not any(each.used for each in amounts)


class Usage(Answer, frozen=True, kw_only=True):
    photos: int
    bytes: int
    jobs: int


class ClientUsage(Answer, frozen=True, kw_only=True):
    client_id: str
    usage: Usage
    own: OwnQuota


class Clients(Answer, frozen=True, kw_only=True):
    items: list[ClientUsage]
    next_cursor: str | None


class Ended(Answer, frozen=True, kw_only=True):
    """Access was revoked; gateways of older versions do not name the webhooks."""

    disabled_webhooks: tuple[str, ...] = ()


class Revocation(Answer, frozen=True, kw_only=True):
    """Revokes a token; or those issued up to ``before``, of a client or of everyone."""

    token_id: str | None
    client_id: str | None
    before: str | None
    revoked_at: str
    revoked_by: str
    reason: str
    superseded: bool


class RevokedClient(Answer, frozen=True, kw_only=True):
    client_id: str
    before: str


class InForce(Answer, frozen=True, kw_only=True):
    """The revocations in force; those that a wider one supersedes are left out."""

    tokens: list[Any]
    clients: list[RevokedClient]
    everyone: str | None


class KeyLine(Answer, frozen=True, kw_only=True):
    """An API key in force."""

    id: str
    name: str
    client_id: str | None
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class EndedLine(Answer, frozen=True, kw_only=True):
    """An API key that has ended."""

    id: str
    last_used_at: str | None


class Operations:
    """Calls one server. Once it has answered, calls are retried while it is busy or unreachable.

    Raises:
        UserError: the server rejects a call.
        httpx.TransportError: the server does not answer.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._met = False

    async def ask(
        self, method: str, path: str, body: Any = None, *, under: str = "/api/ops/", **query: Any
    ) -> bytes:
        """Call a path under ``under`` and return the answer; a ``query`` of None is omitted."""
        params = {name: value for name, value in query.items() if value is not None}
        retry = Retry()
        while True:
            try:
                response = await self._client.request(
                    method, f"{under}{path}", json=body, params=params
                )
            except httpx.TransportError as error:
                if not self._met:
                    raise
                await retry.after_loss(error)
                continue
            if self._met and response.status_code in BUSY and await retry.after_busy(response):
                continue
            self._met = True
            return checked(response).content

    async def queues(self) -> Queues:
        return msgspec.json.decode(await self.ask("GET", "queues"), type=Queues)

    async def steer(
        self, stage: str, what: str, *, reason: str | None = None, until: str | None = None
    ) -> Held:
        """``pause`` or ``resume`` the stage; a pause can end by itself at ``until``."""
        body = _given(reason=reason, until=until)
        content = await self.ask("POST", f"queues/{_quoted(stage)}/{what}", body)
        return msgspec.json.decode(content, type=Held)

    async def limit(self, stage: str, limit: Limit, reason: str | None = None) -> Held:
        body = msgspec.to_builtins(limit) | (_given(reason=reason) or {})
        content = await self.ask("PUT", f"queues/{_quoted(stage)}/limits", body)
        return msgspec.json.decode(content, type=Held)

    async def drain(
        self, stage: str, timeout_s: float, reason: str | None = None
    ) -> AsyncIterator[Drain]:
        """Pause the stage, and yield what runs until it is idle or resumed, or until the time-out.

        The stage is paused once only, so that a drain does not undo a resume.
        """
        path = f"queues/{_quoted(stage)}/drain"
        deadline = anyio.current_time() + timeout_s
        content = await self.ask("POST", path, _given(reason=reason))
        while True:
            answer = msgspec.json.decode(content, type=Drain)
            yield answer
            left_s = deadline - anyio.current_time()
            if answer.idle or not answer.paused or left_s <= 0:
                return
            seconds = math.ceil(min(LONGEST_LOOK_S, left_s))
            content = await self.ask("GET", path, seconds=seconds)

    async def cancel(self, stage: str, reason: str) -> AsyncIterator[Cancelled]:
        """Cancel in bounded calls until nothing remains, or until a call leaves no fewer tasks.

        The latter happens when new tasks arrive as fast as they are cancelled.
        """
        left: int | None = None
        while True:
            body = {"reason": reason}
            content = await self.ask("POST", f"queues/{_quoted(stage)}/cancel", body)
            answer = msgspec.json.decode(content, type=Cancelled)
            yield answer
            if answer.remaining == 0 or (left is not None and answer.remaining >= left):
                return
            left = answer.remaining

    async def items(
        self, path: str, most: int, filters: dict[str, str | None], *, under: str = "/api/ops/"
    ) -> AsyncIterator[msgspec.Raw]:
        """Yield the first ``most`` items of a list as JSON, page by page."""
        cursor = None
        while most > 0:
            content = await self.ask(
                "GET", path, under=under, **filters, cursor=cursor, limit=min(most, CHUNK)
            )
            page = msgspec.json.decode(content, type=Listed)
            for item in page.items:
                yield item
            most -= len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def job(self, job_id: str) -> bytes:
        """Return the story of a job as JSON."""
        return await self.ask("GET", f"jobs/{_quoted(job_id)}")

    async def act_on_job(
        self, job_id: str, action: str, method: str = "POST", body: Any = None
    ) -> bytes:
        """Call ``run-now``, ``retry``, ``cancel`` or ``priority`` of the job."""
        return await self.ask(method, f"jobs/{_quoted(job_id)}/{action}", body)

    def dead_letters(self, most: int, **filters: str | None) -> AsyncIterator[msgspec.Raw]:
        """Yield the newest ``most`` dead letters as JSON."""
        return self.items("dead-letters", most, filters)

    async def sweep(self, what: str, wishes: list[dict[str, Any]]) -> AsyncIterator[Swept]:
        """``retry`` or ``discard`` the dead letters that each wish selects, page by page."""
        for wish in wishes:
            cursor: str | None = None
            while True:
                body = wish | ({"cursor": cursor} if cursor else {})
                content = await self.ask("POST", f"dead-letters/{what}", body)
                swept = msgspec.json.decode(content, type=Swept)
                yield swept
                cursor = swept.next_cursor
                if cursor is None:
                    break

    async def backfill(
        self, stage: str, run: str, cursor: str | None, reason: str | None = None
    ) -> Backfilled:
        """Request the stage for one page of photos."""
        body = {"stage": stage, "run": run, "cursor": cursor, "reason": reason}
        return msgspec.json.decode(await self.ask("POST", "backfill", body), type=Backfilled)

    async def clients(self) -> AsyncIterator[ClientUsage]:
        """Yield all clients, ordered by id."""
        cursor: str | None = None
        while True:
            content = await self.ask("GET", "clients", cursor=cursor)
            page = msgspec.json.decode(content, type=Clients)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def revoke(self, wish: dict[str, Any]) -> tuple[InForce, tuple[str, ...]]:
        """Revoke tokens; return what is then in force, and the webhooks that were disabled."""
        content = await self.ask("POST", "tokens/revoke", wish)
        disabled = msgspec.json.decode(content, type=Ended).disabled_webhooks
        return msgspec.json.decode(content, type=InForce), disabled

    async def revocations(self) -> InForce:
        content = await self.ask("GET", "tokens/revocations")
        return msgspec.json.decode(content, type=InForce)

    def revoked(self) -> AsyncIterator[msgspec.Raw]:
        """Yield all revocations as JSON, newest first."""
        return self.items("tokens/history", sys.maxsize, {})

    async def keys(self) -> list[KeyLine]:
        content = await self.ask("GET", "keys", under="/api/")
        page = msgspec.json.decode(content, type=Listed)
        return [msgspec.json.decode(each, type=KeyLine) for each in page.items]

    async def ended_keys(self) -> dict[str, str | None]:
        """Return when each of the keys that have ended was last used; the latest are known."""
        content = await self.ask("GET", "keys/ended", under="/api/")
        page = msgspec.json.decode(content, type=Listed)
        ended = (msgspec.json.decode(each, type=EndedLine) for each in page.items)
        return {each.id: each.last_used_at for each in ended}

    async def create_key(self, wish: dict[str, Any]) -> str:
        """Create an API key, and return it."""
        content = await self.ask("POST", "keys", wish, under="/api/")
        return str(msgspec.json.decode(content)["key"])

    async def revoke_key(self, key_id: str, reason: str | None) -> tuple[str, ...]:
        """Revoke an API key, and return the webhooks that were disabled."""
        path = f"keys/{_quoted(key_id)}"
        content = await self.ask("DELETE", path, under="/api/", reason=reason)
        return msgspec.json.decode(content, type=Ended).disabled_webhooks if content else ()

    async def quota(self, client_id: str) -> ClientQuota:
        content = await self.ask("GET", f"clients/{_quoted(client_id)}/quota")
        return msgspec.json.decode(content, type=ClientQuota)

    async def set_quota(
        self, client_id: str, own: OwnQuota, reason: str | None = None
    ) -> ClientQuota:
        """Replace the client's quota."""
        body = msgspec.to_builtins(own) | (_given(reason=reason) or {})
        content = await self.ask("PUT", f"clients/{_quoted(client_id)}/quota", body)
        return msgspec.json.decode(content, type=ClientQuota)


def _given(**fields: str | None) -> dict[str, str] | None:
    """Return the fields that have a value as a body; None, which is no body, without any."""
    return {name: value for name, value in fields.items() if value is not None} or None


def _quoted(name: str) -> str:
    return quote(name, safe="")
