"""Lists of photos: filters, order and cursors."""

import base64
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import fold
from projections.models import photos
from projections.models.checkpoints import Coverage
from projections.models.photos import Page, page_sql
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import BEGIN, Chronicle, delete, fail, photo_id, start, upload

EVERYTHING: dict[str, Any] = {
    "client_id": None,
    "status": None,
    "session_id": None,
    "uploaded_from": None,
    "uploaded_to": None,
    "cursor": None,
    "limit": 10,
}


def page(db: Connection, **filters: Any) -> Page:
    return photos.page(db, **{**EVERYTHING, **filters})


def numbers(found: Page) -> list[int]:
    return [int(item.original_filename.removesuffix(".jpg")) for item in found.items]


def walk(db: Connection, limit: int, **filters: Any) -> list[int]:
    """Return the photos of all pages."""
    found = page(db, limit=limit, **filters)
    seen = numbers(found)
    while found.next_cursor is not None:
        found = page(db, limit=limit, cursor=found.next_cursor, **filters)
        assert found.items
        seen += numbers(found)
    return seen


@pytest.fixture
def library(db: Connection) -> Connection:
    """Fold six photos of two clients, a second apart: 1 and 2 on a trip, 5 and 6 on bob's."""
    fold_in(
        db,
        Chronicle.of(
            upload(1),
            upload(2),
            upload(3, session_id="home"),
            upload(4, session_id=None),
            upload(5, client_id="bob"),
            upload(6, client_id="bob"),
            start(2),
            start(3),
            fail("validation", number=3),
            start(6),
        ).recorded,
    )
    return db


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"client_id": "alice"}, [4, 3, 2, 1]),
        ({"session_id": "trip"}, [6, 5, 2, 1]),
        ({"session_id": "trip", "client_id": "alice"}, [2, 1]),
        ({"status": "processing"}, [6, 2]),
        ({"status": "processing", "client_id": "alice"}, [2]),
        ({"status": "queued", "session_id": "trip", "client_id": "bob"}, [5]),
        ({"status": "failed", "client_id": "bob"}, []),
        ({"uploaded_from": "2026-11-23T10:00:03.000Z"}, [6, 5, 4]),
        ({"uploaded_to": "2026-11-23T10:00:03.000Z"}, [3, 2, 1]),
        (
            {
                "client_id": "alice",
                "uploaded_from": "2026-11-23T10:00:01.000Z",
                "uploaded_to": "2026-11-23T10:00:03.000Z",
            },
            [3, 2],
        ),
    ],
)
def test_photos_that_match_all_filters_are_listed_newest_first(
    library: Connection, filters: dict[str, str], found: list[int]
) -> None:
    assert numbers(page(library, **filters)) == found
    assert walk(library, 1, **filters) == found


def test_the_last_page_has_no_cursor(library: Connection) -> None:
    assert page(library, limit=6).next_cursor is None
    assert page(library, limit=5).next_cursor is not None


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_photos_of_the_same_moment_are_listed_once_each(db: Connection, limit: int) -> None:
    chronicle = Chronicle()
    for number in range(1, 21):
        chronicle.add(upload(number))
    fold_in(db, chronicle.recorded)

    seen = walk(db, limit)

    assert seen == sorted(range(1, 21), key=photo_id, reverse=True)


def test_photos_added_or_deleted_between_pages_hide_no_others(db: Connection) -> None:
    chronicle = Chronicle.of(*(upload(number) for number in range(1, 7)))
    fold_in(db, chronicle.recorded)
    first = page(db, limit=2)

    chronicle.add(upload(7), BEGIN + timedelta(minutes=1))
    chronicle.add(delete(6), BEGIN + timedelta(minutes=1))
    chronicle.add(delete(3), BEGIN + timedelta(minutes=1))
    fold_in(db, chronicle.recorded)

    assert numbers(first) == [6, 5]
    assert numbers(page(db, limit=9, cursor=first.next_cursor)) == [4, 2, 1]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "====",
        "W10",
        "bnVsbA",
        base64.urlsafe_b64encode(b'["a"]').decode(),
        base64.urlsafe_b64encode(b'["a", 1]').decode(),
        base64.urlsafe_b64encode(b'["a", "b", "c"').decode(),
        base64.urlsafe_b64encode(b'["\\ud800", "b"]').decode(),
        base64.urlsafe_b64encode(b'["a", "' + b"b" * 100_000 + b'"]').decode(),
        "WyJhIiwiYiJd' OR 1=1 --",
    ],
)
def test_an_invalid_cursor_is_rejected(library: Connection, cursor: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor"):
        page(library, cursor=cursor)


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(max_size=60),
        st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
        st.tuples(st.text(max_size=50), st.text(max_size=70)).map(
            lambda pair: base64.urlsafe_b64encode(msgspec.json.encode(pair)).decode()
        ),
    )
)
def test_any_text_as_cursor_gives_a_page_or_is_rejected(empty: Connection, cursor: str) -> None:
    with suppress(ValueError):
        assert page(empty, cursor=cursor).items == []


CODE_OF_THE_FAILURE = [
    "CORRELATED SCALAR SUBQUERY 1",
    "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
]
"""The steps that find the code of a failed photo: one job, by its id."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    return fold.create(
        tmp_path_factory.mktemp("empty") / "empty.sqlite", "some log", Coverage.whole(3)
    )


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ((), "idx_photos_uploaded_at"),
        (("uploaded_from", "uploaded_to"), "idx_photos_uploaded_at"),
        (("client_id",), "idx_photos_client_id"),
        (("status",), "idx_photos_processing_status"),
        (("client_id", "status"), "idx_photos_client_status"),
        (("client_id", "status", "uploaded_from"), "idx_photos_client_status"),
        (("session_id",), "idx_photos_session_id"),
        (("client_id", "session_id"), "idx_photos_session_id"),
        (("client_id", "status", "session_id"), "idx_photos_session_id"),
    ],
)
@pytest.mark.parametrize("follows", [False, True])
def test_every_list_is_read_from_an_index_in_its_order(
    db: Connection, filters: tuple[str, ...], index: str, *, follows: bool
) -> None:
    values = dict.fromkeys(filters, "x")
    sql = page_sql(values, follows=follows)

    plan = db.execute(
        f"EXPLAIN QUERY PLAN {sql}", {**values, "last": "", "last_id": "", "limit": 1}
    )

    step, *sorting = [row[3] for row in plan]
    assert f"USING INDEX {index}" in step
    assert "uploaded_at<?" in step or not follows
    # Ids of the same moment are sorted.
    assert sorting == [*CODE_OF_THE_FAILURE, "USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ((), "idx_photos_dated"),
        (("taken_from", "taken_to"), "idx_photos_dated"),
        (("client_id",), "idx_photos_client_dated"),
        (("client_id", "taken_from", "taken_to"), "idx_photos_client_dated"),
    ],
)
@pytest.mark.parametrize("follows", [False, True])
def test_every_list_by_date_taken_is_read_from_an_index_in_its_order(
    db: Connection, filters: tuple[str, ...], index: str, *, follows: bool
) -> None:
    values = dict.fromkeys(filters, "x")
    sql = page_sql(values, follows=follows, order="taken")

    plan = db.execute(
        f"EXPLAIN QUERY PLAN {sql}", {**values, "last": "", "last_id": "", "limit": 1}
    )

    step, *others = [row[3] for row in plan]
    assert f"USING INDEX {index}" in step
    assert others == CODE_OF_THE_FAILURE
    assert "dated" in step or not (filters or follows)
