"""Compare a subscription with a list, for any order of deliveries, reads, overflows and rooms."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.rooms.rooms import Admission, Positions, rooms_of
from gateway.rooms.subscription import Delivery, Fetch, Subscription
from projections.models.history import HistoryEntry, Room
from store.log.position import Position
from tests.servers import LONG

PARTITIONS = {"alice": 0, "bob": 1}
BACKLOG = 3
PAGE = 2

clients = st.sampled_from(sorted(PARTITIONS))
numbers = st.integers(0, 1)


def _client(client_id: str) -> Admission:
    return Admission(
        name=f"client:{client_id}",
        room=Room(kind="client", id=client_id, client_id=client_id),
        partitions=(PARTITIONS[client_id],),
    )


def _session(number: int) -> Admission:
    return Admission(
        name=f"session:s{number}",
        room=Room(kind="session", id=f"s{number}", client_id=None),
        partitions=(0, 1),
    )


def _photo(client_id: str, number: int) -> Admission:
    photo_id = f"{client_id}-{number}"
    return Admission(
        name=f"photo:{photo_id}",
        room=Room(kind="photo", id=photo_id, client_id=client_id),
        partitions=(PARTITIONS[client_id],),
    )


EVERYTHING = Admission(
    name="global", room=Room(kind="global", id="", client_id=None), partitions=(0, 1)
)


class Readers(RuleBasedStateMachine):
    """A hub, its history and one subscription; other steps may happen while a read is in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[int, list[HistoryEntry]] = {0: [], 1: []}
        self.head: Positions = {0: Position.start(0), 1: Position.start(1)}
        self.subscription = Subscription(self.head, BACKLOG, PAGE)
        self.begins: dict[str, tuple[Room, Positions]] = {}
        self.extended: set[str] = set()
        self.fetch: Fetch | None = None
        self.got: dict[Position, HistoryEntry] = {}
        self.last: dict[tuple[str, int], Position] = {}
        self.followed = dict(self.head)

    @rule(client_id=clients, session=numbers, photo=numbers, count=st.integers(1, 4))
    def the_read_model_moves(self, client_id: str, session: int, photo: int, count: int) -> None:
        entries = self.history[PARTITIONS[client_id]]
        for _ in range(count):
            entries.append(
                HistoryEntry(
                    position=Position(PARTITIONS[client_id], len(entries) + 1, 0),
                    client_id=client_id,
                    session_id=f"s{session}",
                    photo_id=f"{client_id}-{photo}",
                    type="photo.processing.started",
                    body=b"{}",
                )
            )

    @rule(partition=st.integers(0, 1), count=st.integers(1, 8))
    def the_hub_looks(self, partition: int, count: int) -> None:
        for entry in self._after(partition, self.head[partition])[:count]:
            self.head[partition] = entry.position
            if set(rooms_of(entry)) & set(self.subscription.rooms):
                self.subscription.offer(entry)

    @precondition(lambda self: not self.begins)
    @rule(data=st.data(), client_id=clients, resume=st.booleans())
    def a_client_room_is_entered(self, data: st.DataObject, client_id: str, resume: bool) -> None:
        self._enter(data, _client(client_id), resume)

    @precondition(lambda self: not any(name.startswith("photo") for name in self.begins))
    @rule(data=st.data(), session=numbers, resume=st.booleans())
    def a_session_room_is_entered(self, data: st.DataObject, session: int, resume: bool) -> None:
        self._enter(data, _session(session), resume)

    @precondition(lambda self: not self.begins)
    @rule(data=st.data(), resume=st.booleans())
    def the_global_room_is_entered(self, data: st.DataObject, resume: bool) -> None:
        self._enter(data, EVERYTHING, resume)

    @rule(data=st.data(), client_id=clients, photo=numbers, resume=st.booleans())
    def a_photo_room_is_entered(
        self, data: st.DataObject, client_id: str, photo: int, resume: bool
    ) -> None:
        self._enter(data, _photo(client_id, photo), resume)

    @rule(client_id=clients, photo=numbers)
    def a_photo_room_is_left(self, client_id: str, photo: int) -> None:
        name = _photo(client_id, photo).name
        assert (self.subscription.leave(name) is not None) == (name in self.begins)
        self.begins.pop(name, None)
        for position in (0, 1):
            self.last.pop((name, position), None)
        for entry in [e for e in self.got.values() if not self._is_due(e)]:
            del self.got[entry.position]

    @precondition(lambda self: self.fetch is None)
    @rule()
    def the_reader_goes_on(self) -> None:
        self.fetch = self.subscription.wanted()
        if self.fetch is None:
            self._got(self.subscription.take(), replayed=False)

    @precondition(lambda self: self.fetch is not None)
    @rule()
    def a_read_comes_back(self) -> None:
        assert self.fetch is not None
        fetch, self.fetch = self.fetch, None
        pages = [
            [
                entry
                for entry in self._after(fetch.upto.partition, after)
                if entry.position <= fetch.upto and room in rooms_of(entry)
            ][: fetch.limit]
            for room, after in fetch.rooms
        ]
        self._got(self.subscription.fetched(fetch, pages), replayed=fetch.replay is not None)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.subscription.backlog) <= BACKLOG

    def teardown(self) -> None:
        for partition in self.head:
            self.the_hub_looks(partition, len(self.history[partition]))
        idle = False
        while not idle:
            idle = self.fetch is None
            self.the_reader_goes_on() if idle else self.a_read_comes_back()
            idle = idle and self.fetch is None and not self.subscription.backlog
        due = {
            entry.position
            for entries in self.history.values()
            for entry in entries
            if self._is_due(entry)
        }
        assert due <= self.got.keys(), "an event was lost"

    def _after(self, partition: int, position: Position) -> list[HistoryEntry]:
        return [entry for entry in self.history[partition] if entry.position > position]

    def _is_due(self, entry: HistoryEntry) -> bool:
        return any(
            room in rooms_of(entry) and entry.position > begin[entry.position.partition]
            for room, begin in self.begins.values()
        )

    def _enter(self, data: st.DataObject, admission: Admission, resume: bool) -> None:
        after = None
        if resume:
            after = {
                p: Position(p, data.draw(st.integers(0, self.head[p].ms)), 0)
                for p in admission.partitions
            }
        own = self._last_own(admission) if data.draw(st.booleans()) else None
        start = self.subscription.enter(admission, after, own)
        assert start.recovered == resume
        begin = after or own or {p: self.head[p] for p in admission.partitions}
        assert start.positions == begin
        if admission.name in self.begins:
            self.extended.add(admission.name)
            known = self.begins[admission.name][1]
            begin = {p: min(begin[p], known[p]) for p in begin}
        self.begins[admission.name] = (admission.room, begin)

    def _last_own(self, admission: Admission) -> Positions | None:
        """Return the position of the last event of the room's client that the hub has reached."""
        if (client_id := admission.room.client_id) is None:
            return None
        partition = PARTITIONS[client_id]
        own = [
            entry.position
            for entry in self.history[partition]
            if entry.client_id == client_id and entry.position <= self.head[partition]
        ]
        return {partition: own[-1] if own else Position.start(partition)}

    def _got(self, deliveries: list[Delivery], *, replayed: bool) -> None:
        for names, entry in deliveries:
            assert entry.position not in self.got, "an event was delivered twice"
            self.got[entry.position] = entry
            partition = entry.position.partition
            if not replayed:
                assert entry.position > self.followed[partition], "the events were out of order"
                self.followed[partition] = entry.position
            for name in names:
                last = self.last.get((name, partition))
                if name not in self.extended:
                    assert last is None or last < entry.position, "a room was out of order"
                self.last[name, partition] = entry.position
                room, begin = self.begins[name]
                assert room in rooms_of(entry)
                assert entry.position > begin[partition]


TestReaders = Readers.TestCase
TestReaders.settings = settings(max_examples=1_000 if LONG else 100, stateful_step_count=60)
