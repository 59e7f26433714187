"""The hub delivers each event of the read model's history once to every subscriber of its rooms.

The history is written in the same transaction as the rows, so the read model already includes every
event that a room delivers. One hub serves a gateway process. The doorbell only wakes it: without
Redis, it polls the history every ``POLL_S`` and the rooms keep working.
"""

import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal, get_args

import anyio
from anyio.lowlevel import checkpoint

from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.queries.reading import in_log
from gateway.rooms import room_history
from gateway.rooms.rooms import Admission, Positions, rooms_of
from gateway.rooms.subscription import Delivery, Entrance, Fetch, Start, Subscription
from gateway.rooms.turns import Turns
from projections.models import checkpoints
from projections.models.history import HistoryEntry, Kind, Room
from store.background import Background
from store.errors import StoreError, Unavailable
from store.histogram import Distribution
from store.log.doorbell import Doorbell
from store.log.log import Log
from store.log.position import Position
from store.observing import ignore
from store.outage import Outage
from store.queue import liveness
from store.sqlite.reader import Reader

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""How long a lost ring, or an unreachable Redis, can delay an event."""

DELIVERIES_PER_TURN = 2_000
"""Deliveries after which the hub yields to the event loop."""

DELAY_BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)

CLOCK_S = 60.0
"""How often the clock of the log is compared with that of this host."""

CATCH_UPS_AT_ONCE = 2
"""Half of the reader's connections: even if many clients reconnect, queries keep the others."""


Transport = Literal["sse", "websocket"]


