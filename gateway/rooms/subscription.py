"""Decide what one reader of rooms still has to receive: each event once, in order, bounded memory.

This module neither waits nor reads; the hub does. A subscription has two sources that meet at its
*joint*, a position in each partition: events after the joint are in the backlog, where the hub put
them; events up to the joint are read from history, starting at the cursor. A backlog that grows too
long is dropped and the joint moves to the hub's position, so the same events come from history.
There is no moment of "going live" at which an event could be missed.

A room entered at an earlier position is first replayed up to the hub's position at that moment.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from gateway.rooms.rooms import Admission, Positions, rooms_of
from projections.models.history import HistoryEntry, Room
from store.log.position import Position

PAGE = 200
"""Entries read from history, or taken from the backlog, in one step."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The positions from which a room's events are delivered.

    ``recovered`` is false if this history does not reach the requested position, or if the
    position has other partitions than the room: events may be missing before ``positions``.
    """

    positions: Positions
    recovered: bool


class Delivery(NamedTuple):
    """An entry, and the names of the subscription's rooms that contain it."""

    rooms: tuple[str, ...]
    entry: HistoryEntry


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """A room to enter at ``after`` if its history reaches that; otherwise at ``begin``, or now."""

    admission: Admission
    after: Positions | None
    begin: Positions | None


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """A room, replayed from ``begin`` to ``since`` and then followed along with the others."""

    admission: Admission
    begin: Positions
    since: Positions


class Replay(msgspec.Struct, kw_only=True, eq=False):
    """One partition of a room from ``after`` to ``upto``, without what ``others`` deliver."""

    name: str
    room: Room
    after: Position
    upto: Position
    others: tuple[tuple[Room, Position], ...]


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """The history to read next: at most ``limit`` entries of each room after its position."""

    rooms: tuple[tuple[Room, Position], ...]
    upto: Position
    limit: int
    replay: Replay | None = None


