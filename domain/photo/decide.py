"""Decide which events a command on a photo leads to.

Every function here returns those events; the empty tuple means "already so".
"""

from typing import assert_never

from msgspec import UNSET

from domain.photo import commands as c
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.state import Photo, is_current
from domain.pipeline.failures import Category
from domain.pipeline.job_stages import (
    JobStages,
    ancestors,
    children,
    ready,
    stages_to_record,
)
from domain.pipeline.stages import (
    BACKFILL,
    LEAST_PRIORITY,
    ROOT,
    TREE,
    check,
    check_priority,
    check_stage,
)
from domain.rejections import (
    JobEnded,
    JobFailed,
    JobRunning,
    NothingFailed,
    PhotoExists,
    PhotoIsDeleted,
    PhotoNotFound,
    TooManySuperseded,
)

CANCELLED = "cancelled"
"""The code of jobs that an operator has cancelled."""

SUPERSEDED_MAX = 200
"""The most superseded renditions of one photo, since they are part of its state. At this number
the photo is not processed again until some are removed."""


def decide(  # noqa: C901 # one case a command
    command: c.PhotoCommand, photo: Photo | None
) -> tuple[e.PhotoEvent, ...]:
    """Return the events that ``command`` leads to, given the photo's state.

    Raises:
        Rejected: a rule says no.
    """
    if isinstance(command, c.UploadPhoto):
        return _upload(command, photo)
    if photo is None:
        raise PhotoNotFound(
            f"There is no photo {command.photo_id}.",
            advice="Check the id against the list of your photos.",
        )
    match command:
        case c.RequestProcessing():
            return _request(command, photo)
        case c.RetryProcessing():
            return _retry(command, photo)
        case c.BackfillStage():
            return _backfill(command, photo)
        case c.PrioritizeJob():
            return _prioritize(command, photo)
        case c.HurryJob():
            return _hurry(command, photo)
        case c.CancelJob():
            return _cancel(command, photo)
        case c.DiscardFailure():
            return _discard(command, photo)
        case c.StartProcessing():
            return _start(command, photo)
        case c.RecordStageCompleted():
            return _complete_stage(command, photo)
        case c.RecordStageFailed():
            return _fail_stage(command, photo)
        case c.DeletePhoto():
            return () if photo.deleted else (e.PhotoDeleted(photo_id=photo.photo_id),)
        case c.RecordRenditionsRemoved():
            return holdings.remove(photo.holding, photo.photo_id, command.keys)
        case c.RecordOriginalRestored():
            return _restore(command, photo)
        case c.RecordErased():
            return _erase(photo)
        case _:
            assert_never(command)


def _upload(command: c.UploadPhoto, photo: Photo | None) -> tuple[e.PhotoEvent, ...]:
    if photo is not None and photo.keys["original"] == command.key:
        return ()
    if photo is not None:
        raise PhotoExists(
            f"Photo {command.photo_id} already exists.", advice="Upload the file under a new id."
        )
    check(command.pipeline, command.priority)
    return (
        e.PhotoUploaded(
            photo_id=command.photo_id,
            job_id=command.job_id,
            original_filename=command.original_filename,
            mime_type=command.mime_type,
            file_size=command.file_size,
            sha256=command.sha256,
            bucket=command.bucket,
            key=command.key,
            pipeline=command.pipeline,
            priority=command.priority,
            last_modified_ms=command.last_modified_ms,
            stages=stages_to_record(command.pipeline),
        ),
    )


