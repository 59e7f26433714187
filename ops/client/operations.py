"""What operators ask of a Photolog that runs, over HTTP. Everything here may be asked twice."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from ops.client.client import checked
from ops.client.retry import BUSY, Trying
from ops.errors import UserError

ALL = "all"
"""Stands for all stages."""

CHUNK = 50
"""Photos that one call names."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this code needs of an answer; newer servers may say more."""


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
    """``in_per_s`` and ``out_per_s`` are tasks that came and left, None where that is not known.

    ``paused`` and ``limit`` are None while it is not known what operators have said.
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
    """``rates_over_ms`` is the time that the rates are over, None where there are none yet."""

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
        """Tasks in the low lanes, of whatever stage."""
        return sum(each.lanes["low"].waiting for each in self.stages)

    @property
    def silent(self) -> list[Partition]:
        """Partitions that do not answer: of them nothing is counted."""
        return [each for each in self.partitions if not each.answers]

    def limit_of(self, stage: str) -> Limit:
        """What holds for the stage, or for ``all``; raises UserError where that is not known."""
        if self.all_paused is None:
            raise UserError("What holds now is not known: partition 0 does not answer. Try later.")
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
    """Of one call: ``retried`` or ``discarded`` photos."""

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
    """``limit`` None is no limit."""

    used: int
    limit: int | None


class OwnQuota(_Answer, frozen=True, kw_only=True):
    """What is set for one client: None is the default, 0 no limit."""

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
    """Of a token; or of those issued up to ``before``, of a client or of everyone."""

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
    """Asks one server. Once it has answered, it is asked again while it is busy or away.

    Raises:
        UserError: the server says no.
        httpx.TransportError: it does not answer.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._met = False

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> bytes:
        """The answer to a call under ``/api/ops/``; what is None in ``query`` is left out."""
        params = {name: value for name, value in query.items() if value is not None}
        trying = Trying()
        while True:
            try:
                response = await self._client.request(
                    method, f"/api/ops/{path}", json=body, params=params
                )
            except httpx.TransportError as error:
                if not self._met:
                    raise
                await trying.after_loss(error)
                continue
            if self._met and response.status_code in BUSY and await trying.after_busy(response):
                continue
            self._met = True
            return checked(response).content

    async def queues(self) -> Queues:
        return msgspec.json.decode(await self.ask("GET", "queues"), type=Queues)

    async def steer(self, stage: str, what: str) -> Held:
        """``pause`` or ``resume``."""
        content = await self.ask("POST", f"queues/{_quoted(stage)}/{what}")
        return msgspec.json.decode(content, type=Held)

    async def limit(self, stage: str, limit: Limit) -> Held:
        body = msgspec.to_builtins(limit)
        content = await self.ask("PUT", f"queues/{_quoted(stage)}/limits", body)
        return msgspec.json.decode(content, type=Held)

    async def drain(self, stage: str, reason: str) -> AsyncIterator[Drained]:
        """In bounded calls, as long as ever fewer remain; what keeps coming meanwhile is left."""
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
        """The newest ``most``, each as it came."""
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
        """``retry`` or ``discard`` what each wish selects, page by page."""
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
        """One page of photos."""
        body = {"stage": stage, "run": run, "cursor": cursor}
        return msgspec.json.decode(await self.ask("POST", "backfill", body), type=Backfilled)

    async def clients(self) -> AsyncIterator[ClientUsage]:
        """All of them, by id."""
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
        """Every revocation, newest first, each as it came."""
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
        """Replaces what was set for the client before."""
        body = msgspec.to_builtins(own)
        content = await self.ask("PUT", f"clients/{_quoted(client_id)}/quota", body)
        return msgspec.json.decode(content, type=ClientQuota)


def _quoted(stage: str) -> str:
    return quote(stage, safe="")
