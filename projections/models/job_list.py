"""Lists of jobs for operators, and the story of one job, from the rows of jobs and history."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from domain.moments import iso
from domain.photo import events as e
from domain.photo.status import Status
from domain.pipeline.failures import Category
from domain.pipeline.job_stages import children, ready, stages_of_job
from projections.models import checkpoints
from projections.models.history import Room, room_events
from projections.models.jobs import JobError
from projections.models.listing import Listing, Sort
from store.log.codec import WireEvent
from store.log.position import Position
from store.sqlite.connection import Connection, Row

READ_AT_ONCE = 500
"""How many events of a photo's history are read at once."""

COLUMNS = (
    "id, photo_id, client_id, session_id, trace_id, pipeline, priority, status, error, created_at,"
    " started_at, completed_at,"
    " (SELECT original_filename FROM photos WHERE photos.id = jobs.photo_id)"
)

LISTING = Listing(
    columns=COLUMNS,
    table="jobs",
    time="created_at",
    key="id",
    filters={
        "photo_id": ("photo_id", "jobs_of_photo"),
        "trace_id": ("trace_id", "jobs_of_trace"),
        "session_id": ("session_id", "jobs_of_session"),
        "client_id": ("client_id", "jobs_of_client"),
        "status": ("status", "jobs_by_status"),
    },
    by_time="jobs_by_time",
)


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class JobLine(_Shape, frozen=True, kw_only=True):
    """A job in a list. ``trace_id`` is that of the request that asked for it."""

    job_id: str
    photo_id: str
    original_filename: str
    client_id: str
    session_id: str | None
    trace_id: str
    pipeline: str
    priority: int
    status: Status
    error: JobError | None
    created_at: str
    started_at: str | None
    completed_at: str | None


class JobLines(_Shape, frozen=True, kw_only=True):
    """Jobs in order of time; ``next_cursor`` leads to the next page and is null on the last."""

    items: list[JobLine]
    next_cursor: str | None


class AttemptView(_Shape, frozen=True, kw_only=True):
    """One attempt of a stage, as its events tell.

    ``queued_at`` is the time of the event that the task follows, ``due_at`` that of a retry.
    ``started_at`` is null if no event tells it: that of a completed attempt is its end minus its
    duration. ``outcome`` is null while the attempt has not ended. ``next_at`` is when a failed one
    will be repeated.
    """

    stage: str
    attempt: int
    queued_at: str | None
    due_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None
    outcome: Literal["completed", "retrying", "failed"] | None = None
    category: Category | None = None
    code: str | None = None
    error: str | None = None
    next_at: str | None = None


class JobStory(_Shape, frozen=True, kw_only=True):
    """A job and its attempts, in the order in which they were queued."""

    job: JobLine
    attempts: list[AttemptView]


def page(
    db: Connection,
    *,
    filters: dict[str, str],
    since: str | None,
    until: str | None,
    sort: Sort = "newest",
    cursor: str | None,
    limit: int,
) -> JobLines:
    """Return the first ``limit`` jobs that match all ``filters``, after ``cursor`` if given.

    They were created at ``since`` or later, and before ``until``.

    Raises:
        ValueError: ``cursor`` does not come from a page.
        NotCovered: as ``checkpoints.check_client`` says.
    """
    checkpoints.check_client(db, filters.get("client_id"))
    rows, end = LISTING.page(
        db, filters=filters, since=since, until=until, sort=sort, cursor=cursor, limit=limit
    )
    return JobLines(items=[_line(row) for row in rows], next_cursor=end)


def get(db: Connection, job_id: str) -> JobLine | None:
    rows = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,))  # noqa: S608 # constants
    return _line(rows[0]) if rows else checkpoints.deny(db)


def story(db: Connection, job_id: str, partition_of: Callable[[str], int]) -> JobStory | None:
    """Return the job and its attempts; None if there is no such job.

    ``partition_of`` tells the partition of a client.
    """
    job = get(db, job_id)
    if job is None:
        return None
    told = _Telling(job_id)
    partition = partition_of(job.client_id)
    after = Position.start(partition)
    room = Room(kind="photo", id=job.photo_id, client_id=None)
    while entries := room_events(db, room, partition, after, None, READ_AT_ONCE):
        for entry in entries:
            told.add(msgspec.json.decode(entry.body, type=WireEvent))
        after = entries[-1].position
    return JobStory(job=job, attempts=list(told.attempts.values()))


