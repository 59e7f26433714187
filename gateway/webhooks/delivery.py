"""The delivery of one webhook: read what it wants, send it, and note how far it has got."""

import logging
import random
import ssl
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import anyio
import msgspec

from domain.photo.events import Context
from domain.rejections import Rejected
from domain.webhooks.events import Cause
from domain.webhooks.webhooks import DisableWebhook, Webhook
from gateway.webhooks import pages
from gateway.webhooks.destinations import Destinations
from gateway.webhooks.messages import CONTENT_TYPE, body_of, signed, source_of
from gateway.webhooks.secrets import WebhookSecrets
from gateway.webhooks.sending import Answer, Sender
from gateway.webhooks.settings import WebhookBounds
from gateway.webhooks.window import Item, Window, retry_of, wanted
from projections.models.history import HistoryEntry
from store.errors import StoreError
from store.log.control import ControlLog
from store.log.log import Log
from store.outage import Outage
from store.sqlite.reader import Reader
from store.webhooks.progress import NOTED_AGAIN_S, Delivery, Notes, Progress, read_progress

logger = logging.getLogger("photolog.webhooks")

SOURCE = "webhooks"

POLL_S = 60.0
"""How often a webhook without new events looks for some all the same."""

PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that the deliveries of all webhooks share.

    ``observe`` is called with the outcome and the seconds of each attempt, ``lost`` when another
    process has taken the lease.
    """

    log: Log
    reader: Reader
    secrets: WebhookSecrets
    destinations: Destinations
    tls: ssl.SSLContext
    bounds: WebhookBounds
    notes: Notes
    user_agent: str
    observe: Callable[[str, float], None]
    lost: Callable[[], None]


class WebhookDelivery:
    """Delivers the events of one webhook as it is now; a changed one gets another delivery.

    ``unsigned`` says that this process cannot derive its secret.
    """

    def __init__(self, shared: Shared, webhook_id: str, webhook: Webhook) -> None:
        self.webhook_id = webhook_id
        self.webhook = webhook
        self.unsigned = False
        self._shared = shared
        self._window = Window(webhook, None)
        self._more = set[int]()
        self._awake = anyio.Event()
        self._stopping = False
        self._noting = anyio.Lock()
        self._noted_at = 0.0
        self._last = Progress()
        self._source = source_of(shared.log.log_id)

    @property
    def in_flight(self) -> int:
        return self._window.in_flight

    @property
    def is_failing(self) -> bool:
        return self._window.failures > 0

    @property
    def waiting_since_ms(self) -> int | None:
        """When the oldest event that waits was appended, in ms since 1970; None if none waits."""
        waiting = self._window.items
        return waiting[0].entry.position.ms if waiting else None

    def offer(self, entry: HistoryEntry) -> None:
        """Look for events if this one is wanted."""
        if self.webhook.wants(entry.type, entry.client_id):
            self._look(entry.position.partition)

    def look(self) -> None:
        """Look for events in all partitions."""
        self._look(*self._window.scanned)

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopping = True
        self._awake.set()

    async def run(self) -> None:
        """Deliver until cancelled; after ``stop``, until the requests in flight have ended."""
        shared, bounds = self._shared, self._shared.bounds
        self.unsigned = False
        for secret in self.webhook.secrets:
            derived = shared.secrets.derive(self.webhook_id, secret.id)
            self.unsigned = self.unsigned or derived.digest != secret.digest
        if self.unsigned:
            logger.error(
                "webhook %s: its secret was made with another key (PHOTOLOG_WEBHOOK_KEY), so "
                "nothing is sent: use that key here, or rotate the secret",
                self.webhook_id,
            )
        self._last = await self._read_progress()
        self._window = Window(self.webhook, self._last)
        if self.unsigned or self._last.unsigned:
            await self._note(None)
        if self.unsigned:
            while not self._stopping:
                await self._wait()
            return
        self.look()
        sender = Sender(
            self.webhook.url,
            shared.destinations,
            shared.tls,
            connections=bounds.webhook_concurrency,
            timeout_s=bounds.webhook_timeout_s,
        )
        try:
            async with anyio.create_task_group() as tasks:
                while not self._stopping or self.in_flight:
                    await self._fill()
                    while item := self._next():
                        item.in_flight = True
                        tasks.start_soon(self._attempt, sender, item)
                    await self._note_again()
                    await self._wait()
        finally:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await sender.close()

    def _next(self) -> Item | None:
        if self._stopping:
            return None
        return self._window.due(_now_ms(), self._shared.bounds.webhook_concurrency)

    def _wait_s(self) -> float:
        due_ms = self._window.next_due_ms(self._shared.bounds.webhook_concurrency)
        if due_ms is None or self._stopping:
            return POLL_S
        return min(POLL_S, max(0.0, (due_ms - _now_ms()) / 1000))

    def _look(self, *partitions: int) -> None:
        self._more.update(partitions)
        self._awake.set()

    async def _wait(self) -> None:
        """Wait for new events, for the end of an attempt, or for the time of a retry."""
        wait_s = self._wait_s()
        with anyio.move_on_after(wait_s) as waited:
            await self._awake.wait()
        if waited.cancelled_caught and wait_s == POLL_S:
            self.look()
        self._awake = anyio.Event()

    async def _fill(self) -> None:
        """Read what the webhook wants until the window is full or nothing is left."""
        outage = self._outage("the read model")
        while self._more and self._window.room:
            partition = self._more.pop()
            after = self._window.scanned[partition]
            try:
                found = await self._shared.reader.query(pages.page, self.webhook.client_id, after)
            except StoreError as error:
                self._more.add(partition)
                await outage.wait(error, longest_s=LONGEST_PAUSE_S)
                continue
            if found.rewound is not None:
                logger.warning(
                    "webhook %s: the log has lost %s, so it goes back to %s and sends what follows "
                    "again",
                    *(self.webhook_id, after, found.rewound),
                )
                self._window.rewind(found.rewound)
                self._more.add(partition)
                continue
            entries, scanned = wanted(self.webhook, found.entries, self._window.room)
            if scanned is not None:
                self._window.extend(entries, scanned)
            if found.full or (found.entries and scanned != found.entries[-1].position):
                self._more.add(partition)

    async def _attempt(self, sender: Sender, item: Item) -> None:
        entry, bounds = item.entry, self._shared.bounds
        began_ms, attempt = _now_ms(), item.attempt
        body = body_of(entry.body, entry.photo_id, self._source)
        answer = await sender.post(self._headers(item, body), body)
        self._shared.observe(answer.outcome, answer.seconds)
        now_ms = _now_ms()
        cause: Cause | None = None
        next_at_ms: int | None = None
        if answer.outcome == "delivered":
            self._window.delivered(item)
        else:
            retry = retry_of(
                item,
                now_ms,
                longest_s=bounds.webhook_retry_longest_s,
                least_s=answer.retry_after_s,
                spread=random.random(),  # noqa: S311 # spreads retries, keeps no secret
            )
            self._window.failed(item, retry)
            if answer.outcome == "gone":
                cause = "gone"
            elif now_ms - retry.first_ms >= bounds.webhook_retry_for_s * 1000:
                cause = "exhausted"
            else:
                next_at_ms = retry.due_ms
        self._last = msgspec.structs.replace(
            self._last,
            last_at_ms=now_ms,
            last_status=answer.status,
            failing_since_ms=(self._last.failing_since_ms or now_ms) if self.is_failing else 0,
            failing_reason=_why(answer) if self.is_failing else "",
        )
        if cause is not None:
            self.stop()
        await self._note(
            Delivery(
                position=item.name,
                type=entry.type,
                attempt=attempt,
                at_ms=began_ms,
                duration_ms=int(answer.seconds * 1000),
                outcome=answer.outcome,
                status=answer.status,
                answer=answer.text,
                next_at_ms=next_at_ms,
            )
        )
        if cause is not None:
            await self._disable(cause, item, answer)
        self._awake.set()

    def _headers(self, item: Item, body: bytes) -> list[tuple[str, str]]:
        now = datetime.now(UTC)
        keys = [
            self._shared.secrets.derive(self.webhook_id, secret.id).key
            for secret in self.webhook.signing(now)
        ]
        return [
            ("content-type", CONTENT_TYPE),
            ("user-agent", self._shared.user_agent),
            *signed(body, item.name, int(now.timestamp()), keys),
        ]

    async def _disable(self, cause: Cause, item: Item, answer: Answer) -> None:
        """Record that the webhook is disabled; retried until the log answers."""
        reason = f"{item.name}: {_why(answer)}"
        command = DisableWebhook(webhook_id=self.webhook_id, cause=cause, reason=reason)
        outage = self._outage("the log")
        while True:
            context = Context(
                now=datetime.now(UTC), source=SOURCE, actor=SOURCE, trace_id=uuid.uuid4().hex
            )
            try:
                await ControlLog(self._shared.log).execute(command, context)
            except Rejected:  # it was deleted meanwhile
                return
            except StoreError as error:
                await outage.wait(error, longest_s=LONGEST_PAUSE_S)
            else:
                logger.warning("webhook %s is disabled: %s", self.webhook_id, reason)
                return

    async def _note_again(self) -> None:
        """Note the progress of a webhook that gets nothing, before what is stored expires."""
        if time.monotonic() - self._noted_at > NOTED_AGAIN_S:
            await self._note(None)

    async def _note(self, delivery: Delivery | None) -> None:
        """Note progress and delivery, retrying until Redis answers or another one has the lease."""
        outage = self._outage("Redis")
        async with self._noting:
            while True:
                known = self._window.progress()
                progress = msgspec.structs.replace(
                    known,
                    last_at_ms=self._last.last_at_ms,
                    last_status=self._last.last_status,
                    failing_since_ms=self._last.failing_since_ms,
                    failing_reason=self._last.failing_reason,
                    unsigned=self.unsigned,
                )
                try:
                    noted = await self._shared.notes.note(self.webhook_id, progress, delivery)
                    break
                except StoreError as error:
                    await outage.wait(error, longest_s=LONGEST_PAUSE_S)
            self._noted_at = time.monotonic()
        if not noted:
            self._shared.lost()

    async def _read_progress(self) -> Progress:
        outage = self._outage("Redis")
        while True:
            try:
                found = await read_progress(self._shared.log, (self.webhook_id,))
                return found.get(self.webhook_id, Progress())
            except StoreError as error:
                await outage.wait(error, longest_s=LONGEST_PAUSE_S)

    def _outage(self, what: str) -> Outage:
        return Outage(logger, f"webhook {self.webhook_id} waits for {what}", first_s=PAUSE_S)


def _why(answer: Answer) -> str:
    """Return why the attempt failed."""
    if answer.status is not None:
        return f"the receiver answered {answer.status}"
    return f"{answer.outcome}: {answer.text}"


def _now_ms() -> int:
    return int(time.time() * 1000)
