"""Queries on upload sessions: one, lists of them, their failures, and those that are due."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from domain.sessions.events import Totals
from projections.models import checkpoints
from projections.models.listing import Listing
from store.log.position import Position
from store.sqlite.connection import Connection, Row

COLUMNS = (
    "s.client_id, s.session_id, s.status, s.expected, s.received, s.duplicates, s.queued,"
    " s.processing, s.completed, s.failed, s.opened_at, s.first_uploaded_at, s.last_uploaded_at,"
    " s.closed_at, s.completed_at, s.expired_at"
)

LISTING = Listing(
    columns=COLUMNS,
    table="sessions AS s",
    time="s.opened_at",
    key="s.id",
    filters={
        "client_id": ("s.client_id", "sessions_of_client"),
        "status": ("s.status", "sessions_of_status"),
    },
    by_time="sessions_by_time",
)

LISTING_OF_STATUS = msgspec.structs.replace(
    LISTING,
    filters={
        "status": ("s.status", "sessions_of_client_status"),
        "client_id": ("s.client_id", "sessions_of_client"),
    },
)
"""For the sessions of one client in one state."""

DUE = "s.version, s.active_ms, s.active_seq, s.changed_ms, s.changed_seq"

IDLE = f"""
SELECT {COLUMNS}, {DUE} FROM sessions AS s INDEXED BY sessions_idle
WHERE status = 'open' AND queued = 0 AND processing = 0 AND active_at < ?
ORDER BY active_at LIMIT ?
"""  # noqa: S608 # constants

DONE = f"""
SELECT {COLUMNS}, {DUE} FROM sessions AS s INDEXED BY sessions_done
WHERE status = 'closed' AND queued = 0 AND processing = 0 AND settled = 0
ORDER BY closed_at LIMIT ?
"""  # noqa: S608 # constants

OPEN_OF_CLIENT = """
SELECT count(*) FROM (
  SELECT 1 FROM sessions INDEXED BY sessions_of_client_status
  WHERE client_id = ? AND status = 'open' LIMIT ?
)
"""

FAILURES = """
SELECT f.photo_id, p.job_id, p.original_filename, d.stage, d.category, d.code,
  coalesce(d.error, p.processing_error), d.attempts, p.processing_completed_at
FROM session_photos AS f INDEXED BY session_failures
JOIN photos AS p ON p.id = f.photo_id
LEFT JOIN dead_letters AS d ON d.photo_id = f.photo_id AND d.dead = 1
WHERE f.client_id = ? AND f.session_id = ? AND f.status = 'failed' AND f.photo_id > ?
ORDER BY f.photo_id LIMIT ?
"""

FOUND_AT_MOST = 100

SessionStatus = Literal["open", "closed", "expired"]


class SessionLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session, and what it counts.

    ``received`` counts uploads of new bytes, ``duplicates`` those of bytes that the client had;
    ``expected`` is meant for both together.
    ``photos`` and the four counts after it leave out deleted photos. ``expected`` is what the
    client has announced. ``completed_at`` is when all photos of the closed session had been
    processed, the last time. An ``expired`` session is open again with the next upload.
    """

    session_id: str
    client_id: str
    status: SessionStatus
    expected: int | None
    received: int
    duplicates: int
    photos: int
    queued: int
    processing: int
    completed: int
    failed: int
    opened_at: str
    first_uploaded_at: str | None
    last_uploaded_at: str | None
    closed_at: str | None
    completed_at: str | None
    expired_at: str | None

    @property
    def totals(self) -> Totals:
        return Totals(
            received=self.received,
            duplicates=self.duplicates,
            completed=self.completed,
            failed=self.failed,
            deleted=self.received - self.photos,
            expected=self.expected,
        )