class _Telling:
    """Collects the attempts of one job from the events of its photo, in order."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self.attempts: dict[tuple[str, int], AttemptView] = {}

    def add(self, event: WireEvent) -> None:
        data, at = event.data, event.timestamp
        if data.get("jobId") != self._job_id:
            return
        match event.type:
            case e.PhotoUploaded.TYPE | e.ProcessingRequested.TYPE:
                stages = stages_of_job(data["pipeline"], data.get("stages"))
                for stage in ready(stages, data.get("done", ())):
                    self._queue(stage, 1, at)
            case e.ProcessingStarted.TYPE:
                self._start(at)
            case e.StageCompleted.TYPE:
                self._complete(data, at)
            case e.StageFailed.TYPE:
                self._fail(data, at)
            case e.ProcessingHurried.TYPE:
                self._hurry(at)
            case _:
                pass

    def _queue(self, stage: str, attempt: int, at: str, due_at: str | None = None) -> None:
        self.attempts[stage, attempt] = AttemptView(
            stage=stage, attempt=attempt, queued_at=at, due_at=due_at
        )

    def _start(self, at: str) -> None:
        """Note when the job began, if only one attempt can have done so."""
        if len(self.attempts) == 1:
            ((key, only),) = self.attempts.items()
            self.attempts[key] = msgspec.structs.replace(only, started_at=at)

    def _complete(self, data: dict[str, Any], at: str) -> None:
        attempt = self._attempt(data)
        started = before(at, data["durationMs"])
        self.attempts[attempt.stage, attempt.attempt] = msgspec.structs.replace(
            attempt,
            started_at=attempt.started_at or started,
            ended_at=at,
            duration_ms=data["durationMs"],
            outcome="completed",
        )
        starts = data.get("starts")
        if starts is None:
            starts = children(stages_of_job(data["pipeline"], None), attempt.stage)
        for stage in starts:
            self._queue(stage, 1, at)

    def _fail(self, data: dict[str, Any], at: str) -> None:
        attempt, next_at = self._attempt(data), data.get("retryAt")
        self.attempts[attempt.stage, attempt.attempt] = msgspec.structs.replace(
            attempt,
            ended_at=at,
            outcome="failed" if next_at is None else "retrying",
            category=Category(data["category"]),
            code=data["code"],
            error=data["error"],
            next_at=next_at,
        )
        if next_at is not None:
            self._queue(attempt.stage, attempt.attempt + 1, at, next_at)

    def _hurry(self, at: str) -> None:
        for key, attempt in self.attempts.items():
            if attempt.outcome is None and (attempt.due_at or "") > at:
                self.attempts[key] = msgspec.structs.replace(attempt, due_at=at)

    def _attempt(self, data: dict[str, Any]) -> AttemptView:
        """Return the attempt as known so far; after a stall its ``queued_at`` is unknown."""
        key = data["stage"], data["attempt"]
        return self.attempts.get(key) or AttemptView(
            stage=data["stage"], attempt=data["attempt"], queued_at=None
        )


def before(at: str, ms: int) -> str:
    """Return the time ``ms`` before ``at``."""
    return iso(datetime.fromisoformat(at) - timedelta(milliseconds=ms))


def _line(row: Row) -> JobLine:
    id_, photo_id, client_id, session_id, trace_id, pipeline, priority, *rest = row
    status, error, created_at, started_at, completed_at, original_filename = rest
    return JobLine(
        job_id=id_,
        photo_id=photo_id,
        original_filename=original_filename,
        client_id=client_id,
        session_id=session_id,
        trace_id=trace_id,
        pipeline=pipeline,
        priority=priority,
        status=status,
        error=None if error is None else msgspec.json.decode(error, type=JobError),
        created_at=created_at,
        started_at=started_at,
        completed_at=completed_at,
    )