class Subscription:
    """The rooms of one reader.

    ``head`` is the hub's current position in each partition; the hub updates it.

    Only photo rooms may be left, and a client or session room is entered before them, so a room
    that another one's replay relies on is never left.
    """

    def __init__(self, head: Mapping[int, Position], backlog_max: int, page: int = PAGE) -> None:
        self.backlog: deque[HistoryEntry] = deque()
        self._backlog_max = backlog_max
        self._page = page
        self._head = head
        self._rooms: dict[str, Entered] = {}
        self._cursor: Positions = {}
        self._joint: Positions = {}
        self._replays: deque[Replay] = deque()

    @property
    def rooms(self) -> tuple[Room, ...]:
        return tuple(entered.admission.room for entered in self._rooms.values())

    @property
    def partitions(self) -> Set[int]:
        """The partitions of all rooms entered, including rooms that were left."""
        return self._joint.keys()

    def enter(
        self, admission: Admission, after: Positions | None, begin: Positions | None = None
    ) -> Start:
        """Follow the room from ``after``; without it, from ``begin``, or from now on.

        Entering a room again adds its earlier events.
        """
        now = {partition: self._head[partition] for partition in admission.partitions}
        start = _start(now, after, begin)
        begin = dict(start.positions)
        known = self._rooms.get(admission.name)
        until = known.begin if known else now
        self._replay(admission, begin, until)
        for partition, position in now.items():
            self._cursor.setdefault(partition, position)
            self._joint.setdefault(partition, position)
        self._rooms[admission.name] = Entered(
            admission=admission,
            begin={p: min(begin[p], until[p]) for p in until},
            since=known.since if known else now,
        )
        return start

    def enter_together(self, entrances: Sequence["Entrance"]) -> list[Start]:
        """Enter all rooms of a reader that has none yet, and deliver their events in one order.

        So the position of each event is one to resume from for all the rooms, even among events
        that are replayed.
        """
        starts: list[Start] = []
        for entrance in entrances:
            admission = entrance.admission
            now = {partition: self._head[partition] for partition in admission.partitions}
            start = _start(now, entrance.after, entrance.begin)
            begin = dict(start.positions)
            for partition, position in begin.items():
                self._cursor[partition] = min(self._cursor.get(partition, position), position)
                self._joint.setdefault(partition, now[partition])
            self._rooms[admission.name] = Entered(admission=admission, begin=begin, since=begin)
            starts.append(start)
        return starts

    def leave(self, name: str) -> Room | None:
        """Leave the room and return it; None if the subscription was not in it."""
        entered = self._rooms.pop(name, None)
        if entered is None:
            return None
        self._replays = deque(replay for replay in self._replays if replay.name != name)
        return entered.admission.room

    def offer(self, entry: HistoryEntry) -> bool:
        """Add an entry of one of the rooms, which the hub has reached, to the backlog.

        Return False if the backlog was full: it is dropped and will be read from history.
        """
        if len(self.backlog) < self._backlog_max:
            self.backlog.append(entry)
            return True
        self.backlog.clear()
        self._joint = {partition: self._head[partition] for partition in self._joint}
        return False

    def wanted(self) -> Fetch | None:
        """Return what to read from history next; None when the backlog continues from here."""
        if self._replays:
            replay = self._replays[0]
            rooms = ((replay.room, replay.after),)
            return Fetch(rooms=rooms, upto=replay.upto, limit=self._page, replay=replay)
        for partition, joint in self._joint.items():
            cursor = self._cursor[partition]
            if cursor >= joint:
                continue
            rooms = tuple(
                (entered.admission.room, max(cursor, entered.since[partition]))
                for entered in self._rooms.values()
                if partition in entered.since and max(cursor, entered.since[partition]) < joint
            )
            if rooms:
                return Fetch(rooms=rooms, upto=joint, limit=self._page)
            self._cursor[partition] = joint
        return None

    def fetched(self, fetch: Fetch, pages: Sequence[Sequence[HistoryEntry]]) -> list[Delivery]:
        """Return what to deliver of the pages read for ``fetch``, one for each of its rooms."""
        if fetch.replay is not None:
            return self._replayed(fetch.replay, pages[0], fetch.limit)
        # After the end of a full page, the entries of any room are unknown.
        ends = [page[-1].position for page in pages if len(page) == fetch.limit]
        end = min(ends, default=fetch.upto)
        self._cursor[end.partition] = end
        found = {entry.position: entry for page in pages for entry in page if entry.position <= end}
        return self._deliveries(found[position] for position in sorted(found))

    def take(self) -> list[Delivery]:
        """Take at most a page from the backlog; only when nothing is ``wanted`` from history."""
        taken = [self.backlog.popleft() for _ in range(min(self._page, len(self.backlog)))]
        for entry in taken:
            self._cursor[entry.position.partition] = entry.position
        return self._deliveries(taken)

    def _replay(self, admission: Admission, begin: Positions, until: Positions) -> None:
        others = [entered for name, entered in self._rooms.items() if name != admission.name]
        self._replays.extend(
            Replay(
                name=admission.name,
                room=admission.room,
                after=begin[partition],
                upto=upto,
                others=tuple(
                    (other.admission.room, other.begin[partition])
                    for other in others
                    if partition in other.begin
                ),
            )
            for partition, upto in until.items()
            if begin[partition] < upto
        )

    def _replayed(self, replay: Replay, page: Sequence[HistoryEntry], limit: int) -> list[Delivery]:
        if replay not in self._replays:  # the room was left while the page was read
            return []
        if len(page) < limit:
            self._replays.remove(replay)
        else:
            replay.after = page[-1].position
        return [
            Delivery((replay.name,), entry)
            for entry in page
            if not _is_delivered_by_others(entry, replay)
        ]

    def _deliveries(self, entries: Iterable[HistoryEntry]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for entry in entries:
            rooms, position = rooms_of(entry), entry.position
            names = tuple(
                [  # a list, because this runs for each delivery
                    name
                    for name, entered in self._rooms.items()
                    if entered.admission.room in rooms
                    and position > entered.since[position.partition]
                ]
            )
            if names:
                deliveries.append(Delivery(names, entry))
        return deliveries


def _start(now: Positions, after: Positions | None, begin: Positions | None) -> Start:
    """Return where a room starts that has reached ``now``: at ``after`` if it can, or ``begin``."""
    recovered = after is not None and _reaches(now, after)
    first = after if recovered else begin
    positions = {p: min(first[p], now[p]) for p in now} if first is not None else now
    return Start(positions=positions, recovered=recovered)


def _reaches(head: Positions, after: Positions) -> bool:
    return head.keys() == after.keys() and all(after[p] <= head[p] for p in head)


def _is_delivered_by_others(entry: HistoryEntry, replay: Replay) -> bool:
    """Return whether another room delivers the entry, so that the reader gets it only once."""
    rooms = rooms_of(entry)
    return any(room in rooms and entry.position > begin for room, begin in replay.others)
