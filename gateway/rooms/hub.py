"""The hub takes each event of the read model's history, once, to all who are in a room of it.

The history is written in the transaction of the rows, so what a room shows is in the read model
already. One hub serves a gateway process. The doorbell only wakes it: without Redis it looks at the
history every ``POLL_S`` and the rooms go on.
"""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal

import anyio
from anyio.lowlevel import checkpoint

from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.queries.reading import in_log
from gateway.rooms import room_history
from gateway.rooms.rooms import Admission, Positions, rooms_of
from gateway.rooms.subscription import Delivery, Fetch, Start, Subscription
from gateway.rooms.turns import Turns
from projections.models import checkpoints
from projections.models.history import HistoryEntry, Room
from store.background import Background
from store.errors import StoreError, Unavailable
from store.histogram import Distribution
from store.log.doorbell import Doorbell
from store.log.log import Log
from store.log.position import Position
from store.observing import ignore
from store.queue import liveness
from store.sqlite.reader import Reader

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""The longest time that a lost ring, or Redis being away, can delay an event."""

BREATH = 2_000
"""Deliveries after which the hub lets the event loop do other things."""

DELAY_BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)

CLOCK_S = 60.0
"""How often the clock of the log is compared with ours."""

CATCH_UPS_AT_ONCE = 2
"""Half of the reader's connections: a crowd that reconnects leaves the others to the queries."""


Transport = Literal["sse", "websocket"]


