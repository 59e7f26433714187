"""The jobs: each run of a pipeline over a photo, with its stages.

Every stage is recorded, even one that this version does not know. The jobs of a deleted photo are
removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain.photo import events as e
from domain.photo.status import STATUS_AFTER, Status
from domain.pipeline.failures import Category
from domain.pipeline.job_stages import JobStages, in_order, stages_of_job
from projections.models import checkpoints
from projections.models.batch import Columns, Rows, insert
from store.log.recorded import Recorded
from store.sqlite.connection import Connection, Row, Value

TABLES = ("jobs",)

OF_PARTITION = {"jobs": "photo_id IN photo_ids"}

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
  session_id TEXT,
  trace_id TEXT NOT NULL, -- of the request that asked for it
  stages TEXT, -- JSON, as its first event records them
  ended TEXT, -- the attempts of stages that have ended, JSON
  CHECK (status IN ('queued', 'processing', 'completed', 'failed'))
) STRICT;

CREATE INDEX jobs_of_photo ON jobs(photo_id, created_at);
"""

INDEXES = """
CREATE INDEX jobs_of_trace ON jobs(trace_id, created_at);
CREATE INDEX jobs_of_session ON jobs(session_id, created_at) WHERE session_id IS NOT NULL;
CREATE INDEX jobs_of_client ON jobs(client_id, created_at);
CREATE INDEX jobs_by_status ON jobs(status, created_at);
CREATE INDEX jobs_by_time ON jobs(created_at);
"""

STORED = (
    *("id", "photo_id", "client_id", "pipeline", "priority", "status", "error", "created_at"),
    *("started_at", "completed_at", "session_id", "trace_id", "stages", "ended"),
)
"""All columns, in the order of the table."""

_stages = msgspec.json.Decoder(JobStages)


