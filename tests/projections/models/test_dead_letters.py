from typing import Any

import pytest

from domain.photo import commands as c
from domain.pipeline.failures import Category
from projections.models import dead_letters
from projections.models.dead_letters import DeadLetter, DeadLetters, Filter, Sort
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    Chronicle,
    complete,
    delete,
    fail,
    job_id,
    metadata,
    photo_id,
    request,
    start,
    upload,
    validation,
)

LATER = "2026-11-23T11:00:00.000Z"


def page(
    db: Connection,
    *,
    limit: int = 10,
    cursor: str | None = None,
    sort: Sort = "newest",
    **filters: Any,
) -> DeadLetters:
    return dead_letters.page(db, wanted=Filter(**filters), sort=sort, cursor=cursor, limit=limit)


def listed(db: Connection, *commands: c.PhotoCommand) -> list[DeadLetter]:
    fold_in(db, Chronicle.of(*commands).recorded)
    return page(db).items


def ids(found: DeadLetters) -> list[str]:
    return [item.photo_id for item in found.items]


def retry(number: int = 1, run: int = 2) -> c.RetryProcessing:
    return c.RetryProcessing(photo_id=photo_id(number), job_id=job_id(number, run))


def test_a_failed_job_is_listed_with_its_reason_and_times(db: Connection) -> None:
    (letter,) = listed(
        db,
        upload(),
        start(),
        validation(),
        fail("metadata", retry_at=LATER),
        fail("metadata", attempt=2, retry_at=LATER),
        fail("metadata", attempt=3),
    )

    assert letter == DeadLetter(
        photo_id=photo_id(1),
        job_id=job_id(1),
        client_id="alice",
        stage="metadata",
        category=Category.DATA,
        code="unreadable-image",
        error="This is no picture.",
        attempts=3,
        first_failed_at="2026-11-23T10:00:03.000Z",
        last_failed_at="2026-11-23T10:00:05.000Z",
    )


def test_a_failed_attempt_that_is_retried_is_not_listed(db: Connection) -> None:
    assert listed(db, upload(), start(), fail("validation", retry_at=LATER)) == []


def test_an_attempt_that_failed_before_another_stage_ended_the_job_is_not_listed(
    db: Connection,
) -> None:
    story = [upload(), validation(), fail("thumbnails", retry_at=LATER), fail("metadata")]

    assert [each.stage for each in listed(db, *story)] == ["metadata"]


def test_a_stage_that_succeeds_in_the_end_is_not_listed(db: Connection) -> None:
    story = [upload(), start(), validation(), fail("metadata", retry_at=LATER)]
    again = c.RecordStageCompleted(
        photo_id=photo_id(1),
        job_id=job_id(1),
        stage="metadata",
        attempt=2,
        duration_ms=1,
        result={},
    )

    assert listed(db, *story, again, fail("thumbnails"))[0].stage == "thumbnails"
    assert db.execute("SELECT stage FROM dead_letters") == [("thumbnails",)]


@pytest.mark.parametrize(
    "end",
    [
        retry(),
        request(),
        delete(),
        c.DiscardFailure(photo_id=photo_id(1), reason="a screenshot"),
    ],
)
def test_a_dead_letter_leaves_the_list_when_someone_acts_on_it(
    db: Connection, end: c.PhotoCommand
) -> None:
    assert listed(db, upload(), fail("validation"), end) == []


def test_a_retry_that_fails_is_listed_as_a_new_dead_letter(db: Connection) -> None:
    (letter,) = listed(db, upload(), fail("validation"), retry(), fail("validation", run=2))

    assert letter.job_id == job_id(1, 2)
    assert letter.first_failed_at == letter.last_failed_at == "2026-11-23T10:00:03.000Z"


