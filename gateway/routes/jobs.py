"""Jobs (one run of a pipeline over a photo) and upload sessions."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dependencies import Asked
from gateway.http.auth import Role
from gateway.http.paging import ClientId
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from projections.models import jobs, sessions
from projections.models.jobs import JobView
from projections.models.sessions import SessionView
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader


@get(
    "/api/jobs/{job_id:str}",
    guards=[only("after")],
    responses=problems("job-not-found", "missing-token", "read-model-behind"),
    tags=["jobs"],
    summary="Get a job",
)
async def one_job(
    request: Asked, reader: NamedDependency[Reader], job_id: FromPath[str]
) -> JobView:
    """Return one run of a pipeline over a photo: its stages and their progress."""
    job = await reader.query(jobs.get, job_id)
    trespass = job is not None and not request.user.may_see(job.client_id)
    if job is None or trespass:
        raise Refused("job-not-found", f"There is no job {job_id[:64]}.", trespass=trespass)
    return job


@get(
    "/api/sessions/{session_id:path}",
    guards=[only("clientId", "after")],
    responses=problems(
        *("session-not-found", "ambiguous-session", "missing-token", "read-model-behind")
    ),
    tags=["jobs"],
    summary="Get an upload session",
)
async def one_session(
    request: Asked,
    reader: NamedDependency[Reader],
    session_id: FromPath[str],
    client_id: ClientId = None,
) -> SessionView:
    """Count the photos of a session: queued, processing, completed and failed.

    Operators and auditors add `clientId` if several clients use the same session id."""
    # A path parameter may contain any character and starts with the slash before it.
    session_id = session_id.removeprefix("/")
    whose = request.user.client_id if request.user.role is Role.CLIENT else client_id
    found = await reader.query(_sessions, session_id, whose)
    if not found:
        raise Refused("session-not-found", f"There is no session {session_id[:64]!r}.")
    if len(found) > 1:
        raise Refused("ambiguous-session", f"{len(found)} clients have a session with this id.")
    return found[0]


def _sessions(db: Connection, session_id: str, client_id: str | None) -> list[SessionView]:
    if client_id is None:
        return sessions.find(db, session_id)
    session = sessions.get(db, client_id, session_id)
    return [session] if session else []


ROUTES = (one_job, one_session)
