"""The status of a photo: how far the processing by its last job has come.

The state of a job and the job's last event of ``STATUS_AFTER`` always give the same status.
"""

from typing import Literal

from domain.photo import events as e
from domain.photo.state import Job

Status = Literal["queued", "processing", "completed", "failed"]

STATUS_AFTER: dict[type[e.AnyEvent], Status] = {
    e.PhotoUploaded: "queued",
    e.ProcessingRequested: "queued",
    e.ProcessingStarted: "processing",
    e.ProcessingCompleted: "completed",
    e.ProcessingFailed: "failed",
}
"""The events that change the status, and the status after each."""


def status_of(job: Job) -> Status:
    """Return the status of a photo whose last job this is."""
    if job.ended:
        return "failed" if job.failed else "completed"
    return "processing" if job.started else "queued"