@pytest.fixture
def failures(db: Connection) -> Connection:
    """Fail photo 1 of alice in validation, hers 2 and 3 in metadata, and photo 4 of bob there."""
    photos = [upload(n) for n in (1, 2, 3)]
    done = [validation(n) for n in (2, 3, 4)]
    ends = [fail("validation", number=1), *(fail("metadata", number=n) for n in (2, 3, 4))]
    fold_in(db, Chronicle.of(*photos, upload(4, client_id="bob"), *done, *ends).recorded)
    return db


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"stage": "metadata"}, [4, 3, 2]),
        ({"stage": "thumbnails"}, []),
        ({"category": "data"}, [4, 3, 2, 1]),
        ({"category": "resource"}, []),
        ({"client_id": "alice"}, [3, 2, 1]),
        ({"client_id": "alice", "stage": "metadata", "category": "data"}, [3, 2]),
    ],
)
def test_the_newest_come_first_and_every_filter_applies(
    failures: Connection, filters: dict[str, Any], found: list[int]
) -> None:
    assert ids(page(failures, **filters)) == [photo_id(number) for number in found]


@pytest.mark.parametrize("filters", [{}, {"stage": "metadata"}, {"client_id": "alice"}])
def test_pages_together_are_the_whole_list(failures: Connection, filters: dict[str, Any]) -> None:
    whole, seen, cursor = ids(page(failures, **filters)), list[str](), None
    for _ in whole:
        found = page(failures, limit=1, cursor=cursor, **filters)
        seen += ids(found)
        cursor = found.next_cursor

    assert (seen, cursor) == (whole, None)


def test_a_retry_between_two_pages_hides_no_other_dead_letter(failures: Connection) -> None:
    first = page(failures, limit=2)
    failures.execute("DELETE FROM dead_letters WHERE photo_id = ?", (photo_id(4),))

    second = page(failures, limit=2, cursor=first.next_cursor)

    assert ids(second) == [photo_id(2), photo_id(1)]


def test_an_invalid_cursor_is_rejected(failures: Connection) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        page(failures, cursor="x")


def test_dead_letters_are_counted_by_stage(failures: Connection) -> None:
    failures.execute("UPDATE dead_letters SET dead = 0 WHERE photo_id = ?", (photo_id(4),))

    assert dead_letters.counts(failures) == {"metadata": 2, "validation": 1}


def test_completed_stages_leave_no_rows(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(), validation(), metadata(), complete("faces")).recorded)

    assert db.execute("SELECT count(*) FROM dead_letters") == [(0,)]


@pytest.mark.parametrize(
    ("filter_", "index"),
    [("dead = 1", "by_time"), ("dead = 1 AND stage = 'x'", "by_stage")],
)
def test_a_page_reads_an_index_without_sorting(
    failures: Connection, filter_: str, index: str
) -> None:
    plan = failures.execute(
        f"EXPLAIN QUERY PLAN SELECT {dead_letters.COLUMNS} FROM dead_letters WHERE {filter_}"
        " ORDER BY last_failed_at DESC, photo_id DESC LIMIT 10"
    )

    assert f"dead_letters_{index}" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


def test_the_oldest_failures_come_first_on_request_page_by_page(failures: Connection) -> None:
    first = page(failures, sort="oldest", limit=3)
    rest = page(failures, sort="oldest", limit=3, cursor=first.next_cursor)

    found = [each.photo_id for each in (*first.items, *rest.items)]
    assert found == [photo_id(n) for n in (1, 2, 3, 4)]


def test_groups_count_by_reason_and_show_the_latest(failures: Connection) -> None:
    found = dead_letters.groups(failures, Filter())

    assert [(each.stage, each.count, each.photo_id) for each in found.items] == [
        ("metadata", 3, photo_id(4)),
        ("validation", 1, photo_id(1)),
    ]
    largest = found.items[0]
    assert largest.oldest_at < largest.latest_at
    assert largest.error == page(failures).items[0].error
    assert not found.more


def test_groups_take_the_filters_of_the_list(failures: Connection) -> None:
    latest = page(failures).items[0]

    of_bob = dead_letters.groups(failures, Filter(client_id="bob", code=latest.code))
    earlier = dead_letters.groups(failures, Filter(failed_to=latest.last_failed_at))

    assert [each.count for each in of_bob.items] == [1]
    assert sum(each.count for each in earlier.items) == 3
    assert dead_letters.groups(failures, Filter(code="none")).items == []
