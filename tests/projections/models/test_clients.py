"""The read model of clients: their usage as running totals, and their own quotas."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clients.quotas import DEFAULTS, OwnQuota, Quota, QuotaChanged
from domain.clients.usage import Usage
from domain.photo.events import FIRST_PREV, Event, Metadata
from projections.models import clients
from projections.models.clients import ClientRow
from store.log import codec
from store.log.position import Position
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Value
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    SCRIPT,
    Chronicle,
    delete,
    erased,
    processed,
    removed,
    request,
    start,
    thumbnails,
    upload,
    validation,
)
from tests.projections.test_fold import folded, split, stories
from tests.tally import Total, totals


def changed(number: int, client_id: str, quota: OwnQuota) -> Recorded:
    event = Event(
        timestamp="2026-11-23T10:00:00.000Z",
        data=QuotaChanged(client_id=client_id, quota=quota),
        metadata=Metadata(
            source="test",
            client_id="",
            session_id=None,
            trace_id="t",
            actor="operator:o",
            cause=None,
            photo_version=number,
            prev=FIRST_PREV,
        ),
    )
    body = codec.encode_event(event)
    return Recorded(position=Position(0, 1_000 + number, 0), event=event, body=body)


def listed(db: Connection) -> dict[str, ClientRow]:
    page = clients.page(db, cursor=None, limit=100)
    assert page.next_cursor is None
    return {each.client_id: each for each in page.items}


@settings(max_examples=60)
@given(recorded=stories(), cuts=st.lists(st.integers(0, 99), max_size=6))
def test_the_totals_match_the_events_however_they_are_batched(
    recorded: list[Recorded], cuts: list[int]
) -> None:
    tables = folded(split(recorded, cuts))

    expected = totals(recorded)
    found = {client_id: Total(*counts) for client_id, *counts, _ in tables["clients"]}
    assert found == expected
    [(_, *everything)] = tables["totals"]
    assert tuple(everything) == tuple(map(sum, zip(*expected.values(), strict=True)))


def test_an_erased_photo_counts_nothing(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(), *processed(), delete(), erased()).recorded)

    assert db.execute("SELECT renditions, superseded, erased FROM photos") == [(None, None, 1)]
    assert listed(db)["alice"].usage == clients.total(db) == Usage()


def test_superseded_renditions_count_until_they_are_removed(db: Connection) -> None:
    again = (request(1), start(1, 2), validation(1, 2), thumbnails(1, 2))
    story = Chronicle.of(upload(), *processed(), *again, removed(1)).recorded
    original, made, optimized = 1_001, 1_500 + 3_000 + 6_000, 19_200

    fold_in(db, story[:-1])
    assert clients.total(db) == Usage(photos=1, bytes=original + optimized + 2 * made)
    fold_in(db, story[-1:])
    assert clients.total(db) == Usage(photos=1, bytes=original + optimized + made)


def test_a_quota_is_shown_beside_the_usage_and_can_be_reset(db: Connection) -> None:
    own = OwnQuota(photos=5, bytes=0)
    fold_in(db, [changed(1, "bob", own), changed(2, "dave", own), changed(3, "dave", DEFAULTS)])
    later = [
        msgspec.structs.replace(each, position=each.position._replace(partition=1))
        for each in Chronicle.of(*SCRIPT).recorded
    ]
    fold_in(db, later)

    found = listed(db)
    assert (found["bob"].own, found["bob"].usage.photos) == (own, 1)
    assert found["alice"].own == found["dave"].own == DEFAULTS
    assert found["dave"].usage == Usage()


def test_the_fullest_are_found_without_reading_all_clients(db: Connection) -> None:
    usual = [(f"c{n:04}", n, 1_000 - n, n % 7) for n in range(500)]
    db.execute_many("INSERT INTO clients VALUES (?, ?, ?, ?, NULL)", usual)
    db.execute("INSERT INTO clients VALUES ('own', 9, 1, 0, '{\"photos\": 10}')")
    defaults = Quota(photos=1_000, bytes=2_000, jobs=0)

    found = clients.fullest(db, defaults, 5)
    values: dict[str, Value] = {"photos": 1_000, "bytes": 2_000, "jobs": 0, "limit": 5}
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {clients.FULLEST}", values)]

    everyone = [(max(p / 1_000, b / 2_000), name) for name, p, b, _ in usual] + [(0.9, "own")]
    expected = sorted(everyone, key=lambda each: (-each[0], each[1]))[:5]
    assert [(share, row.client_id) for share, row in found] == expected
    read = [step for step in plan if "clients" in step]
    assert len(read) == 5
    assert all("INDEX clients_" in step or "PRIMARY KEY (client_id=?)" in step for step in read)
