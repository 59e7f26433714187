"""Deliver all webhooks, in the one process that has the lease.

It learns from the log which webhooks there are, and from the history of the read model, which the
rooms read too, what to send: a receiver that fetches a photo because of an event finds what the
event says. Each webhook is delivered by a task of its own, over connections of its own, so that one
slow receiver keeps back no other.
"""

import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import TaskGroup

from domain.system_events import OF_NO_PHOTO
from domain.webhooks.webhooks import Webhook, Webhooks
from gateway.webhooks import pages
from gateway.webhooks.delivery import Shared, WebhookDelivery
from gateway.webhooks.destinations import Destinations
from gateway.webhooks.secrets import WebhookSecrets
from gateway.webhooks.settings import WebhookBounds
from projections.models import checkpoints
from store.background import Background
from store.errors import StoreError, Unavailable
from store.log.control import ControlLog
from store.log.doorbell import Doorbell
from store.log.log import Log
from store.log.position import Position
from store.observing import ignore
from store.outage import START_S, Outage
from store.sqlite.reader import Reader
from store.webhooks.lease import LEASE_S, RENEW_S, Lease, Report
from store.webhooks.progress import Notes, forget

logger = logging.getLogger("photolog.webhooks")

LOOK_S = 1.0
"""How soon a change of a webhook is noticed, if the read model does not show it before that."""

POLL_S = 1.0
"""How long a lost ring can delay an event."""

MARGIN_S = 1.0
"""How long before its lease ends a process stops if it cannot renew it."""


