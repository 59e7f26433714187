"""Jobs as operators see them: find them, and follow one through its stages and attempts."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from domain.photo.commands import CancelJob, HurryJob, PrioritizeJob, RetryProcessing
from domain.photo.status import Status
from domain.pipeline.job_stages import ready
from domain.rejections import JobRunning
from gateway.commands import NO_ANSWER, execute, naming_the_log, position_header
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import operator, overseer
from gateway.http.paging import PAGE, ClientId, Cursor, Limit, SortOrder, bounded
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import allowed, only
from gateway.http.times import parse_time
from gateway.openapi.document import POSITION, OptionalBody
from gateway.queries.queue_snapshot import QueueSnapshot
from gateway.queries.reading import find
from gateway.routes.dead_letters import Priority, retry_of
from gateway.routes.queues import Reason, ReasonRequest
from projections.models import job_list
from projections.models.job_list import JobLine, JobLines, JobStory
from store.log.outcome import Appended
from store.queue import of_job
from store.queue.of_job import Sought
from store.sqlite.reader import Reader

PhotoId = Annotated[str | None, QueryParameter(name="photoId")]
SessionId = Annotated[str | None, QueryParameter(name="sessionId")]
TraceId = Annotated[
    str | None, QueryParameter(name="traceId", description="Only jobs that this request asked for.")
]
State = Annotated[Status | None, QueryParameter(name="state")]
Since = Annotated[
    str | None, QueryParameter(name="from", description="Only jobs created at this time or later.")
]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Only jobs created before this time.")
]


@get(
    "/api/ops/jobs",
    guards=[
        allowed(overseer),
        only(
            *("photoId", "clientId", "sessionId", "traceId", "state", "from", "to"),
            *("sort", "cursor", "limit", "after"),
        ),
    ],
    responses=problems(
        *("invalid-cursor", "invalid-limit", "invalid-time", "missing-token", "forbidden"),
        "read-model-behind",
    ),
    tags=["operations"],
    summary="List jobs",
)
async def list_jobs(
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: PhotoId = None,
    client_id: ClientId = None,
    session_id: SessionId = None,
    trace_id: TraceId = None,
    status: State = None,
    since: Since = None,
    until: Until = None,
    sort: SortOrder = "newest",
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> JobLines:
    """List the jobs that match all filters, newest first by default.

    Jobs of deleted photos are not listed."""
    given = {
        "photo_id": photo_id,
        "client_id": client_id,
        "session_id": session_id,
        "trace_id": trace_id,
        "status": status,
    }
    filters: dict[str, str] = {name: value for name, value in given.items() if value is not None}
    limit = bounded(limit, deps.limits.page_limit_max)
    try:
        return await reader.query(
            job_list.page,
            filters=filters,
            since=parse_time(since),
            until=parse_time(until),
            sort=sort,
            cursor=cursor,
            limit=limit,
        )
    except ValueError as error:
        raise Refused("invalid-cursor", str(error)) from error


@get(
    "/api/ops/jobs/{job_id:str}",
    guards=[allowed(overseer), only("after")],
    responses=problems("job-not-found", "missing-token", "forbidden", "read-model-behind"),
    tags=["operations"],
    summary="Get the story of a job",
)
async def job_story(
    deps: NamedDependency[Dependencies], reader: NamedDependency[Reader], job_id: FromPath[str]
) -> JobStory:
    """Return a job with each attempt of its stages: when it was queued, began and ended, and how.

    What no event tells is null."""
    found = await reader.query(job_list.story, job_id, deps.log.partition_of)
    if found is None:
        raise Refused("job-not-found", f"There is no job {job_id[:64]}.")
    return found


class RetryJobRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A null ``priority`` keeps that of the failed job."""

    priority: Priority | None = None
    reason: Reason | None = None


class PriorityRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    priority: Priority
    reason: Reason | None = None


class CancelJobRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    reason: Reason


