"""The jobs: each run of a pipeline over a photo, with its stages.

Every stage is recorded, even one that this version does not know. The jobs of a deleted photo are
removed.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from domain.photo import events as e
from domain.photo.status import STATUS_AFTER, Status
from domain.pipeline.failures import Category
from domain.pipeline.stages import TREE, stages_of
from store.log.stream import Recorded
from store.sqlite.connection import Connection, Row

TABLES = ("jobs", "job_stages")

OF_PARTITION = {"jobs": "photo_id IN photo_ids", "job_stages": "job_id IN job_ids"}

SCHEMA = """
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  photo_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  priority INTEGER NOT NULL,
  status TEXT NOT NULL,
  error TEXT, -- JSON
  created_at TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT, -- when it ended, well or not
  CHECK (status IN ('queued', 'processing', 'completed', 'failed'))
) STRICT;

CREATE INDEX jobs_of_photo ON jobs(photo_id);

CREATE TABLE job_stages (
  job_id TEXT NOT NULL,
  stage TEXT NOT NULL,
  status TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  duration_ms INTEGER, -- of the attempt that succeeded
  error TEXT, -- of the last attempt
  completed_at TEXT,
  PRIMARY KEY (job_id, stage),
  CHECK (status IN ('retrying', 'completed', 'failed'))
) STRICT, WITHOUT ROWID;
"""

INSERT = "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, NULL, ?, NULL, NULL)"
START = "UPDATE jobs SET status = ?, started_at = ? WHERE id = ?"
END = "UPDATE jobs SET status = ?, completed_at = ?, error = ? WHERE id = ?"
STAGE = "INSERT OR REPLACE INTO job_stages VALUES (?, ?, ?, ?, ?, ?, ?)"

DONE_BEFORE = """
INSERT INTO job_stages
SELECT ?1, s.stage, s.status, s.attempt, s.duration_ms, s.error, s.completed_at
FROM jobs AS j JOIN job_stages AS s ON s.job_id = j.id
WHERE j.photo_id = ?3 AND s.stage = ?2 AND s.status = 'completed'
ORDER BY s.completed_at DESC, j.id LIMIT 1
"""
"""Copy the completed stages of earlier jobs into a job that continues after them."""

FORGET = (
    "DELETE FROM job_stages WHERE job_id IN (SELECT id FROM jobs WHERE photo_id = ?)",
    "DELETE FROM jobs WHERE photo_id = ?",
)


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class JobError(_Shape, frozen=True, kw_only=True):
    stage: str
    category: Category
    code: str
    message: str


class StageView(_Shape, frozen=True, kw_only=True):
    """A stage of a job; ``attempt`` is the last one that ended, 0 if none has."""

    stage: str
    status: Literal["queued", "retrying", "completed", "failed"]
    attempt: int
    duration_ms: int | None
    error: str | None
    completed_at: str | None


class JobView(_Shape, frozen=True, kw_only=True):
    """A job; ``progress`` is the completed share of the pipeline's stages, 0 to 1."""

    job_id: str
    photo_id: str
    client_id: str
    pipeline: str
    priority: int
    status: Status
    progress: float
    stages: list[StageView]
    error: JobError | None
    created_at: str
    started_at: str | None
    completed_at: str | None


def apply(db: Connection, recorded: Sequence[Recorded]) -> None:
    for each in recorded:
        _apply(db, each.event)


def _apply(db: Connection, event: e.Event) -> None:
    data, at = event.data, event.timestamp
    status = STATUS_AFTER.get(type(data))
    match data:
        case e.PhotoUploaded() | e.ProcessingRequested():
            owner = (data.photo_id, event.metadata.client_id)
            db.execute(INSERT, (data.job_id, *owner, data.pipeline, data.priority, status, at))
            if isinstance(data, e.ProcessingRequested) and data.done:
                done = [(data.job_id, stage, data.photo_id) for stage in data.done]
                db.execute_many(DONE_BEFORE, done)
        case e.ProcessingStarted():
            db.execute(START, (status, at, data.job_id))
        case e.StageCompleted():
            done = ("completed", data.attempt, data.duration_ms, None, at)
            db.execute(STAGE, (data.job_id, data.stage, *done))
        case e.StageFailed():
            ends = data.retry_at is None
            kind = "failed" if ends else "retrying"
            failed = (kind, data.attempt, None, data.error, at if ends else None)
            db.execute(STAGE, (data.job_id, data.stage, *failed))
        case e.ProcessingCompleted():
            db.execute(END, (status, at, None, data.job_id))
        case e.ProcessingFailed():
            error = JobError(
                stage=data.stage, category=data.category, code=data.code, message=data.error
            )
            db.execute(END, (status, at, msgspec.json.encode(error).decode(), data.job_id))
        case e.PhotoDeleted():
            for statement in FORGET:
                db.execute(statement, (data.photo_id,))
        case _:
            pass


def get(db: Connection, job_id: str) -> JobView | None:
    """Return the job with its stages; while it runs, the pending ones are shown as queued."""
    rows = db.execute(
        "SELECT photo_id, client_id, pipeline, priority, status, error, created_at, started_at,"
        " completed_at FROM jobs WHERE id = ?",
        (job_id,),
    )
    if not rows:
        return None
    photo_id, client_id, pipeline, priority, status, error, created_at, started_at, ended = rows[0]
    recorded = db.execute(
        "SELECT stage, status, attempt, duration_ms, error, completed_at FROM job_stages"
        " WHERE job_id = ?",
        (job_id,),
    )
    planned = stages_of(pipeline)
    return JobView(
        job_id=job_id,
        photo_id=photo_id,
        client_id=client_id,
        pipeline=pipeline,
        priority=priority,
        status=status,
        progress=1.0 if status == "completed" else _progress(recorded, planned),
        stages=_stages(recorded, planned if ended is None else frozenset()),
        error=None if error is None else msgspec.json.decode(error, type=JobError),
        created_at=created_at,
        started_at=started_at,
        completed_at=ended,
    )


def _progress(recorded: list[Row], planned: frozenset[str]) -> float:
    done = {stage for stage, status, *_ in recorded if status == "completed"}
    return round(len(done & planned) / len(planned), 3) if planned else 0.0


def _stages(recorded: list[Row], expected: frozenset[str]) -> list[StageView]:
    """Return the stages in the order of the tree, then unknown ones by name."""
    ended = {
        stage: StageView(
            stage=stage,
            status=status,
            attempt=attempt,
            duration_ms=duration_ms,
            error=error,
            completed_at=completed_at,
        )
        for stage, status, attempt, duration_ms, error, completed_at in recorded
    }
    order = [name for name in TREE if name in expected | set(ended)]
    order += sorted(set(ended) - set(TREE))
    return [ended.get(name) or _pending(name) for name in order]


def _pending(stage: str) -> StageView:
    return StageView(
        stage=stage, status="queued", attempt=0, duration_ms=None, error=None, completed_at=None
    )
