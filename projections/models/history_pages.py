"""How the history is stored: its latest events one by one, all others in pages.

Every ``PAGE`` consecutive events of a partition are a page, packed as one: what they repeat, such
as the ids of a photo, is stored once. An event then takes about 75 bytes, where its JSON alone
would take 700. The events that do not fill a page yet are rows of ``history``. Which events are in
which page depends on nothing but the events, so any two folds of a log have the same rows.

``history_members`` tells which pages have events of a photo, client, session or type. It holds a
hash of the name, so a page may have none after all: readers compare each event.
"""

from collections.abc import Generator, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import NamedTuple

import msgspec

from domain.system_events import OF_NO_PHOTO
from store.errors import Corrupt
from store.log import codec
from store.log.codec import Subject
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection
from store.sqlite.packing import pack_all, unpack

PAGE = 96
"""Events of a page: larger ones take less space each, but all of a page is unpacked to read one."""

SCHEMA = f"""
-- The latest events of each partition, which do not fill a page yet.
CREATE TABLE history (
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  body BLOB NOT NULL, -- as in the log
  PRIMARY KEY (partition, ms, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE history_pages (
  partition INTEGER NOT NULL,
  page INTEGER NOT NULL, -- from 1 on
  last_ms INTEGER NOT NULL, -- with last_seq: the position of the last event
  last_seq INTEGER NOT NULL,
  events BLOB NOT NULL, -- {PAGE} of them: MessagePack, packed
  PRIMARY KEY (partition, page)
) STRICT;

CREATE INDEX history_page_ends ON history_pages (partition, last_ms, last_seq, page);

CREATE TABLE history_members (
  name INTEGER NOT NULL, -- a hash
  partition INTEGER NOT NULL,
  page INTEGER NOT NULL,
  PRIMARY KEY (name, partition, page)
) STRICT, WITHOUT ROWID;
"""

MOST = 2**63 - 1
"""The largest integer of SQLite: later than any position in a read model."""

INSERT = "INSERT INTO history VALUES (?, ?, ?, ?)"
INSERT_PAGE = "INSERT INTO history_pages VALUES (?, ?, ?, ?, ?)"
INSERT_MEMBER = "INSERT INTO history_members VALUES (?, ?, ?)"

_NAME_BYTES = 6


class Stored(NamedTuple):
    """An event of one partition; ``body`` is that of the log."""

    ms: int
    seq: int
    body: bytes


class _Page(msgspec.Struct, frozen=True, array_like=True):
    """The events of a page; ``ms`` has the first time and the steps from each to the next."""

    ms: list[int]
    seq: list[int]
    bodies: list[bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Page)


class Name(NamedTuple):
    """The name by which ``history_members`` knows events, and bytes that their bodies contain."""

    name: str
    holding: bytes


def of_photo(photo_id: str) -> Name:
    """Return the name of the photo's events; so do the next ones."""
    return Name(f"p{photo_id}", photo_id.encode())


def of_client(client_id: str) -> Name:
    return Name(f"c{client_id}", client_id.encode())


def of_session(session_id: str, client_id: str | None) -> Name:
    """Return the name of the client's session, or of the sessions of that name of all clients."""
    name = f"a{session_id}" if client_id is None else f"s{client_id} {session_id}"
    return Name(name, session_id.encode())


def of_type(type_: str) -> Name:
    """Return the name of the events of no photo that have this type."""
    return Name(f"t{type_}", type_.encode())


def _names(subjects: Iterable[Subject]) -> set[str]:
    """Return the names that any event about these subjects has."""
    found: set[str] = set()
    for photo_id, type_, client_id, session_id in set(subjects):
        found.add((of_type(type_) if photo_id == OF_NO_PHOTO else of_photo(photo_id)).name)
        found.add(of_client(client_id).name)
        if session_id is not None:
            found.add(of_session(session_id, None).name)
            found.add(of_session(session_id, client_id).name)
    return found


def _hashed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=_NAME_BYTES).digest())


class Paged(NamedTuple):
    """What the next events of a partition bring.

    Each of ``pages`` is the position of its last event and the packed events, ``members`` are the
    hashes of its names. ``rest`` are the rows that follow them; without ``pages`` they follow the
    rows that are there.
    """

    pages: list[tuple[int, int, bytes]]
    members: list[list[int]]
    rest: list[Stored]