class SessionFailure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A photo whose last job failed. If an operator has discarded the failure, the stage, category
    and code are null."""

    photo_id: str
    job_id: str
    original_filename: str
    stage: str | None
    category: str | None
    code: str | None
    error: str | None
    attempts: int | None
    failed_at: str | None


class SessionView(SessionLine, frozen=True, kw_only=True):
    """A session with its ``failures``, the first of them if there are many."""

    failures: list[SessionFailure]


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is idle or done, with the positions that its totals include."""

    line: SessionLine
    events: int
    active: tuple[int, int]
    changed: tuple[int, int]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the read model knows of a session; ``line`` is None if it has none of this name.

    ``without`` is the position up to which the session has no events of its own; None if it has
    some.
    """

    line: SessionLine | None
    without: Position | None


def get(db: Connection, client_id: str, session_id: str) -> SessionLine | None:
    sql = f"SELECT {COLUMNS} FROM sessions AS s WHERE client_id = ? AND session_id = ?"  # noqa: S608 # constants
    rows = db.execute(sql, (client_id, session_id))
    return _line(rows[0]) if rows else checkpoints.check_client(db, client_id)


def find(db: Connection, session_id: str) -> list[SessionLine]:
    """Return the sessions of that name, by client, at most ``FOUND_AT_MOST``."""
    sql = f"SELECT {COLUMNS} FROM sessions AS s WHERE session_id = ? ORDER BY client_id LIMIT ?"  # noqa: S608 # constants
    return [_line(row) for row in db.execute(sql, (session_id, FOUND_AT_MOST))]


def known(db: Connection, client_id: str, session_id: str, partition: int) -> Known:
    """Return what the read model knows of the client's session, which is in ``partition``."""
    upto = checkpoints.get(db, partition)  # first: what is read next may only be newer
    rows = db.execute(
        "SELECT version FROM sessions WHERE client_id = ? AND session_id = ?",
        (client_id, session_id),
    )
    line = get(db, client_id, session_id) if rows else None
    return Known(line=line, without=None if rows and rows[0][0] > 0 else upto)


def is_closed(db: Connection, client_id: str, session_id: str) -> bool:
    """Return whether the session takes no more uploads."""
    line = get(db, client_id, session_id)
    return line is not None and line.status == "closed"


def page(
    db: Connection,
    *,
    filters: Mapping[str, str],
    cursor: str | None,
    limit: int,
) -> tuple[list[SessionLine], str | None]:
    """Return the newest ``limit`` sessions that match all ``filters``, after ``cursor`` if given.

    The second value is the cursor of the next page.

    Raises:
        ValueError: ``cursor`` does not come from a page.
        NotCovered: as ``checkpoints.check_client`` says.
    """
    checkpoints.check_client(db, filters.get("client_id"))
    listing = LISTING
    if "client_id" in filters and "status" in filters:
        listing = LISTING_OF_STATUS
    rows, end = listing.page(
        db, filters=filters, since=None, until=None, sort="newest", cursor=cursor, limit=limit
    )
    return [_line(row) for row in rows], end


def failures(
    db: Connection, client_id: str, session_id: str, after: str, limit: int
) -> list[SessionFailure]:
    """Return the first ``limit`` failed photos of the session in order of ids, after ``after``."""
    checkpoints.check_client(db, client_id)
    rows = db.execute(FAILURES, (client_id, session_id, after, limit))
    return [SessionFailure(**dict(zip(_FAILURE, row, strict=True))) for row in rows]


_FAILURE = SessionFailure.__struct_fields__


def open_of(db: Connection, client_id: str, most: int) -> int:
    """Return how many open sessions the client has; counts at most ``most``."""
    checkpoints.check_client(db, client_id)
    return db.execute(OPEN_OF_CLIENT, (client_id, most))[0][0]


def idle(db: Connection, before: str, limit: int) -> list[Due]:
    """Return open sessions that were last used before that time and process nothing."""
    return [_due(row) for row in db.execute(IDLE, (before, limit))]


def done(db: Connection, limit: int) -> list[Due]:
    """Return closed sessions whose photos have all been processed, as no event says yet."""
    return [_due(row) for row in db.execute(DONE, (limit,))]


def _due(row: Row) -> Due:
    events, active_ms, active_seq, changed_ms, changed_seq = row[-5:]
    return Due(
        line=_line(row[:-5]),
        events=events,
        active=(active_ms, active_seq),
        changed=(changed_ms, changed_seq),
    )


def _line(row: Row) -> SessionLine:
    client_id, session_id, status, expected, received, duplicates, *rest = row
    queued, processing, completed, failed, *times = rest
    opened, first, last, closed, completed_at, expired = times
    return SessionLine(
        session_id=session_id,
        client_id=client_id,
        status=status,
        expected=expected,
        received=received,
        duplicates=duplicates,
        photos=queued + processing + completed + failed,
        queued=queued,
        processing=processing,
        completed=completed,
        failed=failed,
        opened_at=opened,
        first_uploaded_at=first,
        last_uploaded_at=last,
        closed_at=closed,
        completed_at=completed_at,
        expired_at=expired,
    )
