"""Call the operations of a running Photolog over HTTP. Every call may safely be repeated."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from ops.client.client import checked
from ops.client.retry import BUSY, Retry
from ops.errors import UserError

ALL = "all"
"""Stands for all stages."""

CHUNK = 50
"""Most photos that one call names."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields of an answer that this code needs; newer servers may send more."""


class Rate(_Answer, frozen=True, kw_only=True):
    max: int
    duration_ms: int


class Limit(_Answer, frozen=True, kw_only=True):
    concurrency: int | None = None
    rate: Rate | None = None


class Lane(_Answer, frozen=True, kw_only=True):
    waiting: int
    clients: int = 0


class Queue(_Answer, frozen=True, kw_only=True):
    """A stage. ``in_per_s`` and ``out_per_s`` are tasks that entered and left; None if unknown.

    ``paused`` and ``limit`` are None while the gateway cannot read what operators have set.
    """

    stage: str
    lanes: dict[str, Lane]
    in_progress: int
    delayed: int
    oldest_age_ms: int | None
    in_per_s: float | None = None
    out_per_s: float | None = None
    paused: bool | None
    limit: Limit | None
    dead_letters: int


class Doing(_Answer, frozen=True, kw_only=True):
    stage: str
    photo_id: str
    attempt: int
    silent_ms: int


class Worker(_Answer, frozen=True, kw_only=True):
    name: str
    silent_ms: int
    doing: list[Doing]


class Reader(_Answer, frozen=True, kw_only=True):
    name: str
    silent_ms: int


class Partition(_Answer, frozen=True, kw_only=True):
    partition: int
    server: str | None
    answers: bool
    to_plan: int | None
    readers: list[Reader]


class LogMemory(_Answer, frozen=True, kw_only=True):
    used_bytes: int
    max_bytes: int


class Queues(_Answer, frozen=True, kw_only=True):
    """All stages. ``rates_over_ms`` is the period of the rates; None if there are none yet."""

    all_paused: bool | None
    concurrency: int | None
    rates_over_ms: int | None = None
    stages: list[Queue]
    workers: list[Worker]
    log_memory: LogMemory | None = None
    partitions: list[Partition] = []

    @property
    def dead_letters(self) -> int:
        return sum(each.dead_letters for each in self.stages)

    @property
    def waiting_low(self) -> int:
        """Return the number of tasks in the low lanes of all stages."""
        return sum(each.lanes["low"].waiting for each in self.stages)

    @property
    def silent(self) -> list[Partition]:
        """Return the partitions that do not answer; their tasks are not counted."""
        return [each for each in self.partitions if not each.answers]

    def limit_of(self, stage: str) -> Limit:
        """Return the limit of the stage, or of ``all``; raises UserError if it is unknown."""
        if self.all_paused is None:
            raise UserError(
                "the current limits are unknown, because partition 0 does not answer: try later"
            )
        found = {each.stage: each.limit or Limit() for each in self.stages}
        return found.get(stage, Limit()) if stage != ALL else Limit(concurrency=self.concurrency)


class Held(_Answer, frozen=True, kw_only=True):
    stage: str
    paused: bool
    limit: Limit
    position: str


class Drained(_Answer, frozen=True, kw_only=True):
    drained: int
    remaining: int


class DeadLetter(_Answer, frozen=True, kw_only=True):
    photo_id: str
    client_id: str
    stage: str
    category: str
    code: str
    error: str
    attempts: int
    first_failed_at: str
    last_failed_at: str


class DeadLetters(_Answer, frozen=True, kw_only=True):
    items: list[msgspec.Raw]
    next_cursor: str | None


class Skipped(_Answer, frozen=True, kw_only=True):
    photo_id: str
    code: str


class Swept(_Answer, frozen=True, kw_only=True):
    """The result of one call, which retries or discards photos."""

    retried: int = 0
    discarded: int = 0
    skipped: list[Skipped]
    next_cursor: str | None

    @property
    def done(self) -> int:
        return self.retried + self.discarded


class Backfilled(_Answer, frozen=True, kw_only=True):
    requested: int
    already: int
    skipped: list[Skipped]
    next_cursor: str | None
    total: int | None


class Amount(_Answer, frozen=True, kw_only=True):
    """A used amount; a ``limit`` of None means no limit."""

    used: int
    limit: int | None


