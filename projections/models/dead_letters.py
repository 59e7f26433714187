"""The dead letters: photos whose last job failed, until someone retries or discards them.

A failed attempt that will be retried also has a row, which is not listed: it keeps the time of the
first failure.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from domain.photo import events as e
from domain.pipeline.failures import Category
from projections.models.batch import listed
from projections.models.cursor import Cursor
from projections.models.listing import Sort
from store.log.recorded import Recorded
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
CREATE INDEX dead_letters_by_code
  ON dead_letters(code, last_failed_at DESC, photo_id DESC) WHERE dead = 1;
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
    "code": "code = :code",
    "client_id": "client_id = :client_id",
    "failed_from": "last_failed_at >= :failed_from",
    "failed_to": "last_failed_at < :failed_to",
}

GROUPS_MAX = 200

GROUPS = """
SELECT g.stage, g.category, g.code, g.count, g.oldest, d.last_failed_at, d.photo_id, d.job_id,
  d.error
FROM (
  SELECT stage, category, code, count(*) AS count, min(last_failed_at) AS oldest,
    max(last_failed_at || photo_id) AS latest
  FROM dead_letters WHERE {conditions} GROUP BY stage, category, code
) AS g JOIN dead_letters AS d ON d.photo_id = substr(g.latest, 25) AND d.stage = g.stage
ORDER BY g.count DESC, g.stage, g.category, g.code LIMIT :limit
"""
"""Times have 24 characters."""


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


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Dead letters with the same stage, category and code.

    ``photo_id``, ``job_id`` and ``error`` are those of the latest.
    """

    stage: str
    category: Category
    code: str
    count: int
    oldest_at: str
    latest_at: str
    photo_id: str
    job_id: str
    error: str


class DeadLetterGroups(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The largest groups first, at most ``GROUPS_MAX``; ``more`` if there are others."""

    items: list[DeadLetterGroup]
    more: bool


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions that must all be met; None means no condition. ``failed_to`` is exclusive."""

    stage: str | None = None
    category: str | None = None
    code: str | None = None
    client_id: str | None = None
    failed_from: str | None = None
    failed_to: str | None = None

    def values(self) -> dict[str, Value]:
        given = msgspec.structs.asdict(self)
        return {name: value for name, value in given.items() if value is not None}


def _conditions(values: dict[str, Value]) -> list[str]:
    return ["dead = 1", *(FILTERS[name] for name in FILTERS if name in values)]


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    """Apply the events of photos that have a row, or get one in this batch: few have."""
    datas = [each.event.data for each in recorded if type(each.event.data) in _CONCERNED]
    failing = failed(recorded)
    concerned = {data.photo_id for data in datas}
    failing |= {
        row[0]
        for row in db.execute(
            "SELECT DISTINCT photo_id FROM dead_letters"
            " WHERE photo_id IN (SELECT value FROM json_each(?))",
            listed(concerned - failing),
        )
    }
    if not failing:
        return
    for each in recorded:
        if each.event.data.photo_id in failing:
            _apply(db, each.event)


def failed(recorded: Iterable[Recorded]) -> set[str]:
    """Return the photos that get a row in this batch, if they have none."""
    return {each.event.data.photo_id for each in recorded if type(each.event.data) is e.StageFailed}


_ENDING = frozenset(
    (
        e.ProcessingFailed,
        e.StageCompleted,
        e.ProcessingRequested,
        e.ProcessingCompleted,
        e.ProcessingDiscarded,
        e.PhotoDeleted,
    )
)
"""The events that change a row which is there already."""

_CONCERNED = _ENDING | {e.StageFailed}


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
    wanted: Filter,
    sort: Sort = "newest",
    cursor: str | None,
    limit: int,
) -> DeadLetters:
    """Return the first ``limit`` dead letters that match ``wanted``, after ``cursor`` if given.

    Raises:
        ValueError: ``cursor`` does not come from a page.
    """
    values = wanted.values()
    conditions = _conditions(values)
    order, later = ("DESC", "<") if sort == "newest" else ("ASC", ">")
    if cursor is not None:
        last = Cursor.decode(cursor)
        values |= {"last_failed_at": last.at, "last_id": last.photo_id}
        conditions.append(f"(last_failed_at, photo_id) {later} (:last_failed_at, :last_id)")
    rows = db.execute(
        f"SELECT {COLUMNS} FROM dead_letters WHERE {' AND '.join(conditions)}"  # noqa: S608 # constants
        f" ORDER BY last_failed_at {order}, photo_id {order} LIMIT :limit",
        {**values, "limit": limit + 1},
    )
    items = [_view(row) for row in rows[:limit]]
    more = len(rows) > limit
    end = Cursor(items[-1].last_failed_at, items[-1].photo_id).encode() if more else None
    return DeadLetters(items=items, next_cursor=end)


def groups(db: Connection, wanted: Filter) -> DeadLetterGroups:
    """Count the dead letters that match ``wanted`` by stage, category and code."""
    values = wanted.values()
    sql = GROUPS.format(conditions=" AND ".join(_conditions(values)))
    rows = db.execute(sql, {**values, "limit": GROUPS_MAX + 1})
    items = [_group(row) for row in rows[:GROUPS_MAX]]
    return DeadLetterGroups(items=items, more=len(rows) > GROUPS_MAX)


def _group(row: Row) -> DeadLetterGroup:
    stage, category, code, count, oldest, latest, photo_id, job_id, error = row
    return DeadLetterGroup(
        stage=stage,
        category=Category(category),
        code=code,
        count=count,
        oldest_at=oldest,
        latest_at=latest,
        photo_id=photo_id,
        job_id=job_id,
        error=error,
    )


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