class Hub:
    """Follow the history of all partitions and deliver each entry to its subscribers.

    ``connections`` counts the open ones, and ``readers`` those of all rooms of a kind. Counted
    since the start: events ``delivered``, ``catch_ups`` (reads of history for subscribers),
    ``overflows`` of backlogs, ``slow_readers`` that were disconnected, and ``failures`` to read the
    history. ``delays_ms`` covers live deliveries only, from the append to the hand-over, by the
    log's clock. ``observe`` is called once with every event. ``replacements`` counts how often a
    part of the history was replaced because the log has lost events.
    """

    def __init__(
        self, log: Log, reader: Reader, limits: Limits, background: Background | None = None
    ) -> None:
        self.connections: dict[Transport, int] = {"sse": 0, "websocket": 0}
        self.readers: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)
        self.turns = Turns()
        self.delivered = 0
        self.catch_ups = 0
        self.overflows = 0
        self.slow_readers = 0
        self.failures = 0
        self.delays_ms = Distribution(DELAY_BOUNDS_MS)
        self.following = False
        self.replacements = 0
        self.limits = limits
        self.observe: Callable[[HistoryEntry], None] = ignore
        self._log = log
        self._reader = reader
        self._background = background or Background()
        self._catching_up = anyio.CapacityLimiter(CATCH_UPS_AT_ONCE)
        self._head: Positions = {}
        self._moved = anyio.Event()
        self._outage = Outage(logger, "rooms are waiting for the read model")
        self._log_ahead_ms = 0.0
        self._subscribers: set[Subscriber] = set()
        self._members: dict[Room, set[Subscriber]] = {}

    @property
    def head(self) -> Mapping[int, Position]:
        """The position delivered so far in each partition; empty until there is a read model."""
        return self._head

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Follow the history inside the block: part of the application's lifespan."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "hub", self.run)
            tasks.start_soon(self._background.keep, "clock comparison", self._compare_clocks)
            yield
            tasks.cancel_scope.cancel()

    async def run(self) -> None:
        """Follow the history until cancelled. However it ends, it ends every subscriber.

        A new run continues where the last one stopped; subscribers that resume miss nothing.
        """
        bell = Doorbell(self._log)
        self.following = True
        self._has_moved()
        try:
            while True:
                await self._look()
                try:
                    await bell.wait(POLL_S)
                except Unavailable:
                    await anyio.sleep(POLL_S)
        finally:
            self.following = False
            self._end_subscribers()
            with anyio.CancelScope(shield=True):
                await bell.close()

    async def reached(self, after: Positions | None, own: str | None = None) -> Positions | None:
        """Wait for the read model, and for ``after`` if the log has it.

        Return ``after``, or None if the log does not have these events: it has lost them, or they
        were never in this log; or it was recovered since, see ``LogRecovered``. With ``own``,
        events of other clients count as missing.

        Raises:
            Unavailable: there is no read model, or the hub has stopped.
            Refused: ``read-model-behind``: the log has ``after``, or does not answer, and this
                host's history does not reach it within ``Limits.after_timeout_s``.
        """
        after = after or {}
        with anyio.move_on_after(self.limits.after_timeout_s):
            while not (self.following and self._head):
                await self._moved.wait()
            if await self._any_lost(self._ahead(after), own):
                return None
            while self._ahead(after):
                await self._moved.wait()
        if not self.following:  # it is stopping, or has failed and is about to be restarted
            raise Unavailable("the hub has stopped")
        if not self._head:
            raise Unavailable("there is no read model yet: is the projector running?")
        if not after:
            return None
        if await self._reader.query(room_history.of_earlier_epoch, after):
            return None
        missing = self._ahead(after) or await self._reader.query(room_history.missing, after, own)
        if await self._any_lost(missing, own):
            return None
        if missing:
            raise Refused(
                "read-model-behind",
                f"The history on this host has not reached {missing[0]} yet.",
                advice="Reconnect after Retry-After, from the same position.",
            )
        return after

    async def begin(
        self, admission: Admission, asked: Positions | None = None, own: str | None = None
    ) -> Positions | None:
        """Return where a reader that is not recovered starts; None, for now, in a global room.

        "Now" is the position of the last event of any client, so it would reveal when other
        clients are active. A room of one client therefore starts at that client's last event. No
        event of the room lies between the two, except new ones, which are delivered.

        ``asked`` are the positions that the reader wants to resume from: it starts there in each
        partition that has that event, and at the last event before it in the others. So no later
        event is left out or repeated.
        """
        if admission.room.client_id is None and asked is None:
            return None
        return await self._reader.query(
            room_history.start_positions, admission, dict(self._head), asked or {}, own
        )

    @contextmanager
    def subscribe(self, transport: Transport, client: str = "") -> "Generator[Subscriber]":
        """Yield a subscriber. Subscribers of one ``client`` take turns."""
        subscriber = Subscriber(self, client)
        self._subscribers.add(subscriber)
        self.connections[transport] += 1
        try:
            yield subscriber
        finally:
            self.connections[transport] -= 1
            self._subscribers.discard(subscriber)
            for room in subscriber.rooms:
                self.leave(subscriber, room)

    def readers_by_room(self) -> dict[Room, int]:
        """Return how many readers each room has."""
        return {room: len(members) for room, members in self._members.items()}

    def readers_by_sender(self) -> Counter[str]:
        """Return how many streams and sockets each subject has open, as ``Principal.subject``."""
        return Counter(each.client for each in self._subscribers)

    def handed_over(self, deliveries: list[Delivery]) -> None:
        """Record the delays of events that were delivered live."""
        now_ms = time.time() * 1000 + self._log_ahead_ms
        for _, entry in deliveries:
            # Negative if a clock was set since the last comparison.
            self.delays_ms.add(max(0.0, now_ms - entry.position.ms))

    def join(self, subscriber: "Subscriber", room: Room) -> None:
        members = self._members.setdefault(room, set())
        self.readers[room.kind] += subscriber not in members
        members.add(subscriber)

    def leave(self, subscriber: "Subscriber", room: Room) -> None:
        members = self._members[room]
        self.readers[room.kind] -= subscriber in members
        members.discard(subscriber)
        if not members:
            del self._members[room]

    async def _compare_clocks(self) -> None:
        while True:
            with suppress(StoreError):
                self._log_ahead_ms = await liveness.clock_ahead_ms(self._log)
            await anyio.sleep(CLOCK_S)

    async def _look(self) -> None:
        try:
            if not self._head:
                self._head.update(await self._reader.query(checkpoints.get_all))
                self._has_moved()
            full = True
            while full:
                entries, lost = await self._reader.query(room_history.new_entries, dict(self._head))
                if lost:
                    self._continue_after_loss(lost)
                await self._hand_out(entries)
                if recovered := room_history.recovered(entries, self._head):
                    self._begin_epoch(recovered)
                full = len(entries) >= room_history.ENTRIES_PER_READ
            self._outage.over()
        except StoreError as error:
            self.failures += 1
            self._outage.note(error)

    def _continue_after_loss(self, lost: Positions) -> None:
        """Continue from ``lost`` in the partitions whose last delivered event is no longer in the
        history. End their subscribers: when they reconnect, they get what they have missed."""
        self._head.update(lost)
        self._disconnect(lost.keys(), "the log has lost events that were already delivered")
        self._has_moved()

    def _begin_epoch(self, recovered: Set[int]) -> None:
        """End the subscribers: what they have been shown may be lost, and resuming says so."""
        self._disconnect(recovered, "the log was recovered")

    def _disconnect(self, partitions: Set[int], reason: str) -> None:
        ended = [each for each in self._subscribers if each.partitions & partitions]
        logger.warning(
            "%s, in partitions %s: disconnecting %d readers",
            *(reason, ", ".join(map(str, sorted(partitions))), len(ended)),
        )
        self.replacements += 1
        for subscriber in ended:
            subscriber.end()

    def _end_subscribers(self) -> None:
        for subscriber in self._subscribers:
            subscriber.end()

    async def _hand_out(self, entries: list[HistoryEntry]) -> None:
        deliveries = 0
        for entry in entries:
            self._head[entry.position.partition] = entry.position
            self.observe(entry)
            receivers: set[Subscriber] = set()
            for room in rooms_of(entry):
                receivers |= self._members.get(room, _NO_SUBSCRIBERS)
            for subscriber in receivers:
                self.overflows += not subscriber.offer(entry)
            deliveries += 1 + len(receivers)
            if deliveries >= DELIVERIES_PER_TURN:
                deliveries = 0
                await checkpoint()
        if entries:
            self._has_moved()

    def _has_moved(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    def _ahead(self, after: Positions) -> list[Position]:
        return [each for p, each in after.items() if p in self._head and self._head[p] < each]

    async def _any_lost(self, positions: list[Position], own: str | None) -> bool:
        for position in positions:
            if await in_log(self._log, position, own) is False:
                return True
        return False

    async def catch_up(self, fetch: Fetch) -> list[list[HistoryEntry]]:
        """Return the pages of the history that ``fetch`` asks for; raises StoreError."""
        self.catch_ups += 1
        head = self._head[fetch.upto.partition]
        async with self._catching_up:
            pages = await self._reader.query(room_history.pages, fetch, head)
        if pages is None:
            raise Unavailable("the history was replaced")
        return pages


class Subscriber:
    """The waiting side of a subscription, for one task that reads and one that enters rooms."""

    def __init__(self, hub: Hub, client: str) -> None:
        self._hub = hub
        self.client = client
        self._subscription = Subscription(hub.head, hub.limits.room_backlog)
        self._awake = anyio.Event()
        self._ended = False

    @property
    def backlog(self) -> int:
        """Events waiting in memory; never more than ``Limits.room_backlog``."""
        return len(self._subscription.backlog)

    @property
    def rooms(self) -> tuple[Room, ...]:
        return self._subscription.rooms

    @property
    def partitions(self) -> Set[int]:
        return self._subscription.partitions

    def enter(
        self,
        admission: Admission,
        after: Positions | None,
        begin: Positions | None = None,
        replacements: int | None = None,
    ) -> Start:
        """Follow the room from ``after`` if this history reaches it, from ``begin``, or from now.

        If the hub has stopped, or the history was replaced since the hub counted ``replacements``
        (when it found ``after`` in it), the subscriber ends without events: the client reconnects
        and resumes.
        """
        self._check(replacements)
        start = self._subscription.enter(admission, after, begin)
        self._hub.join(self, admission.room)
        self.wake()
        return start

    def enter_together(self, entrances: Sequence[Entrance], replacements: int) -> list[Start]:
        """Enter the first rooms of the subscriber together; see ``enter``."""
        self._check(replacements)
        starts = self._subscription.enter_together(entrances)
        for entrance in entrances:
            self._hub.join(self, entrance.admission.room)
        self.wake()
        return starts

    def _check(self, replacements: int | None) -> None:
        if not self._hub.following or replacements not in (None, self._hub.replacements):
            self.end()

    def leave(self, name: str) -> bool:
        """Leave the room; return whether the subscriber was in it. Events in flight may follow."""
        room = self._subscription.leave(name)
        if room is not None:
            self._hub.leave(self, room)
        return room is not None

    def offer(self, entry: HistoryEntry) -> bool:
        self.wake()
        return self._subscription.offer(entry)

    def wake(self) -> None:
        self._awake.set()

    def end(self) -> None:
        """End the subscriber and drop its backlog: a client that resumes gets it from history."""
        self._ended = True
        self.wake()

    async def next_batch(self) -> list[Delivery]:
        """Wait for the next events of the rooms and return them in order.

        Return an empty list only after ``end``, or when the hub has stopped.
        """
        subscription, has_turn = self._subscription, False
        # A send returns immediately while the server's buffer has space: let other tasks run.
        await checkpoint()
        while True:
            # From here to the wait nothing else runs, so what ends or wakes it is not missed.
            if self._ended:
                return []
            fetch = subscription.wanted()
            if fetch is not None:
                batch = await self._fetch(fetch)
            elif subscription.backlog:
                if not has_turn:
                    await self._hub.turns.take(self.client)
                    has_turn = True
                    continue  # the backlog may have overflown meanwhile
                batch = subscription.take()
                self._hub.handed_over(batch)
            else:
                self._awake = anyio.Event()
                await self._awake.wait()
                continue
            if batch:
                self._hub.delivered += len(batch)
                return batch

    async def _fetch(self, fetch: Fetch) -> list[Delivery]:
        try:
            pages = await self._hub.catch_up(fetch)
        except StoreError:  # the hub reads the same file and logs it
            await anyio.sleep(POLL_S)
            return []
        return self._subscription.fetched(fetch, pages)


_NO_SUBSCRIBERS: frozenset[Subscriber] = frozenset()