class JobRetried(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``job_id`` is the new job; it is the same however often the request is repeated."""

    job_id: str
    photo_id: str
    position: str | None


class JobCancelled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``cancelled`` is false if the job had ended already."""

    job_id: str
    photo_id: str
    cancelled: bool
    position: str | None


class JobHurried(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``moved`` tasks were delayed, and are due now."""

    job_id: str
    photo_id: str
    moved: int
    position: str | None


class JobPrioritized(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``moved`` tasks have changed lanes, or will enter another lane when they are due.

    ``complete`` is false if one may still wait in its old lane, because 10,000 or more tasks were
    queued there before it could be found. Its job's later stages have the new priority anyway."""

    job_id: str
    photo_id: str
    priority: int
    moved: int
    complete: bool
    position: str | None


@post(
    "/api/ops/jobs/{job_id:str}/run-now",
    guards=[allowed(operator), only()],
    operation_class=OptionalBody,
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("job-not-found", "job-ended", "not-json", "missing-token", "forbidden"),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["operations"],
    summary="Run the delayed retries of a job now",
)
async def run_job_now(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    job_id: FromPath[str],
    data: JSONBody[ReasonRequest | None] = None,
) -> Response[JobHurried]:
    """Let the job's delayed tasks be due at once. Tasks that wait in their lanes are not moved.

    The history records who did so and why, unless no task was delayed."""
    story = await _story(deps, job_id)
    job = story.job
    await request.auth.still(request.user)
    position, moved = None, 0
    with naming_the_log(deps.log, NO_ANSWER):
        sought = await _sought(deps, story)
        timers = await of_job.delayed(deps.log, job.client_id, job_id, sought)
    if timers:
        command = HurryJob(photo_id=job.photo_id, job_id=job_id, reason=data and data.reason)
        position = (await execute(request, deps, command, job.client_id)).position
        with naming_the_log(deps.log, NO_ANSWER):
            moved = await of_job.run_now(deps.log, job.client_id, timers)
    snapshot.expire()
    answer = JobHurried(
        job_id=job_id, photo_id=job.photo_id, moved=moved, position=position and str(position)
    )
    return Response(answer, headers=position_header(position))


@post(
    "/api/ops/jobs/{job_id:str}/retry",
    guards=[allowed(operator), only()],
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("job-not-found", "photo-deleted", "nothing-failed", "job-running"),
        *("too-many-superseded", "log-full", "not-json", "missing-token", "forbidden"),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["operations"],
    summary="Retry a failed job",
)
async def retry_job(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    job_id: FromPath[str],
    data: JSONBody[RetryJobRequest],
) -> Response[JobRetried]:
    """Start a new job from the stage that failed. Only the last job of a photo can be retried."""
    job = await _known(deps, job_id)
    command = RetryProcessing(
        photo_id=job.photo_id,
        job_id=retry_of(job_id),
        failed_job=job_id,
        priority=data.priority,
        reason=data.reason,
    )
    outcome = await execute(request, deps, command, job.client_id)
    snapshot.expire()
    position = outcome.position
    answer = JobRetried(
        job_id=command.job_id, photo_id=job.photo_id, position=position and str(position)
    )
    return Response(answer, headers=position_header(position))


@post(
    "/api/ops/jobs/{job_id:str}/cancel",
    guards=[allowed(operator), only()],
    status_code=200,
    response_headers=[POSITION],
    responses=problems(
        *("job-not-found", "job-running", "not-json", "missing-token", "forbidden"),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["operations"],
    summary="Cancel a job",
)
async def cancel_job(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    job_id: FromPath[str],
    data: JSONBody[CancelJobRequest],
) -> Response[JobCancelled]:
    """Fail a job whose tasks wait, with the given reason; it can be retried later.

    A job of which a worker holds a task is answered with `job-running`. If a worker begins one at
    the same moment, its result is dropped."""
    job = await _known(deps, job_id)
    with naming_the_log(deps.log, NO_ANSWER):
        if held := await of_job.held(deps.log, job_id):
            raise JobRunning(
                f"A worker runs {held[0].stage} for job {job_id}.",
                advice="Wait until it has ended, or drain the stage, and cancel again.",
            )
    command = CancelJob(photo_id=job.photo_id, job_id=job_id, reason=data.reason)
    outcome = await execute(request, deps, command, job.client_id)
    snapshot.expire()
    position = outcome.position
    answer = JobCancelled(
        job_id=job_id,
        photo_id=job.photo_id,
        cancelled=isinstance(outcome, Appended),
        position=position and str(position),
    )
    return Response(answer, headers=position_header(position))


@put(
    "/api/ops/jobs/{job_id:str}/priority",
    guards=[allowed(operator), only()],
    response_headers=[POSITION],
    responses=problems(
        *("job-not-found", "job-ended", "not-json", "missing-token", "forbidden"),
        *("log-unavailable", "read-model-behind"),
    ),
    tags=["operations"],
    summary="Change the priority of a job",
)
async def prioritize_job(
    request: Asked,
    deps: NamedDependency[Dependencies],
    snapshot: NamedDependency[QueueSnapshot],
    job_id: FromPath[str],
    data: JSONBody[PriorityRequest],
) -> Response[JobPrioritized]:
    """Move the job's waiting and delayed tasks to the lanes of the priority, in one step.

    Later stages and attempts have the new priority too. A task that a worker holds goes on."""
    story = await _story(deps, job_id)
    job = story.job
    command = PrioritizeJob(
        photo_id=job.photo_id, job_id=job_id, priority=data.priority, reason=data.reason
    )
    outcome = await execute(request, deps, command, job.client_id)
    with naming_the_log(deps.log, NO_ANSWER):
        sought = await _sought(deps, story)
        moved = await of_job.prioritize(deps.log, job.client_id, job_id, data.priority, sought)
    snapshot.expire()
    position = outcome.position
    answer = JobPrioritized(
        job_id=job_id,
        photo_id=job.photo_id,
        priority=data.priority,
        moved=moved.tasks,
        complete=moved.complete,
        position=position and str(position),
    )
    return Response(answer, headers=position_header(position))


async def _sought(deps: Dependencies, story: JobStory) -> list[Sought]:
    """Return the tasks that the job has now: its stages from the log, their times from the story.

    The story may lack the last events. A stage that it lacks is sought since the job was created.
    """
    job = story.job
    photo = (await deps.log.load(job.photo_id, job.client_id)).photo
    if photo is None or photo.job.job_id != job.job_id or photo.job.ended:
        return []
    begun = {each.stage: each for each in story.attempts if each.outcome is None}
    sought: list[Sought] = []
    for stage in ready(photo.job.stages, photo.job.done):
        attempt = begun.get(stage)
        since = (attempt and attempt.queued_at) or job.created_at
        due = attempt and attempt.due_at
        sought.append(
            Sought(
                stage=stage,
                since=datetime.fromisoformat(since),
                is_retry=stage in photo.job.attempts,
                due=None if due is None else datetime.fromisoformat(due),
            )
        )
    return sought


async def _story(deps: Dependencies, job_id: str) -> JobStory:
    """Return the job's story, waiting for the read model; raises Refused, ``job-not-found``."""
    partitions = tuple(range(deps.log.partitions))
    found = await find(deps, partitions, job_list.story, job_id, deps.log.partition_of)
    if found is None:
        raise Refused("job-not-found", f"There is no job {job_id[:64]}.")
    return found


async def _known(deps: Dependencies, job_id: str) -> JobLine:
    """Return the job, waiting for the read model; raises Refused, ``job-not-found``."""
    found = await find(deps, tuple(range(deps.log.partitions)), job_list.get, job_id)
    if found is None:
        raise Refused("job-not-found", f"There is no job {job_id[:64]}.")
    return found


ROUTES = (list_jobs, job_story, run_job_now, retry_job, cancel_job, prioritize_job)
