"""The order by date taken, and the counts of days, months and years."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from domain.photo import commands as c
from projections.models import photos, timeline
from projections.models.timeline import LETTERS, Step, dated, page_sql
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    Chronicle,
    delete,
    metadata,
    processed,
    request,
    start,
    upload,
)
from tests.projections.test_fold import CHOICES

UPLOADED_ON = "2026-11-23"


def taken(*dates: str | None) -> list[c.PhotoCommand]:
    """Return the uploads of photos 1, 2, … that were taken at these times."""
    return [
        command
        for number, date in enumerate(dates, 1)
        for command in (upload(number), start(number), metadata(number, taken_at=date))
    ]


def listed(db: Connection, **filters: Any) -> list[int]:
    """Return the numbers of the photos by date taken, read in pages of two."""
    everything = dict.fromkeys(("status", "session_id", "uploaded_from", "uploaded_to"))
    found: list[int] = []
    cursor = None
    while True:
        page = photos.page(
            db,
            **{"client_id": "alice", **everything, **filters},
            order="taken",
            cursor=cursor,
            limit=2,
        )
        found += [int(item.original_filename.removesuffix(".jpg")) for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def buckets(db: Connection, by: Step = "day", client_id: str | None = "alice") -> dict[str, int]:
    page = timeline.page(db, by=by, client_id=client_id, cursor=None)
    assert [each.bucket for each in page.items] == sorted(
        (each.bucket for each in page.items), reverse=True
    )
    return {each.bucket: each.photos for each in page.items}


@pytest.mark.parametrize(
    ("taken_at", "subsecond_ms", "expected"),
    [
        ("2010-05-01T12:00:00", None, "2010-05-01T12:00:00.000"),
        ("2010-05-01T12:00:00", 50.0, "2010-05-01T12:00:00.050"),
        ("2010-05-01T12:00:00+02:00", 999.9, "2010-05-01T12:00:00.999"),
        ("2010-05-01T12:00:00Z", None, "2010-05-01T12:00:00.000"),
        ("2010-05-01T12:00", None, "2010-05-01T12:00:00.000"),
        ("2010-05-01", None, "2010-05-01T00:00:00.000"),
        ("2010-05", None, "2010-05-01T00:00:00.000"),
        ("2010", None, "2010-01-01T00:00:00.000"),
        ("", None, None),
        ("May 2010", None, None),
        (None, None, None),
    ],
)
def test_a_photo_is_dated_by_the_local_time_of_the_shot(
    taken_at: str | None, subsecond_ms: float | None, expected: str | None
) -> None:
    assert dated(taken_at, subsecond_ms) == expected


def test_photos_are_listed_by_date_taken_and_else_by_upload(db: Connection) -> None:
    fold_in(
        db,
        Chronicle.of(
            *taken("2019-07-04T12:00:00", None, "2001", "2019-07-04T12:00:00", "2030-01-01")
        ).recorded,
    )

    assert listed(db) == [5, 2, 4, 1, 3]
    assert listed(db, taken_from="2019-01-01", taken_to="2020-01-01") == [4, 1]
    assert listed(db, taken_to="2019-07-04T12:00:00.000") == [3]
    assert listed(db, client_id=None) == [5, 2, 4, 1, 3]


def test_days_months_and_years_count_their_photos(db: Connection) -> None:
    fold_in(db, Chronicle.of(*taken("2019-07-04", "2019-07-05", "2019-08-01", None)).recorded)

    assert buckets(db) == {UPLOADED_ON: 1, "2019-08-01": 1, "2019-07-05": 1, "2019-07-04": 1}
    assert buckets(db, "month") == {UPLOADED_ON[:7]: 1, "2019-08": 1, "2019-07": 2}
    assert buckets(db, "year") == {UPLOADED_ON[:4]: 1, "2019": 3}
    assert buckets(db, client_id="bob") == {}
    assert buckets(db, client_id=None) == buckets(db)


def test_a_changed_date_moves_a_photo_and_a_deletion_removes_it(db: Connection) -> None:
    chronicle = Chronicle.of(upload(1), *processed(1), upload(2), *processed(2))
    fold_in(db, chronicle.recorded)
    assert buckets(db) == {"2010-05-01": 2}

    for command in (request(1), start(1, 2), metadata(1, 2, taken_at="2020-02-02"), delete(2)):
        chronicle.add(command)
    fold_in(db, chronicle.recorded)

    assert buckets(db) == {"2020-02-02": 1}
    assert buckets(db, client_id=None) == {"2020-02-02": 1}


@pytest.mark.parametrize("seed", range(10))
def test_the_counts_are_those_of_the_photos_whatever_happens(db: Connection, seed: int) -> None:
    random = Random(seed)
    chronicle = Chronicle()
    for _ in range(40):
        number = random.randrange(5)
        for command in random.choice(CHOICES)(number):
            chronicle.add(command)
        if random.random() < 0.5:
            chronicle.add(metadata(number, taken_at=f"20{random.randrange(10, 14)}-01-01"))
    fold_in(db, chronicle.recorded)

    rows = db.execute("SELECT client_id, dated FROM photos WHERE deleted_at IS NULL")
    for by, letters in LETTERS.items():
        assert buckets(db, by, None) == Counter(date[:letters] for _, date in rows)
        for client_id in {client_id for client_id, _ in rows}:
            own = Counter(date[:letters] for owner, date in rows if owner == client_id)
            assert buckets(db, by, client_id) == own


def test_more_buckets_than_a_page_has_are_continued(
    db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MOST_BUCKETS", 2)
    fold_in(db, Chronicle.of(*taken("2019-07-04", "2018-07-05", "2018-06-01", "2017")).recorded)

    seen: list[str] = []
    cursor = None
    while True:
        page = timeline.page(db, by="year", client_id="alice", cursor=cursor)
        seen += [each.bucket for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == ["2019", "2018", "2017"]


@pytest.mark.parametrize("of_all", [False, True])
def test_buckets_are_read_from_counts_alone(db: Connection, *, of_all: bool) -> None:
    values = {"client_id": "x", "letters": 7, "before": ":", "limit": 1}

    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {page_sql(of_all=of_all)}", values)]

    assert plan[0].startswith(f"SEARCH {'timeline_of_all' if of_all else 'timeline'} USING PRIMARY")