class Pager:
    """Fills pages with events of a partition; it begins with those that do not fill a page yet.

    ``size`` is how many events a page has, by default ``PAGE``.
    """

    def __init__(self, stored: Sequence[Stored], size: int | None = None) -> None:
        self._size = size or PAGE
        self._ms: list[int] = [each.ms for each in stored]
        self._seq: list[int] = [each.seq for each in stored]
        self._bodies: list[bytes] = [each.body for each in stored]
        self._subjects: list[Subject] = [codec.subject_in(each.body) for each in stored]

    def add(self, recorded: Sequence[Recorded]) -> Paged:
        """Add the next events."""
        return self.add_stored(
            [each.position[1] for each in recorded],
            [each.position[2] for each in recorded],
            [each.body for each in recorded],
            codec.subjects_of([each.event for each in recorded]),
        )

    def add_stored(
        self, ms: list[int], seq: list[int], bodies: list[bytes], subjects: list[Subject]
    ) -> Paged:
        """Add the next events: their times, numbers, bodies and subjects, each in its own list."""
        had, size = len(self._ms), self._size
        ms = self._ms = self._ms + ms
        seq = self._seq = self._seq + seq
        bodies = self._bodies = self._bodies + bodies
        subjects = self._subjects = self._subjects + subjects
        end = len(ms) - len(ms) % size
        if not end:
            return Paged([], [], [*map(Stored, ms[had:], seq[had:], bodies[had:])])
        self._ms, self._seq, self._bodies = ms[end:], seq[end:], bodies[end:]
        self._subjects = subjects[end:]
        pages = [slice(begin, begin + size) for begin in range(0, end, size)]
        lasts = slice(size - 1, end, size)
        packed = pack_all([_encoded(ms[page], seq[page], bodies[page]) for page in pages])
        return Paged(
            pages=[*zip(ms[lasts], seq[lasts], packed, strict=True)],
            members=[[_hashed(name) for name in _names(subjects[page])] for page in pages],
            rest=self.rest,
        )

    @property
    def rest(self) -> list[Stored]:
        """The last events, which fill no page yet."""
        return [*map(Stored, self._ms, self._seq, self._bodies)]


def waiting(db: Connection, partition: int) -> list[Stored]:
    """Return the events of the partition that do not fill a page yet."""
    return list(_latest(db, partition))


