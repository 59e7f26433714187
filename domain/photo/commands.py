"""Commands on a photo. A command brings every id that its events need; the rules generate none."""

from typing import Any, Literal

import msgspec

from domain.photo.results import Rendition
from domain.pipeline.failures import Category

FIRST_MODIFIED_MS, LAST_MODIFIED_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999, in milliseconds since 1970 (UTC): when a file can have been changed."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all commands on a photo."""

    photo_id: str


class UploadPhoto(Command, frozen=True, kw_only=True):
    """Record an original that is already durable in the blob store.

    ``last_modified_ms`` is when the client's file was changed, in milliseconds since 1970 (UTC).
    """

    job_id: str
    client_id: str
    session_id: str | None
    original_filename: str
    mime_type: str
    file_size: int
    sha256: str
    bucket: str
    key: str
    pipeline: str
    priority: int
    last_modified_ms: int | None = None


class RequestProcessing(Command, frozen=True, kw_only=True):
    """Run a pipeline over the photo again, as job ``job_id``."""

    job_id: str
    pipeline: str
    priority: int


class RetryProcessing(Command, frozen=True, kw_only=True):
    """Continue a failed job as job ``job_id``, without the stages that are done.

    ``unless_discarded`` is for photos that were selected rather than named: someone may have
    discarded one of their failures in the meantime. With ``failed_job`` nothing but this job is
    retried.
    """

    job_id: str
    failed_job: str | None = None
    priority: int | None = None
    unless_discarded: bool = False
    reason: str | None = None


class BackfillStage(Command, frozen=True, kw_only=True):
    """Run a stage, and the stages that build on it, over an existing photo.

    ``original_filename`` is for a photo whose state an older version stored without it.
    """

    job_id: str
    stage: str
    original_filename: str | None = None
    reason: str | None = None


class PrioritizeJob(Command, frozen=True, kw_only=True):
    """Give the job another priority, for what waits and what follows, while it has not ended."""

    job_id: str
    priority: int
    reason: str | None = None


class HurryJob(Command, frozen=True, kw_only=True):
    """Let the delayed retries of the job be due at once, while it has not ended."""

    job_id: str
    reason: str | None = None


class CancelJob(Command, frozen=True, kw_only=True):
    """End the job before its next attempt, for ``reason``; it can be retried later."""

    job_id: str
    reason: str


class DiscardFailure(Command, frozen=True, kw_only=True):
    """Close a failed job without a retry, for ``reason``; the photo keeps its original."""

    reason: str


class StartProcessing(Command, frozen=True, kw_only=True):
    """Record that the first stage of the job has begun."""

    job_id: str


class RecordStageCompleted(Command, frozen=True, kw_only=True):
    """Record a stage's result. ``remove_at`` is when the renditions it replaces may be removed."""

    job_id: str
    stage: str
    attempt: int
    duration_ms: int
    result: dict[str, Any]
    renditions: tuple[Rendition, ...] = ()
    remove_at: str | None = None


class RecordStageFailed(Command, frozen=True, kw_only=True):
    """Record a failed attempt of a stage. Without ``retry_at`` the job ends.

    The caller sets ``retry_at``, because it knows the clock and the retry rules. ``begun`` is false
    if no worker ever began the attempt, which then does not count as one.
    """

    job_id: str
    stage: str
    attempt: int
    category: Category
    code: str
    error: str
    retry_at: str | None = None
    begun: bool = True


class DeletePhoto(Command, frozen=True, kw_only=True):
    """Hide the photo from its readers; its files are erased afterwards."""


class RecordRenditionsRemoved(Command, frozen=True, kw_only=True):
    """Record that superseded renditions were removed. Other keys are ignored."""

    keys: tuple[str, ...]


class RecordOriginalRestored(Command, frozen=True, kw_only=True):
    """Record that a missing or altered original is stored again with its bytes.

    ``number`` counts the restorations of the photo from 1, so that each is recorded once.
    """

    cause: Literal["missing", "altered"]
    number: int


class RecordErased(Command, frozen=True, kw_only=True):
    """Record that every file of a deleted photo was removed."""


PhotoCommand = (
    UploadPhoto
    | RequestProcessing
    | RetryProcessing
    | BackfillStage
    | PrioritizeJob
    | HurryJob
    | CancelJob
    | DiscardFailure
    | StartProcessing
    | RecordStageCompleted
    | RecordStageFailed
    | DeletePhoto
    | RecordRenditionsRemoved
    | RecordOriginalRestored
    | RecordErased
)