class OwnQuota(_Answer, frozen=True, kw_only=True):
    """The quota that is set for one client: None means the default, 0 no limit."""

    photos: int | None = None
    bytes: int | None = None
    jobs: int | None = None
    uploads: int | None = None
    idempotency_keys: int | None = None


class QuotaAmounts(_Answer, frozen=True, kw_only=True):
    photos: Amount
    bytes: Amount
    reserved_bytes: int
    jobs: Amount
    uploads: Amount
    idempotency_keys: Amount


class ClientQuota(_Answer, frozen=True, kw_only=True):
    client_id: str
    quota: QuotaAmounts
    own: OwnQuota


class Usage(_Answer, frozen=True, kw_only=True):
    photos: int
    bytes: int
    jobs: int


class ClientUsage(_Answer, frozen=True, kw_only=True):
    client_id: str
    usage: Usage
    own: OwnQuota


class Clients(_Answer, frozen=True, kw_only=True):
    items: list[ClientUsage]
    next_cursor: str | None


class Revocation(_Answer, frozen=True, kw_only=True):
    """Revokes a token; or those issued up to ``before``, of a client or of everyone."""

    token_id: str | None
    client_id: str | None
    before: str | None
    revoked_at: str
    revoked_by: str
    reason: str
    superseded: bool


class Revoked(_Answer, frozen=True, kw_only=True):
    items: list[msgspec.Raw]
    next_cursor: str | None


class Operations:
    """Calls one server. Once it has answered, calls are retried while it is busy or unreachable.

    Raises:
        UserError: the server rejects a call.
        httpx.TransportError: the server does not answer.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._met = False

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> bytes:
        """Call a path under ``/api/ops/`` and return the answer; a ``query`` of None is omitted."""
        params = {name: value for name, value in query.items() if value is not None}
        retry = Retry()
        while True:
            try:
                response = await self._client.request(
                    method, f"/api/ops/{path}", json=body, params=params
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

    async def steer(self, stage: str, what: str) -> Held:
        """``pause`` or ``resume`` the stage."""
        content = await self.ask("POST", f"queues/{_quoted(stage)}/{what}")
        return msgspec.json.decode(content, type=Held)

    async def limit(self, stage: str, limit: Limit) -> Held:
        body = msgspec.to_builtins(limit)
        content = await self.ask("PUT", f"queues/{_quoted(stage)}/limits", body)
        return msgspec.json.decode(content, type=Held)

    async def drain(self, stage: str, reason: str) -> AsyncIterator[Drained]:
        """Drain in bounded calls until nothing remains, or until a call leaves no fewer tasks.

        The latter happens when new tasks arrive as fast as they are drained.
        """
        left: int | None = None
        while True:
            body = {"reason": reason}
            content = await self.ask("POST", f"queues/{_quoted(stage)}/drain", body)
            answer = msgspec.json.decode(content, type=Drained)
            yield answer
            if answer.remaining == 0 or (left is not None and answer.remaining >= left):
                return
            left = answer.remaining

    async def dead_letters(self, most: int, **filters: str | None) -> AsyncIterator[msgspec.Raw]:
        """Yield the newest ``most`` dead letters as JSON."""
        cursor = None
        while most > 0:
            content = await self.ask(
                "GET", "dead-letters", **filters, cursor=cursor, limit=min(most, CHUNK)
            )
            page = msgspec.json.decode(content, type=DeadLetters)
            for item in page.items:
                yield item
            most -= len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

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

    async def backfill(self, stage: str, run: str, cursor: str | None) -> Backfilled:
        """Request the stage for one page of photos."""
        body = {"stage": stage, "run": run, "cursor": cursor}
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

    async def revoked(self) -> AsyncIterator[msgspec.Raw]:
        """Yield all revocations as JSON, newest first."""
        cursor: str | None = None
        while True:
            content = await self.ask("GET", "tokens/history", cursor=cursor)
            page = msgspec.json.decode(content, type=Revoked)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def quota(self, client_id: str) -> ClientQuota:
        content = await self.ask("GET", f"clients/{_quoted(client_id)}/quota")
        return msgspec.json.decode(content, type=ClientQuota)

    async def set_quota(self, client_id: str, own: OwnQuota) -> ClientQuota:
        """Replace the client's quota."""
        body = msgspec.to_builtins(own)
        content = await self.ask("PUT", f"clients/{_quoted(client_id)}/quota", body)
        return msgspec.json.decode(content, type=ClientQuota)


def _quoted(name: str) -> str:
    return quote(name, safe="")