class Hub:
    """Follows the history of all partitions, and hands each entry to its subscribers.

    ``connections`` are those of now. Counted since the start: events ``delivered``, ``catch_ups``,
    pages of history read for subscribers, ``overflows`` of backlogs, ``slow_readers`` sent away,
    and ``failures`` to read the history. ``delays_ms`` are those of live deliveries alone, from the
    append to the hand-over, by the log's clock. ``observe`` is told of every event, once.
    ``replacements`` counts how often a part of the history turned out to be another one, because
    the log has lost events.
    """

    def __init__(
        self, log: Log, reader: Reader, limits: Limits, background: Background | None = None
    ) -> None:
        self.connections: dict[Transport, int] = {"sse": 0, "websocket": 0}
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
        self._failing = False
        self._log_ahead_ms = 0.0
        self._subscribers: set[Subscriber] = set()
        self._seats: dict[Room, set[Subscriber]] = {}

    @property
    def head(self) -> Mapping[int, Position]:
        """How far the history has been handed out; empty until there is a read model."""
        return self._head

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Follow the history inside the block: the lifespan of an application."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "hub", self.run)
            tasks.start_soon(self._background.keep, "clock comparison", self._compare_clocks)
            yield
            tasks.cancel_scope.cancel()

    async def run(self) -> None:
        """Follow the history until cancelled. However it ends, every subscriber ends with it.

        Run again, it goes on from where it was; subscribers that resume miss nothing.
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
            self._send_away()
            with anyio.CancelScope(shield=True):
                await bell.close()

    async def reached(self, after: Positions | None, own: str | None = None) -> Positions | None:
        """Wait for the read model, and for ``after`` if the log has it.

        Returns ``after``, or None if the log does not have what is there: then the log has lost
        it, or it was never in this log. The events of other clients than ``own`` do not exist for
        it.

        Raises:
            Unavailable: there is no read model, or the hub has stopped.
            Refused: ``read-model-behind``: the log has ``after``, or does not answer, and this
                host's history is not there within ``Limits.after_timeout_s``.
        """
        after = after or {}
        with anyio.move_on_after(self.limits.after_timeout_s):
            while not (self.following and self._head):
                await self._moved.wait()
            if await self._any_lost(self._ahead(after), own):
                return None
            while self._ahead(after):
                await self._moved.wait()
        if not self.following:  # it stops, or has failed and is about to be started again
            raise Unavailable("the hub has stopped")
        if not self._head:
            raise Unavailable("there is no read model yet: is the projector running?")
        if not after:
            return None
        missing = self._ahead(after) or await self._reader.query(room_history.missing, after, own)
        if await self._any_lost(missing, own):
            return None
        if missing:
            raise Refused(
                "read-model-behind",
                f"The history of this host has not reached {missing[0]} yet.",
                advice="Connect again after Retry-After, from the same position.",
            )
        return after

    async def begin(
        self, admission: Admission, asked: Positions | None = None, own: str | None = None
    ) -> Positions | None:
        """Return where a reader that is not recovered begins; None in a room of all clients: now.

        Now is where the last event of anybody stands, and so tells when other clients are active. A
        room of one client begins at that client's last event instead. No event of the room lies
        between the two, except those that come meanwhile, which are delivered then.

        ``asked`` are the positions that the reader has come with: it begins there in each partition
        that has that event, and in the others at the last event before it. So nothing that comes
        after them is left out or repeated.
        """
        if admission.room.client_id is None and asked is None:
            return None
        return await self._reader.query(
            room_history.beginning, admission, dict(self._head), asked or {}, own
        )

    @contextmanager
    def subscribe(self, transport: Transport, client: str = "") -> "Generator[Subscriber]":
        """A subscriber that is in no room yet; leaves all rooms at the end of the block.

        Subscribers of one ``client`` take turns.
        """
        subscriber = Subscriber(self, client, self._catch_up)
        self._subscribers.add(subscriber)
        self.connections[transport] += 1
        try:
            yield subscriber
        finally:
            self.connections[transport] -= 1
            self._subscribers.discard(subscriber)
            for room in subscriber.rooms:
                self.unseat(subscriber, room)

    def handed_over(self, deliveries: list[Delivery]) -> None:
        """The events went to a reader as they happened."""
        now_ms = time.time() * 1000 + self._log_ahead_ms
        for _, entry in deliveries:
            # Below zero where the clocks have not been compared since one of them was set.
            self.delays_ms.add(max(0.0, now_ms - entry.position.ms))

    def seat(self, subscriber: "Subscriber", room: Room) -> None:
        self._seats.setdefault(room, set()).add(subscriber)

    def unseat(self, subscriber: "Subscriber", room: Room) -> None:
        seats = self._seats[room]
        seats.discard(subscriber)
        if not seats:
            del self._seats[room]

    async def _compare_clocks(self) -> None:
        while True:
            with suppress(StoreError):
                self._log_ahead_ms = await liveness.clock_ahead_ms(self._log)
            await anyio.sleep(CLOCK_S)

    async def _look(self) -> None:
        try:
            if not self._head:
                self._head.update(
                    await self._reader.query(checkpoints.get_all, self._log.partitions)
                )
                self._has_moved()
            full = True
            while full:
                entries, lost = await self._reader.query(room_history.news, dict(self._head))
                if lost:
                    self._begin_again(lost)
                await self._hand_out(entries)
                full = len(entries) >= room_history.LOOK
            self._failing = False
        except StoreError as error:
            self.failures += 1
            if not self._failing:
                logger.warning("rooms wait for the read model: %s", error)
            self._failing = True

    def _begin_again(self, lost: Positions) -> None:
        """Go on from ``lost`` in the partitions whose last event handed out is not in the history
        any more. The readers of these have to come again, and are told what they were not told."""
        ended = [each for each in self._subscribers if each.partitions & lost.keys()]
        logger.warning(
            "the log has lost events that were delivered, in the partitions %s: "
            "%d readers are sent away",
            *(", ".join(map(str, lost)), len(ended)),
        )
        self.replacements += 1
        self._head.update(lost)
        for subscriber in ended:
            subscriber.end()
        self._has_moved()

    def _send_away(self) -> None:
        for subscriber in self._subscribers:
            subscriber.end()

    async def _hand_out(self, entries: list[HistoryEntry]) -> None:
        burden = 0
        for entry in entries:
            self._head[entry.position.partition] = entry.position
            self.observe(entry)
            hearers: set[Subscriber] = set()
            for room in rooms_of(entry):
                hearers |= self._seats.get(room, _NOBODY)
            for subscriber in hearers:
                self.overflows += not subscriber.offer(entry)
            burden += 1 + len(hearers)
            if burden >= BREATH:
                burden = 0
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

    async def _catch_up(self, fetch: Fetch) -> list[list[HistoryEntry]]:
        self.catch_ups += 1
        head = self._head[fetch.upto.partition]
        async with self._catching_up:
            pages = await self._reader.query(room_history.pages, fetch, head)
        if pages is None:
            raise Unavailable("the history was replaced")
        return pages


class Subscriber:
    """One reader's subscription, with the waiting. For one task that reads and one that enters."""

    def __init__(
        self,
        hub: Hub,
        client: str,
        read: Callable[[Fetch], Awaitable[list[list[HistoryEntry]]]],
    ) -> None:
        self._hub = hub
        self._client = client
        self._read = read
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
        """Follow the room from ``after``, if this history reaches it, or from ``begin``, or now.

        There are no events if the hub has stopped, or if the history was replaced since
        ``replacements``, which is the hub's count when ``after`` was found in it: whoever comes
        again resumes.
        """
        if not self._hub.following or replacements not in (None, self._hub.replacements):
            self.end()
        start = self._subscription.enter(admission, after, begin)
        self._hub.seat(self, admission.room)
        self.wake()
        return start

    def leave(self, name: str) -> bool:
        """Whether the subscriber was in the room. What was already taken may still come."""
        room = self._subscription.leave(name)
        if room is not None:
            self._hub.unseat(self, room)
        return room is not None

    def offer(self, entry: HistoryEntry) -> bool:
        self.wake()
        return self._subscription.offer(entry)

    def wake(self) -> None:
        self._awake.set()

    def end(self) -> None:
        """What is in the backlog stays there: whoever resumes finds it in the history."""
        self._ended = True
        self.wake()

    async def next_batch(self) -> list[Delivery]:
        """The next events of the rooms, in order; waits for the first one.

        Empty only after ``end``, and when the hub has stopped.
        """
        subscription, has_turn = self._subscription, False
        while not self._ended:
            # A server's send returns at once while its buffer has room: let the others have a turn.
            await checkpoint()
            fetch = subscription.wanted()
            if fetch is not None:
                batch = await self._fetch(fetch)
            elif subscription.backlog:
                if not has_turn:
                    await self._hub.turns.take(self._client)
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
        return []

    async def _fetch(self, fetch: Fetch) -> list[Delivery]:
        try:
            pages = await self._read(fetch)
        except StoreError:  # the hub, which reads the same file, says so
            await anyio.sleep(POLL_S)
            return []
        return self._subscription.fetched(fetch, pages)


_NOBODY: frozenset[Subscriber] = frozenset()
