"""A photo's state, and how events change it.

``evolve`` folds one event into the state and never rejects one: what is in the log has happened.
"""

from typing import assert_never

import msgspec

from domain.photo import events as e
from domain.photo import holdings
from domain.photo.holdings import Holding
from domain.pipeline.job_stages import JobStages, stages_of_job
from domain.pipeline.stages import BACKFILL
from domain.sessions.events import SessionData
from domain.system_events import SystemData


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a pipeline over the photo.

    ``attempts`` is the last failed attempt, by stage; ``recorded`` are the stages that the job's
    first event has.
    """

    job_id: str
    pipeline: str
    priority: int
    started: bool = False
    done: frozenset[str] = frozenset()
    attempts: dict[str, int] = {}
    ended: bool = False
    failed: bool = False
    discarded: bool = False
    recorded: JobStages | None = None

    @property
    def stages(self) -> JobStages:
        """The stages of the job, which all versions agree on."""
        return stages_of_job(self.pipeline, self.recorded)


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a photo that the rules need; queries use the read models.

    ``holding`` has the photo's files; ``finished`` are the stages that any job has done;
    ``backfills`` are the jobs of its backfills; ``restorations`` counts how often its original was
    restored; ``last_modified_ms`` is when the client's file was changed, if the client has said so.
    A state that an older version has stored lacks ``original_filename`` until a backfill brings it.
    """

    photo_id: str
    client_id: str
    session_id: str | None
    sha256: str
    file_size: int
    mime_type: str
    job: Job
    holding: Holding
    finished: frozenset[str] = frozenset()
    backfills: frozenset[str] = frozenset()
    restorations: int = 0
    original_filename: str | None = None
    last_modified_ms: int | None = None

    @property
    def keys(self) -> dict[str, str]:
        """The keys of the current files, by rendition name."""
        return self.holding.keys

    @property
    def deleted(self) -> bool:
        return self.holding.deleted

    @property
    def erased(self) -> bool:
        return self.holding.erased


JobEvent = (
    e.ProcessingRequested
    | e.ProcessingPrioritized
    | e.ProcessingHurried
    | e.ProcessingStarted
    | e.StageCompleted
    | e.StageFailed
    | e.ProcessingCompleted
    | e.ProcessingFailed
    | e.ProcessingDiscarded
)


_OF_NO_PHOTO = SystemData, SessionData


def evolve(photo: Photo | None, event: e.Event) -> Photo:
    """Return the state after ``event``.

    Raises:
        TypeError: the event concerns the system or a session, not a photo.
        ValueError: the history does not begin with ``photo.uploaded``.
    """
    data = event.data
    if isinstance(data, _OF_NO_PHOTO):
        raise TypeError(f"{event.type} concerns no photo")
    if isinstance(data, e.PhotoUploaded):
        return Photo(
            photo_id=data.photo_id,
            client_id=event.metadata.client_id,
            session_id=event.metadata.session_id,
            sha256=data.sha256,
            file_size=data.file_size,
            mime_type=data.mime_type,
            job=Job(
                job_id=data.job_id,
                pipeline=data.pipeline,
                priority=data.priority,
                recorded=data.stages,
            ),
            holding=holdings.begin(data),
            original_filename=data.original_filename,
            last_modified_ms=data.last_modified_ms,
        )
    if photo is None:
        raise ValueError(f"{event.type} before photo.uploaded")
    replace = msgspec.structs.replace
    holding = holdings.evolve(photo.holding, data)
    if holding is not photo.holding:
        photo = replace(photo, holding=holding)
    match data:
        case e.StageCompleted():
            finished = photo.finished | {data.stage}
            return replace(photo, job=_evolve_job(photo.job, data), finished=finished)
        case e.ProcessingRequested() if data.pipeline.startswith(BACKFILL):
            return replace(
                photo,
                job=_evolve_job(photo.job, data),
                backfills=photo.backfills | {data.job_id},
                original_filename=photo.original_filename or data.original_filename,
            )
        case e.OriginalRestored():
            return replace(photo, restorations=photo.restorations + 1)
        case (
            e.ThumbnailGenerated()
            | e.RenditionsSuperseded()
            | e.RenditionsRemoved()
            | e.PhotoDeleted()
            | e.PhotoErased()
        ):
            return photo
        case _:
            return replace(photo, job=_evolve_job(photo.job, data))


def _evolve_job(job: Job, data: JobEvent) -> Job:
    replace = msgspec.structs.replace
    match data:
        case e.ProcessingRequested():
            return Job(
                job_id=data.job_id,
                pipeline=data.pipeline,
                priority=data.priority,
                done=frozenset(data.done),
                recorded=data.stages,
            )
        case e.ProcessingPrioritized():
            return replace(job, priority=data.priority)
        case e.ProcessingHurried():
            return job
        case e.ProcessingStarted():
            return replace(job, started=True)
        case e.StageCompleted():
            return replace(job, done=job.done | {data.stage})
        case e.StageFailed():
            return replace(job, attempts={**job.attempts, data.stage: data.attempt})
        case e.ProcessingCompleted():
            return replace(job, ended=True)
        case e.ProcessingFailed():
            return replace(job, ended=True, failed=True)
        case e.ProcessingDiscarded():
            return replace(job, discarded=True)
        case _:
            assert_never(data)


def is_current(photo: Photo, job_id: str, stage: str, attempt: int) -> bool:
    """Return whether this attempt is still expected; if not, its result would change nothing."""
    job = photo.job
    if photo.deleted or job.job_id != job_id or job.ended or stage in job.done:
        return False
    return attempt > job.attempts.get(stage, 0)


def is_at_rest(photo: Photo) -> bool:
    """Return whether no task of the photo is left: only a new command changes it."""
    if photo.deleted:
        return photo.erased
    awaited = any(each.remove_at is not None for each in photo.holding.superseded.values())
    return photo.job.ended and not awaited