def add(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Add the next events of a partition, and make a page whenever there are enough for one."""
    partition = recorded[0].position.partition
    count = db.execute("SELECT count(*) FROM history WHERE partition = ?", (partition,))[0][0]
    if count + len(recorded) < PAGE:
        rows = [(*each.position, each.body) for each in recorded]
        db.execute_many(INSERT, rows)
    else:
        store(db, partition, Pager(waiting(db, partition)).add(recorded))


def store(db: Connection, partition: int, paged: Paged) -> None:
    """Write what a pager has made of the next events."""
    if paged.pages:
        db.execute("DELETE FROM history WHERE partition = ?", (partition,))
        first = _last_page(db, partition) + 1
        db.execute_many(
            INSERT_PAGE, [(partition, n, *page) for n, page in enumerate(paged.pages, first)]
        )
        members = [(x, partition, n) for n, of in enumerate(paged.members, first) for x in of]
        db.execute_many(INSERT_MEMBER, sorted(members))
    db.execute_many(INSERT, [(partition, *each) for each in paged.rest])


def _encoded(ms: list[int], seq: list[int], bodies: list[bytes]) -> bytes:
    steps = [ms[0], *(after - before for before, after in pairwise(ms))]
    return _encoder.encode(_Page(steps, seq, bodies))


def _unpacked(packed: bytes, holding: bytes = b"") -> list[Stored]:
    """Return the events of a page whose bodies contain ``holding``; raises Corrupt."""
    try:
        page = _decoder.decode(unpack(packed))
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"a page of the history is damaged: {error}") from error
    return [
        Stored(ms, seq, body)
        for ms, seq, body in zip(accumulate(page.ms), page.seq, page.bodies, strict=True)
        if holding in body
    ]


def _latest(
    db: Connection, partition: int, holding: bytes = b"", schema: str = "main"
) -> Iterable[Stored]:
    """Return the events in no page whose bodies contain ``holding``, in order."""
    rows = db.execute(
        f"SELECT ms, seq, body FROM {schema}.history"  # noqa: S608 # constants
        " WHERE partition = ?1 AND (?2 = x'' OR instr(body, ?2)) ORDER BY ms, seq",
        (partition, holding),
    )
    return map(Stored._make, rows)


FIRST_PAGE = """
SELECT page FROM {schema}.history_pages INDEXED BY history_page_ends
WHERE partition = ? AND (last_ms, last_seq) >= (?, ?) ORDER BY last_ms, last_seq LIMIT 1
"""
"""The page that has the event at a position, or the next event."""

NEXT_PAGE = """
SELECT page, events FROM {schema}.history_pages
WHERE partition = :partition AND page {later} :page ORDER BY page {order} LIMIT 1
"""

NEXT_PAGE_OF = """
SELECT m.page, p.events FROM {schema}.history_members AS m
CROSS JOIN {schema}.history_pages AS p ON p.partition = m.partition AND p.page = m.page
WHERE m.name = :name AND m.partition = :partition AND m.page {later} :page
ORDER BY m.page {order} LIMIT 1
"""


def _page_of(db: Connection, position: Position, schema: str = "main") -> int | None:
    """Return the number of the page that has this event, or the next one; None if none has."""
    partition, ms, seq = position
    values = partition, ms, min(seq, MOST)  # a position may name more than SQLite can store
    rows = db.execute(FIRST_PAGE.format(schema=schema), values)
    return rows[0][0] if rows else None


def _last_page(db: Connection, partition: int) -> int:
    """Return the number of the partition's last page, 0 if it has none."""
    rows = db.execute("SELECT max(page) FROM history_pages WHERE partition = ?", (partition,))
    return rows[0][0] or 0


def _pages(
    db: Connection,
    partition: int,
    page: int,
    found_by: Name | None = None,
    *,
    schema: str = "main",
    descending: bool = False,
) -> Generator[list[Stored]]:
    """Yield the pages from number ``page`` on, see ``ascending``, one at a time."""
    later, order = ("<", "DESC") if descending else (">", "ASC")
    statement = (NEXT_PAGE if found_by is None else NEXT_PAGE_OF).format(
        schema=schema, later=later, order=order
    )
    values = {"partition": partition, "page": page + 1 if descending else page - 1}
    if found_by is not None:
        values["name"] = _hashed(found_by.name)
    holding = b"" if found_by is None else found_by.holding
    while rows := db.execute(statement, values):
        values["page"], packed = rows[0]
        yield _unpacked(packed, holding)


def ascending(
    db: Connection, after: Position, found_by: Name | None = None, *, schema: str = "main"
) -> Generator[Stored]:
    """Yield the events of a partition after a position, in order; read them in one transaction.

    With ``found_by``, most events without that name are left out, but not all.
    """
    partition, place = after.partition, (after.ms, after.seq)
    first = _page_of(db, after, schema)
    if first is not None:
        for page in _pages(db, partition, first, found_by, schema=schema):
            for each in page:
                if each[:2] > place:
                    yield each
    for each in _latest(db, partition, b"" if found_by is None else found_by.holding, schema):
        if each[:2] > place:
            yield each


def descending(db: Connection, upto: Position, found_by: Name | None = None) -> Generator[Stored]:
    """Yield the events up to and including ``upto``, last one first, as ``ascending`` does."""
    partition, place = upto.partition, (upto.ms, upto.seq)
    holding = b"" if found_by is None else found_by.holding
    for each in reversed(list(_latest(db, partition, holding))):
        if each[:2] <= place:
            yield each
    last = _page_of(db, upto)
    if last is None:
        last = _last_page(db, partition)
    for page in _pages(db, partition, last, found_by, descending=True):
        for each in reversed(page):
            if each[:2] <= place:
                yield each


LAST_COMMON = """
SELECT last_ms, last_seq FROM {one}.history_pages
WHERE partition = :partition AND page < coalesce((
    SELECT min(a.page) FROM {one}.history_pages AS a LEFT JOIN {other}.history_pages AS b
      ON b.partition = a.partition AND b.page = a.page
    WHERE a.partition = :partition AND a.events IS NOT b.events
  ), :beyond)
ORDER BY page DESC LIMIT 1
"""


def end_of_common(db: Connection, partition: int, one: str, other: str) -> Position:
    """Return a position up to which two attached generations have the same events."""
    sql = LAST_COMMON.format(one=one, other=other)
    rows = db.execute(sql, {"partition": partition, "beyond": MOST})
    return Position(partition, *rows[0]) if rows else Position.start(partition)


def at(db: Connection, position: Position) -> bytes | None:
    """Return the body of the event at the position; None if it is not folded."""
    rows = db.execute(
        "SELECT body FROM history WHERE (partition, ms, seq) = (?, ?, ?)", tuple(position)
    )
    if rows:
        return rows[0][0]
    page = _page_of(db, position)
    if page is None:
        return None
    for events in _pages(db, position.partition, page):
        return next((each.body for each in events if each[:2] == position[1:]), None)
    return None


def partitions(db: Connection, schema: str = "main") -> list[int]:
    """Return the partitions that have events."""
    rows = db.execute(
        f"SELECT partition FROM {schema}.history_pages WHERE page = 1"  # noqa: S608 # constants
        f" UNION SELECT partition FROM {schema}.history ORDER BY partition"
    )
    return [row[0] for row in rows]


def count(db: Connection) -> int:
    """Return how many events are folded."""
    rows = db.execute(
        "SELECT (SELECT count(*) FROM history_pages) * ? + (SELECT count(*) FROM history)", (PAGE,)
    )
    return rows[0][0]
