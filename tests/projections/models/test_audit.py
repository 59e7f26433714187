"""The audit list: what operators did, and the indexes that find it."""

from typing import get_args

import pytest

from domain.clients.quotas import OwnQuota, QuotaChanged
from domain.clients.revocations import AccessRevoked
from domain.photo import events as e
from domain.pipeline import control_events as ce
from domain.pipeline.failures import Category
from domain.pipeline.rebuilds import RebuildFailed, RebuildRequested
from domain.sessions.events import SessionClosed
from projections.models import audit
from projections.models.audit import AuditEntries
from projections.models.listing import Sort
from store.log import codec
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Value
from tests.domain.stories import JOB, PHOTO, UPLOADED
from tests.projections.conftest import fold_in

OPERATOR = "operator:olga"

CONTROLS: tuple[e.AnyEvent, ...] = (
    ce.StagePaused(stage="metadata", reason="a bad batch"),
    ce.StageResumed(stage=None),
    QuotaChanged(client_id="alice", quota=OwnQuota(photos=1)),
    AccessRevoked(client_id="bob", before="2026-11-23T10:00:00.000Z", reason="lost"),
)


def recorded(*events: tuple[e.AnyEvent, str]) -> list[Recorded]:
    """Return the events with their actors, a second apart, all but the controls of alice."""
    found: list[Recorded] = []
    for number, (data, actor) in enumerate(events):
        event = e.Event(
            timestamp=f"2026-11-23T10:00:{number:02}.000Z",
            data=data,
            metadata=e.Metadata(
                source="test",
                client_id="alice" if data.photo_id else "",
                session_id=None,
                trace_id="t",
                actor=actor,
                cause=None,
                photo_version=number + 1,
                prev=e.FIRST_PREV,
            ),
        )
        body = codec.encode_event(event)
        found.append(Recorded(position=Position(0, 1_000, number), event=event, body=body))
    return found


def page(
    db: Connection, cursor: str | None = None, limit: int = 10, **filters: str
) -> AuditEntries:
    return audit.page(db, filters=filters, since=None, until=None, cursor=cursor, limit=limit)


def what(entries: AuditEntries) -> list[str]:
    return [each.what for each in entries.items]


def test_controls_are_listed_with_their_actor_target_and_reason(db: Connection) -> None:
    fold_in(db, recorded(*((data, OPERATOR) for data in CONTROLS)))

    found = page(db).items

    assert [each.what for each in found] == [data.TYPE for data in reversed(CONTROLS)]
    revoked, quota, resumed, paused = found
    assert (paused.actor, paused.stage, paused.reason) == (OPERATOR, "metadata", "a bad batch")
    assert (resumed.stage, resumed.reason) == (None, None)
    assert (quota.client_id, revoked.client_id, revoked.reason) == ("alice", "bob", "lost")


def test_alerts_and_what_clients_do_are_not_listed(db: Connection) -> None:
    alert = ce.AlertRaised(
        stage="metadata", category=Category.LOGIC, level="critical", code="x", error="why"
    )
    fold_in(
        db,
        recorded(
            (UPLOADED, "client:alice"),
            (alert, "worker"),
            (RebuildFailed(host="one", error="the disk is full"), "projector"),
            (e.PhotoDeleted(photo_id=PHOTO), "client:a"),
        ),
    )

    assert page(db).items == []


def test_a_requested_rebuild_is_listed_with_its_reason(db: Connection) -> None:
    fold_in(db, recorded((RebuildRequested(reason="a new disk"), OPERATOR)))

    (only,) = page(db).items

    assert (only.what, only.reason) == ("projections.rebuild.requested", "a new disk")


def test_a_cancelled_job_is_listed_once_with_its_reason(db: Connection) -> None:
    failed = e.ProcessingFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="metadata",
        category=Category.CONFIGURATION,
        code="cancelled",
        error="a bad batch",
        attempts=0,
    )
    fold_in(db, recorded((UPLOADED, "client:alice"), (failed, OPERATOR)))

    (only,) = page(db).items

    assert (only.photo_id, only.client_id, only.reason) == (PHOTO, "alice", "a bad batch")


def test_sessions_that_operators_close_are_listed_and_those_of_clients_are_not(
    db: Connection,
) -> None:
    closed = SessionClosed(client_id="alice", session_id="trip", reason="a stolen camera")
    others = SessionClosed(client_id="alice", session_id="other")
    fold_in(db, recorded((others, "client:alice"), (closed, OPERATOR)))

    (only,) = page(db).items

    assert (only.what, only.reason) == ("session.closed", "a stolen camera")
    assert (only.client_id, only.photo_id, only.data["sessionId"]) == ("alice", None, "trip")


def test_pages_follow_each_other_and_filters_apply(db: Connection) -> None:
    fold_in(db, recorded(*((data, f"operator:o{n % 2}") for n, data in enumerate(CONTROLS))))

    first = page(db, limit=3)
    rest = page(db, first.next_cursor, limit=3)

    assert what(first) + what(rest) == [data.TYPE for data in reversed(CONTROLS)]
    assert rest.next_cursor is None
    assert what(page(db, actor="operator:o0")) == ["client.quota.changed", "pipeline.paused"]
    assert what(page(db, client_id="bob")) == ["access.revoked"]
    assert what(page(db, stage="metadata")) == ["pipeline.paused"]
    assert page(db, type="pipeline.paused", actor="operator:o1").items == []


@pytest.mark.parametrize("name", [None, *audit.LISTING.filters])
@pytest.mark.parametrize("sort", get_args(Sort))
def test_a_page_reads_an_index_in_order(db: Connection, name: str | None, sort: Sort) -> None:
    values: dict[str, Value] = {"limit": 1, "last_at": "", "last_id": ""}
    if name is not None:
        values[name] = "x"

    plan = db.execute(f"EXPLAIN QUERY PLAN {audit.LISTING.sql(values, sort)}", values)

    told = " ".join(str(row[3]) for row in plan)
    assert "SCAN" not in told
    assert "TEMP B-TREE" not in told
