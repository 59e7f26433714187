"""``photolog jobs``"""

from typing import Any, get_args

import anyio
import click
import msgspec

from domain.photo.status import Status
from ops.cli.options import reason_option
from ops.cli.server import as_operator
from ops.client.client import Server, connected
from ops.client.operations import Operations
from ops.client.queues import Answer
from ops.client.text_table import console, hanging, moment, table
from ops.event_format import plural, printable, say, say_json

HEADINGS = ("Created (UTC)", "Status", "Client", "Priority", "Job", "Photo", "File")

CANCELLED = "cancelled by an operator"
"""The reason of a cancelled job if none is given."""


class _Error(Answer, frozen=True, kw_only=True):
    stage: str
    code: str
    message: str


class _Job(Answer, frozen=True, kw_only=True):
    job_id: str
    photo_id: str
    original_filename: str
    client_id: str
    trace_id: str
    pipeline: str
    priority: int
    status: str
    error: _Error | None
    created_at: str
    completed_at: str | None


class _Attempt(Answer, frozen=True, kw_only=True):
    stage: str
    attempt: int
    queued_at: str | None
    started_at: str | None
    duration_ms: int | None
    outcome: str | None
    error: str | None
    next_at: str | None


class _Story(Answer, frozen=True, kw_only=True):
    job: _Job
    attempts: list[_Attempt]


@click.command()
@click.argument("job_id", metavar="[JOB_ID]", required=False)
@click.option("--photo", metavar="ID", help="Only jobs of this photo.")
@click.option("--owner", metavar="ID", help="Only jobs of this client.")
@click.option("--session", metavar="ID", help="Only jobs of this session.")
@click.option("--trace", metavar="ID", help="Only jobs that this request asked for.")
@click.option("--state", type=click.Choice(get_args(Status)), help="Only jobs in this state.")
@click.option("--from", "since", metavar="TIME", help="Only jobs created then or later.")
@click.option("--to", "until", metavar="TIME", help="Only jobs created before this time.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="List at most this many.",
)
@click.option("--run-now", is_flag=True, help="Run the delayed retries of JOB_ID now.")
@click.option("--retry", is_flag=True, help="Start a new job where JOB_ID failed.")
@click.option("--cancel", is_flag=True, help="Fail JOB_ID, whose tasks wait.")
@click.option(
    "--priority",
    type=click.IntRange(1, 10),
    help="Move the waiting tasks of JOB_ID: from 1 (first) to 10 (last). With --retry: of the new "
    "job.",
)
@reason_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: of a list, one line each.")
@as_operator
def command(
    server: Server,
    job_id: str | None,
    run_now: bool,
    retry: bool,
    cancel: bool,
    priority: int | None,
    reason: str | None,
    limit: int,
    as_json: bool,
    **given: str | None,
) -> None:
    """List jobs, or show each attempt of one; run, retry, cancel or prioritize it.

    A list has the newest jobs first, and those of all clients unless a filter says otherwise.
    """
    names = {"photo": "photoId", "owner": "clientId", "session": "sessionId", "trace": "traceId"}
    names |= {"state": "state", "since": "from", "until": "to"}
    filters = {names[name]: value for name, value in given.items()}
    wanted = _action(run_now, retry, cancel, priority, reason)
    if job_id is None and wanted is not None:
        raise click.UsageError("Name the job.")
    if job_id is not None and any(filters.values()):
        raise click.UsageError("Name a job, or filters.")

    async def run() -> list[bytes]:
        async with connected(server.url, server.token) as client:
            operations = Operations(client)
            if job_id is None:
                return [bytes(each) async for each in operations.items("jobs", limit, filters)]
            if wanted is None:
                return [await operations.job(job_id)]
            return [await operations.act_on_job(job_id, *wanted)]

    found = anyio.run(run)
    if as_json:
        for each in found:
            say_json(each)
    elif job_id is None:
        _list([msgspec.json.decode(each, type=_Job) for each in found])
    elif wanted is None:
        _tell(msgspec.json.decode(found[0], type=_Story))
    else:
        say(_done(wanted[0], msgspec.json.decode(found[0])))


def _action(
    run_now: bool, retry: bool, cancel: bool, priority: int | None, reason: str | None
) -> tuple[str, str, Any] | None:
    """Return the action, its method and its body; None if a job is only to be shown."""
    if sum((run_now, retry, cancel)) > 1 or (priority is not None and (run_now or cancel)):
        raise click.UsageError("Name one of --run-now, --retry, --cancel and --priority.")
    wish = {"priority": priority, "reason": reason}
    body = {name: value for name, value in wish.items() if value is not None}
    if run_now:
        return "run-now", "POST", body
    if cancel:
        return "cancel", "POST", {"reason": reason or CANCELLED}
    if retry:
        return "retry", "POST", body
    return None if priority is None else ("priority", "PUT", body)


def _done(action: str, answer: dict[str, Any]) -> str:
    match action:
        case "run-now":
            return f"Due now: {plural(answer['moved'], 'delayed task')}."
        case "retry":
            return f"Job {answer['jobId']} continues."
        case "cancel":
            return "Cancelled." if answer["cancelled"] else "The job has ended already."
        case _:
            left = "" if answer["complete"] else " A lane was too long to search all of it."
            return f"Priority {answer['priority']}, {plural(answer['moved'], 'task')} moved.{left}"


def _list(jobs: list[_Job]) -> None:
    if not jobs:
        say("There are no such jobs.")
        return
    console().print(table(HEADINGS, [_row(each) for each in jobs]))


def _row(job: _Job) -> tuple[str | int | None, ...]:
    named = (job.job_id, job.photo_id, job.original_filename)
    return (moment(job.created_at), job.status, job.client_id, job.priority, *named)


def _tell(story: _Story) -> None:
    job = story.job
    for name, value in (
        ("job", job.job_id),
        ("photo", job.photo_id),
        ("file", job.original_filename),
        ("client", job.client_id),
        ("pipeline", f"{job.pipeline}, priority {job.priority}"),
        ("status", job.status),
        ("created", moment(job.created_at)),
        ("ended", moment(job.completed_at)),
        ("trace", job.trace_id),
        ("error", job.error and f"{job.error.stage}: {job.error.message}"),
    ):
        if value is not None:
            say(hanging(f"{name:<9} ", printable(value)))
    rows = [
        (x.stage, x.attempt, _clock(x.queued_at), _clock(x.started_at), x.duration_ms, _end(x))
        for x in story.attempts
    ]
    console().print(table(("Stage", "Try", "Queued", "Began", "ms", "Outcome"), rows))


def _clock(time: str | None) -> str | None:
    return None if time is None else time[11:23]


def _end(attempt: _Attempt) -> str:
    next_at = moment(attempt.next_at)
    again = f"again at {next_at}" if next_at else None
    parts = (attempt.outcome or "not ended", attempt.error, again)
    return ", ".join(each for each in parts if each)
