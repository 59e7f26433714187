"""What may be asked of a photo. A command brings every id it needs; the rules draw none."""

from typing import Any, Literal

import msgspec

from domain.photo.results import Rendition
from domain.pipeline.failures import Category


class Command(msgspec.Struct, frozen=True, kw_only=True):
    photo_id: str


class UploadPhoto(Command, frozen=True, kw_only=True):
    """Record an original that is already durable in the blob store."""

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


class RequestProcessing(Command, frozen=True, kw_only=True):
    """Run a pipeline again."""

    job_id: str
    pipeline: str
    priority: int


class RetryProcessing(Command, frozen=True, kw_only=True):
    """Go on with a job that failed, as job ``job_id``: what it has done is not done again.

    ``unless_discarded`` is for photos that nobody has named: one may have been put aside meanwhile.
    """

    job_id: str
    priority: int | None = None
    unless_discarded: bool = False


class BackfillStage(Command, frozen=True, kw_only=True):
    """Run a stage, and those that build on it, over a photo that is there already."""

    job_id: str
    stage: str


class DiscardFailure(Command, frozen=True, kw_only=True):
    """Leave a failed job as it is, and say why; the photo keeps its original."""

    reason: str


class StartProcessing(Command, frozen=True, kw_only=True):
    job_id: str


class RecordStageCompleted(Command, frozen=True, kw_only=True):
    """``remove_at`` is when the renditions that these replace may be removed."""

    job_id: str
    stage: str
    attempt: int
    duration_ms: int
    result: dict[str, Any]
    renditions: tuple[Rendition, ...] = ()
    remove_at: str | None = None


class RecordStageFailed(Command, frozen=True, kw_only=True):
    """``retry_at`` is set by who knows the clock and the retry rules; without it the job ends.

    ``begun`` is false where nobody ever began the attempt: it does not count as one.
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
    pass


class RecordRenditionsRemoved(Command, frozen=True, kw_only=True):
    """Record that superseded renditions are gone. Keys that are not superseded are left out."""

    keys: tuple[str, ...]


class RecordOriginalRestored(Command, frozen=True, kw_only=True):
    """Record that the original is stored again with its bytes, after it was missing or altered.

    ``number`` counts the restorations of the photo from 1, so that each is recorded once.
    """

    cause: Literal["missing", "altered"]
    number: int


class RecordErased(Command, frozen=True, kw_only=True):
    pass


PhotoCommand = (
    UploadPhoto
    | RequestProcessing
    | RetryProcessing
    | BackfillStage
    | DiscardFailure
    | StartProcessing
    | RecordStageCompleted
    | RecordStageFailed
    | DeletePhoto
    | RecordRenditionsRemoved
    | RecordOriginalRestored
    | RecordErased
)