class _Ended(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The last attempt of a stage that has ended.

    ``duration_ms`` is that of the attempt that succeeded, ``error`` that of one that failed. Nearly
    all succeed: the column leaves out what follows ``completed_at`` for them, and the day or the
    minute if the job was created in the same.
    """

    attempt: int
    duration_ms: int | None = None
    completed_at: str | None = None
    status: Literal["retrying", "completed", "failed"] = "completed"
    error: str | None = None


_SHARED = len("2026-11-23T10:00:"), len("2026-11-23T")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(dict[str, _Ended])


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
    """Change each job of the batch once.

    A deleted photo loses its jobs, and a job that continues takes over what earlier ones have done:
    so all jobs of these photos are read.
    """
    events = _events(recorded)
    rows = Rows(db, "jobs", STORED)
    datas: list[Any] = [event.data for event in events if type(event.data) is not e.PhotoDeleted]
    named: set[str] = {data.job_id for data in datas}
    new: set[str] = {data.job_id for data in datas if type(data) in _BEGINNING}
    whole = {event.data.photo_id for event in events if type(event.data) in _OF_ALL_JOBS}
    if whole:
        rows.read(whole, by="photo_id")
    rows.read(named - new)
    _Batch(rows.rows).apply_all(events)
    rows.write()


def fold_new(recorded: Sequence[Recorded]) -> list[Row]:
    """Return the rows of the jobs of photos of which these are all events."""
    rows: dict[Value, Columns] = {}
    _Batch(rows).apply_all(_events(recorded))
    return [tuple(row.values()) for row in rows.values()]


def store_new(db: Connection, rows: Sequence[Row]) -> None:
    """Write what ``fold_new`` has returned."""
    insert(db, "jobs", STORED, rows)


def _events(recorded: Iterable[Recorded]) -> list[e.Event]:
    return [each.event for each in recorded if type(each.event.data) in _TYPES]


_BEGINNING = frozenset((e.PhotoUploaded, e.ProcessingRequested))

_OF_ALL_JOBS = frozenset((e.PhotoDeleted, e.ProcessingRequested))

_TYPES = _BEGINNING | {
    e.PhotoDeleted,
    e.StageCompleted,
    e.StageFailed,
    e.ProcessingPrioritized,
    e.ProcessingStarted,
    e.ProcessingCompleted,
    e.ProcessingFailed,
}


class _Batch:
    """The jobs of a batch, in ``rows``; ``_ended`` has the stages of those that it changes."""

    def __init__(self, rows: dict[Value, Columns]) -> None:
        self._rows = rows
        self._ended: dict[Value, dict[str, _Ended]] = {}
        self._of_photo: dict[Value, list[Value]] = {}
        for key, row in self._rows.items():
            self._of_photo.setdefault(row["photo_id"], []).append(key)

    def apply_all(self, events: Iterable[e.Event]) -> None:
        for event in events:
            self._apply(event)
        for job_id, stages in self._ended.items():
            if row := self._rows.get(job_id):
                row["ended"] = _column(stages, str(row["created_at"]))

    def _apply(self, event: e.Event) -> None:
        data, at = event.data, event.timestamp
        if type(data) is e.StageCompleted:  # most events
            ended = _Ended(attempt=data.attempt, duration_ms=data.duration_ms, completed_at=at)
            self._end_stage(data.job_id, data.stage, ended)
            return
        match data:
            case (
                e.ProcessingPrioritized()
                | e.ProcessingStarted()
                | e.ProcessingCompleted()
                | e.ProcessingFailed()
            ):
                if row := self._rows.get(data.job_id):
                    _change(row, data, at)
            case e.PhotoUploaded() | e.ProcessingRequested():
                self._begin(event, data)
            case e.StageFailed():
                ends = data.retry_at is None
                failed = _Ended(
                    status="failed" if ends else "retrying",
                    attempt=data.attempt,
                    error=data.error,
                    completed_at=at if ends else None,
                )
                self._end_stage(data.job_id, data.stage, failed)
            case e.PhotoDeleted():
                for job_id in self._of_photo.pop(data.photo_id, ()):
                    del self._rows[job_id]
                    self._ended.pop(job_id, None)
            case _:
                pass

    def _begin(self, event: e.Event, data: e.PhotoUploaded | e.ProcessingRequested) -> None:
        if isinstance(data, e.ProcessingRequested) and data.done:
            done = self._done_before(data.photo_id)
            taken = {stage: done[stage] for stage in data.done if stage in done}
            if taken:
                self._ended[data.job_id] = taken
        self._of_photo.setdefault(data.photo_id, []).append(data.job_id)
        self._rows[data.job_id] = {
            "id": data.job_id,
            "photo_id": data.photo_id,
            "client_id": event.metadata.client_id,
            "pipeline": data.pipeline,
            "priority": data.priority,
            "status": STATUS_AFTER[type(data)],
            "error": None,
            "created_at": event.timestamp,
            "started_at": None,
            "completed_at": None,
            "session_id": event.metadata.session_id,
            "trace_id": event.metadata.trace_id,
            "stages": None if data.stages is None else msgspec.json.encode(data.stages).decode(),
            "ended": None,
        }

    def _end_stage(self, job_id: str, stage: str, end: _Ended) -> None:
        if job_id in self._rows:
            self._stages_of(job_id)[stage] = end

    def _stages_of(self, job_id: Value) -> dict[str, _Ended]:
        if job_id not in self._ended:
            row = self._rows[job_id]
            self._ended[job_id] = _ended(row["ended"], str(row["created_at"]))
        return self._ended[job_id]

    def _done_before(self, photo_id: str) -> dict[str, _Ended]:
        """Return the completed stages of the photo's jobs: of each the last one to complete."""
        done: dict[str, _Ended] = {}
        for job_id in sorted(map(str, self._of_photo.get(photo_id, ()))):
            for stage, end in self._stages_of(job_id).items():
                if end.status == "completed" and (
                    stage not in done or (end.completed_at or "") > (done[stage].completed_at or "")
                ):
                    done[stage] = end
        return done


def _change(
    row: Columns,
    data: e.ProcessingPrioritized
    | e.ProcessingStarted
    | e.ProcessingCompleted
    | e.ProcessingFailed,
    at: str,
) -> None:
    if isinstance(data, e.ProcessingPrioritized):
        row["priority"] = data.priority
        return
    row["status"] = STATUS_AFTER[type(data)]
    match data:
        case e.ProcessingStarted():
            row["started_at"] = at
        case e.ProcessingCompleted():
            row["completed_at"], row["error"] = at, None
        case e.ProcessingFailed():
            error = JobError(
                stage=data.stage, category=data.category, code=data.code, message=data.error
            )
            row["completed_at"], row["error"] = at, msgspec.json.encode(error).decode()


def _column(stages: Mapping[str, _Ended], created_at: str) -> str:
    short: dict[str, object] = {}
    for name, end in stages.items():
        at = _shortened(end.completed_at, created_at)
        if end.status == "completed":
            short[name] = end.attempt, end.duration_ms, at
        else:
            short[name] = msgspec.structs.replace(end, completed_at=at)
    return _encoder.encode(short).decode()


def _ended(column: Value, created_at: str) -> dict[str, _Ended]:
    if not isinstance(column, str):
        return {}
    return {
        name: msgspec.structs.replace(end, completed_at=_whole(end.completed_at, created_at))
        for name, end in _decoder.decode(column).items()
    }


def _shortened(at: str | None, created_at: str) -> str | None:
    """Return the time without the minute or the day that it shares with ``created_at``."""
    if at is None or len(at) != len(created_at):
        return at
    for letters in _SHARED:
        if at[:letters] == created_at[:letters]:
            return at[letters:]
    return at


def _whole(at: str | None, created_at: str) -> str | None:
    """Return what ``_shortened`` was given."""
    if at is None or "T" in at:
        return at
    return created_at[: len(created_at) - len(at)] + at


def get(db: Connection, job_id: str) -> JobView | None:
    """Return the job with its stages; while it runs, the pending ones are shown as queued."""
    rows = db.execute(
        "SELECT photo_id, client_id, pipeline, priority, status, error, created_at, started_at,"
        " completed_at, stages, ended FROM jobs WHERE id = ?",
        (job_id,),
    )
    if not rows:
        return checkpoints.deny(db)
    photo_id, client_id, pipeline, priority, status, error, *times, stages, column = rows[0]
    created_at, started_at, completed_at = times
    ended = _ended(column, created_at)
    planned = frozenset(stages_of_job(pipeline, None if stages is None else _stages.decode(stages)))
    return JobView(
        job_id=job_id,
        photo_id=photo_id,
        client_id=client_id,
        pipeline=pipeline,
        priority=priority,
        status=status,
        progress=1.0 if status == "completed" else _progress(ended, planned),
        stages=_stage_views(ended, planned if completed_at is None else frozenset()),
        error=None if error is None else msgspec.json.decode(error, type=JobError),
        created_at=created_at,
        started_at=started_at,
        completed_at=completed_at,
    )


def _progress(ended: dict[str, _Ended], planned: frozenset[str]) -> float:
    done = {stage for stage, end in ended.items() if end.status == "completed"}
    return round(len(done & planned) / len(planned), 3) if planned else 0.0


def _stage_views(ended: dict[str, _Ended], expected: frozenset[str]) -> list[StageView]:
    """Return the stages in the order of ``in_order``."""
    return [
        _view(name, ended[name]) if name in ended else _pending(name)
        for name in in_order(expected | ended.keys())
    ]


def _view(stage: str, end: _Ended) -> StageView:
    return StageView(
        stage=stage,
        status=end.status,
        attempt=end.attempt,
        duration_ms=end.duration_ms,
        error=end.error,
        completed_at=end.completed_at,
    )


def _pending(stage: str) -> StageView:
    return StageView(
        stage=stage, status="queued", attempt=0, duration_ms=None, error=None, completed_at=None
    )
