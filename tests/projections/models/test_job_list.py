"""Lists of jobs, and the story of one job."""

from typing import Any, get_args

import pytest

from projections.models import job_list
from projections.models.job_list import AttemptView
from projections.models.listing import Sort
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    Chronicle,
    fail,
    job_id,
    photo_id,
    processed,
    request,
    start,
    upload,
    validation,
)

RETRY_AT = "2026-11-23T11:00:00.000Z"


def listed(db: Connection, *, limit: int = 10, cursor: str | None = None, **given: str) -> Any:
    times: dict[str, Any] = {name: given.pop(name, None) for name in ("since", "until")}
    return job_list.page(db, filters=given, cursor=cursor, limit=limit, **times)


def ids(page: job_list.JobLines) -> list[str]:
    return [each.job_id for each in page.items]


def attempts(db: Connection, *commands: Any, run: int = 1) -> dict[tuple[str, int], AttemptView]:
    fold_in(db, Chronicle.of(*commands).recorded)
    told = job_list.story(db, job_id(1, run), lambda _: 0)
    assert told is not None
    return {(each.stage, each.attempt): each for each in told.attempts}


def test_jobs_are_listed_newest_first_page_by_page(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(1), upload(2), upload(3)).recorded)

    first = listed(db, limit=2)
    rest = listed(db, limit=2, cursor=first.next_cursor)

    assert [*ids(first), *ids(rest)] == [job_id(3), job_id(2), job_id(1)]
    assert rest.next_cursor is None


def test_the_oldest_come_first_if_asked_for(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(1), upload(2), upload(3)).recorded)
    asked: dict[str, Any] = {"filters": {}, "since": None, "until": None, "sort": "oldest"}

    first = job_list.page(db, **asked, cursor=None, limit=2)
    rest = job_list.page(db, **asked, cursor=first.next_cursor, limit=2)

    assert [*ids(first), *ids(rest)] == [job_id(1), job_id(2), job_id(3)]
    assert rest.next_cursor is None


def test_filters_apply_together(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(1), *processed(1), request(1), upload(2)).recorded)

    assert ids(listed(db, photo_id=photo_id(1))) == [job_id(1, 2), job_id(1)]
    assert ids(listed(db, photo_id=photo_id(1), status="completed")) == [job_id(1)]
    assert ids(listed(db, client_id="bob")) == []
    second = listed(db, status="completed").items[0]
    assert job_id(1) in ids(listed(db, trace_id=second.trace_id))
    assert ids(listed(db, until=second.created_at)) == []
    assert job_id(1) in ids(listed(db, since=second.created_at))


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ((), "jobs_by_time"),
        (("photo_id",), "jobs_of_photo"),
        (("client_id", "photo_id"), "jobs_of_photo"),
        (("client_id",), "jobs_of_client"),
        (("session_id",), "jobs_of_session"),
        (("trace_id", "status"), "jobs_of_trace"),
        (("status",), "jobs_by_status"),
    ],
)
@pytest.mark.parametrize("more", [(), ("since", "until", "last_at", "last_id")])
@pytest.mark.parametrize("sort", get_args(Sort))
def test_a_page_reads_an_index_and_sorts_only_jobs_of_the_same_moment(
    db: Connection, given: tuple[str, ...], index: str, more: tuple[str, ...], sort: Sort
) -> None:
    values: Any = {**dict.fromkeys((*given, *more), "x"), "limit": 10}

    plan = str(db.execute(f"EXPLAIN QUERY PLAN {job_list.LISTING.sql(values, sort)}", values))

    assert index in plan
    assert plan.count("TEMP B-TREE") == plan.count("TEMP B-TREE FOR LAST TERM OF ORDER BY") == 1
    assert "created_at>?" in plan or "since" not in more


def test_an_invalid_cursor_is_an_error(db: Connection) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        listed(db, cursor="x' OR 1")


def test_each_attempt_tells_when_it_was_queued_began_and_ended(db: Connection) -> None:
    told = attempts(db, upload(), start(), validation())

    first = told["validation", 1]
    assert (first.queued_at, first.started_at, first.ended_at) == (
        "2026-11-23T10:00:00.000Z",
        "2026-11-23T10:00:01.000Z",
        "2026-11-23T10:00:02.000Z",
    )
    assert (first.outcome, first.duration_ms, first.error) == ("completed", 7, None)
    waiting = told["metadata", 1]
    assert (waiting.queued_at, waiting.started_at, waiting.outcome) == (first.ended_at, None, None)
    assert ("placeholder", 1) not in told


def test_a_failed_attempt_tells_why_and_when_it_is_repeated(db: Connection) -> None:
    told = attempts(db, upload(), start(), fail("validation", retry_at=RETRY_AT))

    first, second = told["validation", 1], told["validation", 2]
    assert (first.outcome, first.next_at) == ("retrying", RETRY_AT)
    assert first.error == "The disk is away."
    assert (second.queued_at, second.due_at, second.outcome) == (first.ended_at, RETRY_AT, None)


def test_the_story_of_a_job_leaves_out_those_of_other_jobs(db: Connection) -> None:
    told = attempts(db, upload(), *processed(), request(), run=2)

    assert {key: each.outcome for key, each in told.items()} == {("validation", 1): None}


def test_an_unknown_job_has_no_story(db: Connection) -> None:
    assert job_list.story(db, "none", lambda _: 0) is None