def _request(command: c.RequestProcessing, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    check(command.pipeline, command.priority)
    stages = stages_to_record(command.pipeline)
    return _begin(photo, command.job_id, command.pipeline, command.priority, stages)


def _retry(command: c.RetryProcessing, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    job = photo.job
    priority = job.priority if command.priority is None else command.priority
    check_priority(priority)
    if command.failed_job is not None and job.job_id not in (command.failed_job, command.job_id):
        raise NothingFailed(
            f"Job {command.failed_job} is not the last job of photo {photo.photo_id}.",
            advice="Only the last job of a photo can be retried.",
        )
    if job.ended and not job.failed and job.job_id != command.job_id:
        raise NothingFailed(
            f"The last job of photo {photo.photo_id} did not fail.",
            advice="Reprocess the photo to run its pipeline again.",
        )
    if job.discarded and command.unless_discarded:
        raise NothingFailed(
            f"The failure of photo {photo.photo_id} was discarded.",
            advice="To retry it anyway, name the photo by its id.",
        )
    # The stages of the failed job: this version may not know all of them.
    return _begin(
        *(photo, command.job_id, job.pipeline, priority, job.recorded),
        done=job.done,
        reason=command.reason,
    )


def _backfill(command: c.BackfillStage, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    """Request a backfill once, however often the same job is requested and whatever followed it."""
    check_stage(command.stage)
    if command.job_id in photo.backfills:
        return ()
    job = photo.job
    # A new job would hide the dead letter of a failed one.
    if job.failed and not job.discarded and not photo.deleted:
        raise JobFailed(
            f"The last job of photo {photo.photo_id} failed.", advice="Retry or discard it first."
        )
    before = ancestors(TREE, command.stage)
    done = photo.finished & before
    if job.discarded and done != before:  # what was discarded stays so
        raise JobFailed(
            f"The job of photo {photo.photo_id} was discarded before {command.stage} could run.",
            advice="Reprocess the photo to run its pipeline again.",
        )
    pipeline = BACKFILL + command.stage
    return _begin(
        *(photo, command.job_id, pipeline, LEAST_PRIORITY, stages_to_record(pipeline)),
        done=done,
        filename=command.original_filename if photo.original_filename is None else None,
        reason=command.reason,
    )


def _begin(
    photo: Photo,
    job_id: str,
    pipeline: str,
    priority: int,
    stages: JobStages | None,
    *,
    done: frozenset[str] = frozenset(),
    filename: str | None = None,
    reason: str | None = None,
) -> tuple[e.PhotoEvent, ...]:
    if photo.deleted:
        raise PhotoIsDeleted(f"Photo {photo.photo_id} was deleted.", advice="Upload it again.")
    if photo.job.job_id == job_id:
        return ()
    if not photo.job.ended:
        raise JobRunning(
            f"Job {photo.job.job_id} of this photo has not ended.", advice="Wait for it to end."
        )
    if len(photo.holding.superseded) >= SUPERSEDED_MAX:
        raise TooManySuperseded(
            f"Photo {photo.photo_id} has {SUPERSEDED_MAX} superseded renditions, the most allowed.",
            advice="Try again later: superseded renditions are removed after a while.",
        )
    return (
        e.ProcessingRequested(
            photo_id=photo.photo_id,
            job_id=job_id,
            pipeline=pipeline,
            priority=priority,
            done=tuple(sorted(done)),
            original_filename=filename,
            stages=stages,
            reason=reason,
        ),
    )


def _prioritize(command: c.PrioritizeJob, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    check_priority(command.priority)
    job = photo.job
    if not _goes_on(photo, command.job_id):
        raise JobEnded(
            f"Job {command.job_id} has ended.", advice="Retry it with another priority instead."
        )
    if job.priority == command.priority:
        return ()
    return (
        e.ProcessingPrioritized(
            photo_id=photo.photo_id,
            job_id=job.job_id,
            priority=command.priority,
            reason=command.reason,
        ),
    )


def _hurry(command: c.HurryJob, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    if not _goes_on(photo, command.job_id):
        raise JobEnded(f"Job {command.job_id} has ended.", advice="Retry it instead.")
    return (
        e.ProcessingHurried(photo_id=photo.photo_id, job_id=command.job_id, reason=command.reason),
    )


def _goes_on(photo: Photo, job_id: str) -> bool:
    return not photo.deleted and photo.job.job_id == job_id and not photo.job.ended


def _cancel(command: c.CancelJob, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    job = photo.job
    if not _goes_on(photo, command.job_id):
        return ()
    stage = next(iter(ready(job.stages, job.done)), ROOT)
    failed = c.RecordStageFailed(
        photo_id=photo.photo_id,
        job_id=job.job_id,
        stage=stage,
        attempt=job.attempts.get(stage, 0) + 1,
        category=Category.CONFIGURATION,
        code=CANCELLED,
        error=command.reason,
        begun=False,
    )
    return _fail_stage(failed, photo)


def _discard(command: c.DiscardFailure, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    job = photo.job
    if photo.deleted or job.discarded:
        return ()
    if not job.failed:
        raise NothingFailed(
            f"The last job of photo {photo.photo_id} did not fail.",
            advice="There is nothing to discard.",
        )
    return (
        e.ProcessingDiscarded(photo_id=photo.photo_id, job_id=job.job_id, reason=command.reason),
    )


def _start(command: c.StartProcessing, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    job = photo.job
    if photo.deleted or job.job_id != command.job_id or job.started or job.ended:
        return ()
    return (e.ProcessingStarted(photo_id=photo.photo_id, job_id=job.job_id, pipeline=job.pipeline),)


def _complete_stage(command: c.RecordStageCompleted, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    if not is_current(photo, command.job_id, command.stage, command.attempt):
        return ()
    job = photo.job
    thumbnails = [r for r in command.renditions if r.name.startswith("thumbnail-")]
    events: list[e.PhotoEvent] = [
        e.ThumbnailGenerated(
            photo_id=photo.photo_id,
            job_id=job.job_id,
            size=int(rendition.name.removeprefix("thumbnail-")),
            thumbnail=rendition,
        )
        for rendition in thumbnails
    ]
    events.append(
        e.StageCompleted(
            photo_id=photo.photo_id,
            job_id=job.job_id,
            stage=command.stage,
            pipeline=job.pipeline,
            priority=job.priority,
            attempt=command.attempt,
            duration_ms=command.duration_ms,
            result=command.result,
            renditions=tuple(r for r in command.renditions if r not in thumbnails),
            starts=UNSET if job.recorded is None else children(job.stages, command.stage),
        )
    )
    events += holdings.supersede(photo.holding, command)
    if job.done | {command.stage} >= job.stages.keys():
        events.append(
            e.ProcessingCompleted(photo_id=photo.photo_id, job_id=job.job_id, pipeline=job.pipeline)
        )
    return tuple(events)


def _fail_stage(command: c.RecordStageFailed, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    if not is_current(photo, command.job_id, command.stage, command.attempt):
        return ()
    job = photo.job
    failed = e.StageFailed(
        photo_id=photo.photo_id,
        job_id=job.job_id,
        stage=command.stage,
        pipeline=job.pipeline,
        priority=job.priority,
        attempt=command.attempt,
        category=command.category,
        code=command.code,
        error=command.error,
        retry_at=command.retry_at,
    )
    if command.retry_at is not None:
        return (failed,)
    return (
        failed,
        e.ProcessingFailed(
            photo_id=photo.photo_id,
            job_id=job.job_id,
            stage=command.stage,
            category=command.category,
            code=command.code,
            error=command.error,
            attempts=command.attempt if command.begun else command.attempt - 1,
        ),
    )


def _restore(command: c.RecordOriginalRestored, photo: Photo) -> tuple[e.PhotoEvent, ...]:
    if photo.deleted or photo.restorations >= command.number:
        return ()
    return (
        e.OriginalRestored(
            photo_id=photo.photo_id,
            key=photo.keys["original"],
            file_size=photo.file_size,
            sha256=photo.sha256,
            cause=command.cause,
        ),
    )


def _erase(photo: Photo) -> tuple[e.PhotoEvent, ...]:
    if photo.erased or not photo.deleted:
        return ()
    return (e.PhotoErased(photo_id=photo.photo_id),)
