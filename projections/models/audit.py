"""The audit list: what operators did, and every other change to the system's controls.

Each row points at an event of the history. The list grows with what operators do, not with the
library: alerts of processes and the clients' own commands have no rows.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from domain.photo import events as e
from domain.pipeline.control_events import AlertRaised
from domain.pipeline.rebuilds import RebuildStep
from domain.sessions.events import SessionClosed, SessionData, SessionOpened
from domain.system_events import SystemData
from projections.models import history
from projections.models.listing import Listing, Sort
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Value

TABLES = ("audit",)

OF_PARTITION = {"audit": "partition = :partition"}

SCHEMA = """
CREATE TABLE audit (
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at TEXT NOT NULL,
  id TEXT NOT NULL, -- the position, in a form that cursors can have
  actor TEXT NOT NULL,
  type TEXT NOT NULL,
  client_id TEXT, -- whose photo, tokens or quota it was about
  photo_id TEXT,
  stage TEXT,
  PRIMARY KEY (partition, ms, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_time ON audit(at, id);
CREATE INDEX audit_of_actor ON audit(actor, at, id);
CREATE INDEX audit_of_type ON audit(type, at, id);
CREATE INDEX audit_of_client ON audit(client_id, at, id) WHERE client_id IS NOT NULL;
CREATE INDEX audit_of_photo ON audit(photo_id, at, id) WHERE photo_id IS NOT NULL;
CREATE INDEX audit_of_stage ON audit(stage, at, id) WHERE stage IS NOT NULL;
"""

INSERT = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

OPERATOR = "operator:"
"""How the names of operators begin in events."""

OF_PHOTOS = frozenset(
    (
        e.ProcessingRequested,
        e.ProcessingPrioritized,
        e.ProcessingHurried,
        e.ProcessingFailed,
        e.ProcessingDiscarded,
        e.PhotoDeleted,
    )
)
"""Events of a photo that are listed if an operator caused them; ``ProcessingFailed`` is that of a
job that was cancelled."""

UNLISTED = (AlertRaised, *get_args(RebuildStep))
"""Events of the system that no operator caused."""

OF_SESSIONS = frozenset((SessionOpened, SessionClosed))
"""Events of a session that are listed if an operator caused them."""

_OF_OPERATORS = OF_PHOTOS | OF_SESSIONS

_OF_SYSTEM = frozenset(
    kind
    for kind in e.EVENT_TYPES.values()
    if issubclass(kind, SystemData) and not issubclass(kind, UNLISTED)
)

_LISTED = _OF_OPERATORS | _OF_SYSTEM

LISTED = tuple(
    sorted(name for name, kind in e.EVENT_TYPES.items() if kind in _OF_OPERATORS)
    + sorted(kind.TYPE for kind in _OF_SYSTEM)
)
"""The types of events that can be listed."""

LISTING = Listing(
    columns="a.partition, a.ms, a.seq",
    table="audit AS a",
    time="a.at",
    key="a.id",
    filters={
        "photo_id": ("a.photo_id", "audit_of_photo"),
        "client_id": ("a.client_id", "audit_of_client"),
        "stage": ("a.stage", "audit_of_stage"),
        "actor": ("a.actor", "audit_of_actor"),
        "type": ("a.type", "audit_of_type"),
    },
    by_time="audit_by_time",
)


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One action of ``actor``, at ``time``. ``what`` is the type of the event at ``position``.

    ``stage``, ``photo_id`` and ``client_id`` name what it was done to; null where that does not
    apply, and all null for all stages or all clients. ``reason`` is null if none was given.
    ``data`` is that of the event.
    """

    position: str
    time: str
    actor: str
    what: str
    stage: str | None
    photo_id: str | None
    client_id: str | None
    reason: str | None
    trace_id: str
    data: dict[str, Any]


class AuditEntries(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Entries in order of time; ``next_cursor`` leads to the next page and is null on the last."""

    items: list[AuditEntry]
    next_cursor: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    listed = [each for each in recorded if type(each.event.data) in _LISTED]
    db.execute_many(INSERT, [_row(each) for each in listed if is_listed(each.event)])


def page(
    db: Connection,
    *,
    filters: dict[str, str],
    since: str | None,
    until: str | None,
    sort: Sort = "newest",
    cursor: str | None,
    limit: int,
) -> AuditEntries:
    """Return the first ``limit`` entries that match all ``filters``, after ``cursor`` if given.

    They are of the time ``since`` or later, and before ``until``.

    Raises:
        ValueError: ``cursor`` does not come from a page.
    """
    rows, end = LISTING.page(
        db, filters=filters, since=since, until=until, sort=sort, cursor=cursor, limit=limit
    )
    stored = history.bodies(db, [Position(*row) for row in rows])
    return AuditEntries(items=[_entry(*each) for each in stored.items()], next_cursor=end)


def is_listed(event: e.Event) -> bool:
    """Return whether the event has a row."""
    kind = type(event.data)
    if kind in _OF_OPERATORS:
        return event.metadata.actor.startswith(OPERATOR)
    return kind in _OF_SYSTEM


def _row(recorded: Recorded) -> tuple[Value, ...]:
    event, position = recorded.event, recorded.position
    of_system = isinstance(event.data, SystemData)
    of_photo = not isinstance(event.data, SystemData | SessionData)
    client_id = getattr(event.data, "client_id", None) if of_system else event.metadata.client_id
    return (
        *position,
        event.timestamp,
        f"{position.partition}-{position.ms:016d}-{position.seq:010d}",
        event.metadata.actor,
        event.type,
        client_id,
        event.data.photo_id if of_photo else None,
        getattr(event.data, "stage", None),
    )


def _entry(position: Position, body: bytes) -> AuditEntry:
    event = history.wire(position, body)
    data, photo_id = event.data, event.data.get("photoId")
    # A cancelled job fails with the reason as its error.
    reason = data.get("reason") or (data.get("error") if event.type == FAILED else None)
    return AuditEntry(
        position=event.id,
        time=event.timestamp,
        actor=event.metadata.actor,
        what=event.type,
        stage=data.get("stage"),
        photo_id=photo_id,
        client_id=event.metadata.client_id if photo_id else data.get("clientId"),
        reason=reason or None,
        trace_id=event.metadata.trace_id,
        data=data,
    )


FAILED = e.ProcessingFailed.TYPE
