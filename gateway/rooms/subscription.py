"""What one reader of rooms has still to get: each event once, in order, in bounded memory.

Nothing here waits or reads; the hub does. A subscription has two sources that meet at its *joint*,
a position of each partition: what lies after the joint is in the backlog, because the hub put it
there; what lies at or before it is read from history, from the cursor on. A backlog that grows too
long is dropped and the joint moves up to the hub's position, so the same events come from history.
There is no moment of "going live" at which an event could slip through.

A room entered from an earlier position is first replayed up to the hub's position of that moment.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from gateway.rooms.rooms import Admission, Positions, rooms_of
from projections.models.history import HistoryEntry, Room
from store.log.position import Position

PAGE = 200
"""Entries read from history, or taken from the backlog, at once."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """From where a room's events are delivered.

    ``recovered`` is false if a position was asked for that this history does not reach or whose
    partitions are not those of the room: then events may be missing before ``positions``.
    """

    positions: Positions
    recovered: bool


class Delivery(NamedTuple):
    """An entry, and the names of the subscription's rooms that it is delivered for."""

    rooms: tuple[str, ...]
    entry: HistoryEntry


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """A room, replayed from ``begin`` to ``since`` and from there followed with the others."""

    admission: Admission
    begin: Positions
    since: Positions


class Replay(msgspec.Struct, kw_only=True, eq=False):
    """One partition of a room from ``after`` to ``upto``, less what ``others`` deliver anyway."""

    name: str
    room: Room
    after: Position
    upto: Position
    others: tuple[tuple[Room, Position], ...]


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """The history to read next: of each room at most ``limit`` entries after its position."""

    rooms: tuple[tuple[Room, Position], ...]
    upto: Position
    limit: int
    replay: Replay | None = None


class Subscription:
    """The rooms of one reader.

    ``head`` is the hub's position in each partition, always the present one.

    Only photo rooms may be left, and a client or session room is entered before them: so no room
    that another one relies on in its replay ever goes away.
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
        """Those of all rooms entered, also of those that were left."""
        return self._joint.keys()

    def enter(
        self, admission: Admission, after: Positions | None, begin: Positions | None = None
    ) -> Start:
        """Follow the room from ``after``; without it from ``begin``, or from now on.

        Entering again adds what lies before.
        """
        now = {partition: self._head[partition] for partition in admission.partitions}
        recovered = after is not None and _reaches(now, after)
        first = after if recovered else begin
        begin = {p: min(first[p], now[p]) for p in now} if first is not None else now
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
        return Start(positions=begin, recovered=recovered)

    def leave(self, name: str) -> Room | None:
        """The room that was left; None if the subscription was not in it."""
        entered = self._rooms.pop(name, None)
        if entered is None:
            return None
        self._replays = deque(replay for replay in self._replays if replay.name != name)
        return entered.admission.room

    def offer(self, entry: HistoryEntry) -> bool:
        """The hub has come to ``entry``, which is in one of the rooms.

        False if the backlog was full: it is dropped, to be read from history.
        """
        if len(self.backlog) < self._backlog_max:
            self.backlog.append(entry)
            return True
        self.backlog.clear()
        self._joint = {partition: self._head[partition] for partition in self._joint}
        return False

    def wanted(self) -> Fetch | None:
        """What to read from history; None when the backlog goes on from here."""
        if self._replays:
            replay = self._replays[0]
            rooms = ((replay.room, replay.after),)
            return Fetch(rooms=rooms, upto=replay.upto, limit=self._page, replay=replay)
        for partition, joint in self._joint.items():
            cursor = self._cursor[partition]
            rooms = tuple(
                (entered.admission.room, max(cursor, entered.since[partition]))
                for entered in self._rooms.values()
                if partition in entered.since and max(cursor, entered.since[partition]) < joint
            )
            if rooms:
                return Fetch(rooms=rooms, upto=joint, limit=self._page)
            self._cursor[partition] = max(cursor, joint)
        return None

    def fetched(self, fetch: Fetch, pages: Sequence[Sequence[HistoryEntry]]) -> list[Delivery]:
        """What to deliver of the pages read for ``fetch``, one for each of its rooms."""
        if fetch.replay is not None:
            return self._replayed(fetch.replay, pages[0], fetch.limit)
        # A full page says nothing of what comes after it, in any of the rooms.
        ends = [page[-1].position for page in pages if len(page) == fetch.limit]
        end = min(ends, default=fetch.upto)
        self._cursor[end.partition] = end
        found = {entry.position: entry for page in pages for entry in page if entry.position <= end}
        return self._deliveries(found[position] for position in sorted(found))

    def take(self) -> list[Delivery]:
        """The next of the backlog, at most a page; only when nothing is ``wanted``."""
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
        return [Delivery((replay.name,), entry) for entry in page if not _among(entry, replay)]

    def _deliveries(self, entries: Iterable[HistoryEntry]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for entry in entries:
            rooms = rooms_of(entry)
            names = tuple(
                name
                for name, entered in self._rooms.items()
                if entered.admission.room in rooms
                and entry.position > entered.since[entry.position.partition]
            )
            if names:
                deliveries.append(Delivery(names, entry))
        return deliveries


def _reaches(head: Positions, after: Positions) -> bool:
    return head.keys() == after.keys() and all(after[p] <= head[p] for p in head)


def _among(entry: HistoryEntry, replay: Replay) -> bool:
    """Whether another room delivers the entry, so that its reader gets it once."""
    rooms = rooms_of(entry)
    return any(room in rooms and entry.position > begin for room, begin in replay.others)
