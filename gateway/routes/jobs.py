"""Jobs: one run of a pipeline over a photo."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.dependencies import Asked
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from projections.models import jobs
from projections.models.jobs import JobView
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


ROUTES = (one_job,)