class Deliverer:
    """Delivers webhooks while it has the lease; ``owner`` is unique among all processes.

    ``observe`` is called with the outcome and the seconds of each attempt.
    """

    def __init__(
        self,
        log: Log,
        reader: Reader,
        secrets: WebhookSecrets,
        destinations: Destinations,
        tls: ssl.SSLContext,
        *,
        owner: str,
        user_agent: str,
        bounds: WebhookBounds = WebhookBounds(),  # noqa: B008 # it is frozen
        observe: Callable[[str, float], None] = ignore,
        background: Background | None = None,
    ) -> None:
        self._log = log
        self._reader = reader
        self._bounds = bounds
        self._background = background or Background()
        self._lease = Lease(log, owner)
        self._controls = ControlLog(log)
        self._running: dict[str, _Running] = {}
        self._known: set[str] = set()
        self._stopping = anyio.Event()
        self._changed = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._shared = Shared(
            log=log,
            reader=reader,
            secrets=secrets,
            destinations=destinations,
            tls=tls,
            bounds=bounds,
            notes=Notes(log, owner, bounds.webhook_deliveries_kept),
            user_agent=user_agent,
            observe=observe,
            lost=self._lost,
        )

    @property
    def report(self) -> Report:
        """The state of the delivery now."""
        now_ms = int(time.time() * 1000)
        running = [each.delivery for each in self._running.values()]
        since_ms = [(each.waiting_since_ms or now_ms, each.webhook.client_id) for each in running]
        of_system = (since for since, client_id in since_ms if client_id is None)
        return Report(
            behind_ms=max(0, now_ms - min((since for since, _ in since_ms), default=now_ms)),
            system_behind_ms=max(0, now_ms - min(of_system, default=now_ms)),
            failing=sum(each.is_failing for each in running),
            unsigned=sum(each.unsigned for each in running),
        )

    @property
    def count(self) -> int:
        """The webhooks that this process delivers."""
        return len(self._running)

    def stop(self) -> None:
        """Begin no more requests, and end when those in flight have ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Deliver until ``stop`` or cancelled; wait while another process has the lease.

        Raises:
            Exception: an unexpected error that keeps recurring.
        """
        await self._background.keep("webhooks", self._run)

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deliver_by_turns)
            await self._stopping.wait()
            await self._drain()
            tasks.cancel_scope.cancel()
        with suppress(StoreError), anyio.move_on_after(MARGIN_S):
            await self._lease.give_back()

    async def _drain(self) -> None:
        for each in self._running.values():
            each.delivery.stop()
        with anyio.move_on_after(self._bounds.webhook_timeout_s):
            for each in self._running.values():
                await each.ended.wait()

    async def _deliver_by_turns(self) -> None:
        while True:
            until = await self._take()
            logger.info("this process delivers webhooks")
            try:
                async with anyio.create_task_group() as tasks:
                    self._scope = tasks.cancel_scope
                    tasks.start_soon(self._renew, until)
                    tasks.start_soon(self._follow_controls, tasks)
                    tasks.start_soon(self._follow_history)
            finally:
                self._scope = None
                self._running = {}
            logger.warning("this process has lost the lease, and delivers no webhooks for now")

    async def _take(self) -> float:
        """Wait for the lease; return until when it holds, by this process's clock."""
        outage = Outage(logger, "the delivery of webhooks waits for Redis")
        while True:
            began = time.monotonic()
            try:
                if await self._lease.take(Report()):
                    return began + LEASE_S
                outage.over()
                await anyio.sleep(RENEW_S)
            except StoreError as error:
                await outage.wait(error, longest_s=RENEW_S)

    async def _renew(self, until: float) -> None:
        """Renew the lease; end all deliveries before it ends."""
        while (left_s := until - MARGIN_S - time.monotonic()) > 0:
            began = time.monotonic()
            with anyio.move_on_after(left_s), suppress(StoreError):
                if not await self._lease.take(self.report):
                    break
                until = began + LEASE_S
            await anyio.sleep(min(RENEW_S, max(0.0, until - MARGIN_S - time.monotonic())))
        self._lost()

    def _lost(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def _follow_controls(self, tasks: TaskGroup) -> None:
        outage = Outage(logger, "the delivery of webhooks waits for the log")
        while True:
            try:
                steered = await self._controls.load(safe=True)
                await self._apply(steered.controls.webhooks, tasks)
                outage.over()
            except StoreError as error:
                await outage.wait(error, longest_s=LOOK_S)
            with anyio.move_on_after(LOOK_S):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def _apply(self, webhooks: Webhooks, tasks: TaskGroup) -> None:
        """Run what is enabled, as it is now; stop and forget what was deleted."""
        enabled = {name: each for name, each in webhooks.items() if each.disabled is None}
        for name, running in list(self._running.items()):
            if enabled.get(name) != running.delivery.webhook:
                await running.end()
                del self._running[name]
        for name in self._known - webhooks.keys():
            await forget(self._log, name)  # again: a delivery may have noted something meanwhile
            self._known.discard(name)
        self._known |= webhooks.keys()
        for name, webhook in enabled.items():
            if name not in self._running and not self._stopping.is_set():
                self._begin(name, webhook, tasks)

    def _begin(self, name: str, webhook: Webhook, tasks: TaskGroup) -> None:
        running = self._running[name] = _Running(WebhookDelivery(self._shared, name, webhook))
        keep = partial(self._background.keep, "webhook delivery", running.delivery.run, part=name)
        tasks.start_soon(running.run, keep)

    async def _follow_history(self) -> None:
        """Tell each webhook of the new events that it wants."""
        head: dict[int, Position] = {}
        doorbell = Doorbell(self._log)
        waits = "the delivery of webhooks waits for the read model"
        outage = Outage(logger, waits, patient_s=START_S)
        try:
            while True:
                try:
                    await self._look(head)
                    outage.over()
                except StoreError as error:
                    outage.note(error)
                try:
                    await doorbell.wait(POLL_S)
                except Unavailable:
                    await anyio.sleep(POLL_S)
        finally:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await doorbell.close()

    async def _look(self, head: dict[int, Position]) -> None:
        full = True
        while full:
            found = await self._reader.query(pages.new_entries, dict(head)) if head else None
            if found is None:  # at the start, or because the log has lost events
                head |= await self._reader.query(checkpoints.get_all)
                for each in self._running.values():
                    each.delivery.look()
                return
            for entry in found:
                head[entry.position.partition] = entry.position
                if entry.photo_id == OF_NO_PHOTO:  # perhaps a change of a webhook
                    self._changed.set()
                for each in self._running.values():
                    each.delivery.offer(entry)
            full = len(found) >= pages.ENTRIES


class _Running:
    """A delivery in a task that can be ended on its own."""

    def __init__(self, delivery: WebhookDelivery) -> None:
        self.delivery = delivery
        self._scope = anyio.CancelScope()
        self.ended = anyio.Event()

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await work()
        finally:
            self.ended.set()

    async def end(self) -> None:
        self._scope.cancel()
        await self.ended.wait()
