"""The dead letters: photos whose last job failed, until someone retries or discards them.

A failed attempt that will be retried also has a row, which is not listed: it keeps the time of the
first failure.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.photo import events as e
from domain.pipeline.failures import Category
from projections.models.cursor import Cursor
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row, Value

TABLES = ("dead_letters",)

OF_PARTITION = {"dead_letters": "photo_id IN photo_ids"}

SCHEMA = """
CREATE TABLE dead_letters (
  photo_id TEXT NOT NULL,
  stage TEXT NOT NULL,
  job_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  dead INTEGER NOT NULL, -- 0: the stage will be tried again
  category TEXT NOT NULL,
  code TEXT NOT NULL,
  error TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  first_failed_at TEXT NOT NULL,
  last_failed_at TEXT NOT NULL,
  PRIMARY KEY (photo_id, stage),
  CHECK (dead IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_by_time ON dead_letters(last_failed_at DESC, photo_id DESC)
  WHERE dead = 1;
CREATE INDEX dead_letters_by_category
  ON dead_letters(category, last_failed_at DESC, photo_id DESC) WHERE dead = 1;
CREATE INDEX dead_letters_by_stage
  ON dead_letters(stage, last_failed_at DESC, photo_id DESC) WHERE dead = 1;
"""

FAILED = """
INSERT INTO dead_letters VALUES (
  :photo_id, :stage, :job_id, :client_id, 0, :category, :code, :error, :attempt, :at, :at
)
ON CONFLICT (photo_id, stage) DO UPDATE SET
  category = :category, code = :code, error = :error, attempts = :attempt, last_failed_at = :at
"""
DEAD = "UPDATE dead_letters SET dead = 1, attempts = ? WHERE photo_id = ? AND stage = ?"
STAGE_DONE = "DELETE FROM dead_letters WHERE photo_id = ? AND stage = ?"
FORGET = "DELETE FROM dead_letters WHERE photo_id = ?"

COLUMNS = (
    "photo_id, stage, job_id, client_id, category, code, error, attempts, first_failed_at,"
    " last_failed_at"
)

FILTERS = {
    "stage": "stage = :stage",
    "category": "category = :category",
    "client_id": "client_id = :client_id",
}


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A photo whose last job failed; ``error`` is that of the last of ``attempts``."""

    photo_id: str
    job_id: str
    client_id: str
    stage: str
    category: Category
    code: str
    error: str
    attempts: int
    first_failed_at: str
    last_failed_at: str


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of dead letters; ``next_cursor`` leads to the next page and is null on the last."""

    items: list[DeadLetter]
    next_cursor: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    for each in recorded:
        _apply(db, each.event)


def _apply(db: Connection, event: e.Event) -> None:
    data = event.data
    match data:
        case e.StageFailed():
            db.execute(
                FAILED,
                {
                    "photo_id": data.photo_id,
                    "stage": data.stage,
                    "job_id": data.job_id,
                    "client_id": event.metadata.client_id,
                    "category": data.category.value,
                    "code": data.code,
                    "error": data.error,
                    "attempt": data.attempt,
                    "at": event.timestamp,
                },
            )
        case e.ProcessingFailed():
            db.execute(DEAD, (data.attempts, data.photo_id, data.stage))
        case e.StageCompleted():
            db.execute(STAGE_DONE, (data.photo_id, data.stage))
        case (
            e.ProcessingRequested()
            | e.ProcessingCompleted()
            | e.ProcessingDiscarded()
            | e.PhotoDeleted()
        ):
            db.execute(FORGET, (data.photo_id,))
        case _:
            pass


def page(
    db: Connection,
    *,
    stage: str | None,
    category: str | None,
    client_id: str | None,
    cursor: str | None,
    limit: int,
) -> DeadLetters:
    """Return the newest ``limit`` dead letters that match all filters, after ``cursor`` if given.

    Raises:
        ValueError: ``cursor`` does not come from a page.
    """
    given = zip(FILTERS, (stage, category, client_id), strict=True)
    values: dict[str, Value] = {name: value for name, value in given if value is not None}
    conditions = ["dead = 1", *(FILTERS[name] for name in values)]
    if cursor is not None:
        last = Cursor.decode(cursor)
        values |= {"last_failed_at": last.at, "last_id": last.photo_id}
        conditions.append("(last_failed_at, photo_id) < (:last_failed_at, :last_id)")
    rows = db.execute(
        f"SELECT {COLUMNS} FROM dead_letters WHERE {' AND '.join(conditions)}"  # noqa: S608 # constants
        " ORDER BY last_failed_at DESC, photo_id DESC LIMIT :limit",
        {**values, "limit": limit + 1},
    )
    items = [_view(row) for row in rows[:limit]]
    more = len(rows) > limit
    end = Cursor(items[-1].last_failed_at, items[-1].photo_id).encode() if more else None
    return DeadLetters(items=items, next_cursor=end)


def of_code(db: Connection, code: str, limit: int) -> list[DeadLetter]:
    """Return the newest dead letters whose last error has this code."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM dead_letters WHERE dead = 1 AND code = ?"  # noqa: S608 # constants
        " ORDER BY last_failed_at DESC, photo_id DESC LIMIT ?",
        (code, limit),
    )
    return [_view(row) for row in rows]


def counts(db: Connection) -> dict[str, int]:
    """Return the number of dead letters, by the stage that failed."""
    rows: Any = db.execute("SELECT stage, count(*) FROM dead_letters WHERE dead = 1 GROUP BY stage")
    return dict(rows)


def _view(row: Row) -> DeadLetter:
    photo_id, stage, job_id, client_id, category, code, error, attempts, first, last = row
    return DeadLetter(
        photo_id=photo_id,
        job_id=job_id,
        client_id=client_id,
        stage=stage,
        category=Category(category),
        code=code,
        error=error,
        attempts=attempts,
        first_failed_at=first,
        last_failed_at=last,
    )
