"""The events of a photo, and the envelope in which the log stores every event.

Names and meanings never change once stored. ``TYPE`` is the name on the wire and in the log; it is
an explicit string, so renaming a class changes no stored byte. A changed meaning needs a new
``version`` in the metadata and an upcaster.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

import msgspec

from domain.clients.api_keys import ApiKeyEvent
from domain.clients.quotas import QuotaEvent
from domain.clients.revocations import AccessRevoked
from domain.photo.results import Rendition
from domain.pipeline.control_events import PipelineEvent
from domain.pipeline.failures import Category
from domain.pipeline.job_stages import JobStages
from domain.pipeline.rebuilds import RebuildEvent
from domain.pipeline.recoveries import LogRecovered
from domain.sessions.events import SessionEvent
from domain.webhooks.events import WebhookEvent

FIRST_PREV = "0" * 64
"""``prev`` of a photo's first event, which has no predecessor."""


class Data(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The base of all events of a photo. Every event names its photo.

    Events are out of the garbage collector's reach, because their parts make no cycles: with many
    in memory, it would spend a third of the time to read them on looking through them.
    """

    TYPE: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    photo_id: str


class PhotoUploaded(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The original is durable under ``key``; job ``job_id`` will process it.

    ``last_modified_ms`` is when the client's file was changed, in milliseconds since 1970 (UTC);
    None if the client did not say. ``stages`` are those of the job, as
    ``domain.pipeline.job_stages`` records them.
    """

    TYPE: ClassVar[str] = "photo.uploaded"

    job_id: str
    original_filename: str
    mime_type: str
    file_size: int
    sha256: str
    bucket: str
    key: str
    pipeline: str
    priority: int
    last_modified_ms: int | None = None
    stages: JobStages | None = None


class ProcessingRequested(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The pipeline is to run again, as job ``job_id``, without the stages that are ``done``.

    ``original_filename`` repeats that of the upload for a photo whose state lacks it. ``stages``
    are those of the job, including what is ``done``. ``reason`` is that of the operator who asked
    for it.
    """

    TYPE: ClassVar[str] = "photo.processing.requested"

    job_id: str
    pipeline: str
    priority: int
    done: tuple[str, ...] = ()
    original_filename: str | None = None
    stages: JobStages | None = None
    reason: str | None = None


class ProcessingPrioritized(Data, frozen=True, kw_only=True, omit_defaults=True):
    """An operator has changed the priority of the job: of what waits, and of what follows."""

    TYPE: ClassVar[str] = "photo.processing.prioritized"

    job_id: str
    priority: int
    reason: str | None = None


class ProcessingHurried(Data, frozen=True, kw_only=True, omit_defaults=True):
    """An operator has let the delayed retries of the job be due at once."""

    TYPE: ClassVar[str] = "photo.processing.hurried"

    job_id: str
    reason: str | None = None


class ProcessingStarted(Data, frozen=True, kw_only=True):
    """The first stage of the job has begun."""

    TYPE: ClassVar[str] = "photo.processing.started"

    job_id: str
    pipeline: str


class ThumbnailGenerated(Data, frozen=True, kw_only=True):
    """``size`` is the requested longest edge; the rendition may be smaller, never larger."""

    TYPE: ClassVar[str] = "photo.thumbnail.generated"

    job_id: str
    size: int
    thumbnail: Rendition


class StageCompleted(Data, frozen=True, kw_only=True):
    """A stage succeeded. ``result`` is the stage's own Struct as a plain object.

    ``starts`` names the stages that this one starts, if the job's first event records its stages.

    Version 2 added facts to the result of the metadata stage; ``takenAtSource`` is one of them.
    """

    TYPE: ClassVar[str] = "photo.processing.stage.completed"
    VERSION: ClassVar[str] = "2"

    job_id: str
    stage: str
    pipeline: str
    priority: int
    attempt: int
    duration_ms: int
    result: dict[str, Any]
    renditions: tuple[Rendition, ...] = ()
    starts: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class StageFailed(Data, frozen=True, kw_only=True):
    """One attempt of a stage failed. ``retry_at`` is the time of the next one, if there is one."""

    TYPE: ClassVar[str] = "photo.processing.stage.failed"

    job_id: str
    stage: str
    pipeline: str
    priority: int
    attempt: int
    category: Category
    code: str
    error: str
    retry_at: str | None = None


class ProcessingCompleted(Data, frozen=True, kw_only=True):
    """All stages of the job are done."""

    TYPE: ClassVar[str] = "photo.processing.completed"

    job_id: str
    pipeline: str


class ProcessingFailed(Data, frozen=True, kw_only=True):
    """The job has failed for good: this event is the dead letter."""

    TYPE: ClassVar[str] = "photo.processing.failed"

    job_id: str
    stage: str
    category: Category
    code: str
    error: str
    attempts: int


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A file under ``key`` in the blob store; ``file_size`` in bytes."""

    key: str
    file_size: int


class RenditionsSuperseded(Data, frozen=True, kw_only=True):
    """Job ``job_id`` has replaced these renditions. They stay stored until ``remove_at``, because
    readers may still have links to them; without it they stay until an operator removes them.
    """

    TYPE: ClassVar[str] = "photo.renditions.superseded"

    job_id: str
    files: tuple[StoredFile, ...]
    remove_at: str | None


class RenditionsRemoved(Data, frozen=True, kw_only=True):
    """These superseded renditions are no longer stored."""

    TYPE: ClassVar[str] = "photo.renditions.removed"

    files: tuple[StoredFile, ...]


class OriginalRestored(Data, frozen=True, kw_only=True):
    """The original was missing or altered, and a client has sent its bytes again: they are durable
    under ``key``.
    """

    TYPE: ClassVar[str] = "photo.original.restored"

    key: str
    file_size: int
    sha256: str
    cause: Literal["missing", "altered"]


class ProcessingDiscarded(Data, frozen=True, kw_only=True):
    """An operator has closed the failed job without a retry."""

    TYPE: ClassVar[str] = "photo.processing.discarded"

    job_id: str
    reason: str


class PhotoDeleted(Data, frozen=True, kw_only=True):
    """Readers no longer see the photo; its files are erased next."""

    TYPE: ClassVar[str] = "photo.deleted"


class PhotoErased(Data, frozen=True, kw_only=True):
    """Every file of the photo has been removed."""

    TYPE: ClassVar[str] = "photo.erased"


PhotoEvent = (
    PhotoUploaded
    | ProcessingRequested
    | ProcessingPrioritized
    | ProcessingHurried
    | ProcessingStarted
    | ThumbnailGenerated
    | StageCompleted
    | StageFailed
    | ProcessingCompleted
    | ProcessingFailed
    | ProcessingDiscarded
    | RenditionsSuperseded
    | RenditionsRemoved
    | OriginalRestored
    | PhotoDeleted
    | PhotoErased
)

AnyEvent = (
    PhotoEvent
    | SessionEvent
    | PipelineEvent
    | RebuildEvent
    | LogRecovered
    | QuotaEvent
    | AccessRevoked
    | ApiKeyEvent
    | WebhookEvent
)

EVENT_TYPES: dict[str, type[AnyEvent]] = {cls.TYPE: cls for cls in get_args(AnyEvent)}


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The actor and cause of an event, and its link to the event before it.

    ``prev`` is the SHA-256, in hex, of the stored bytes of the photo's previous event, which makes
    a photo's history a hash chain. ``cause`` is the position of the event that led to this one.
    The events of a session are chained in the same way, and so are those of the system, with
    ``OF_NO_PHOTO`` as their client.
    """

    source: str
    client_id: str
    session_id: str | None
    trace_id: str
    actor: str
    cause: str | None
    version: str = "1"
    photo_version: int
    prev: str


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the log. ``timestamp`` is when it was decided; positions give the order."""

    timestamp: str
    data: AnyEvent
    metadata: Metadata

    @property
    def type(self) -> str:
        return self.data.TYPE


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances of a command, from outside: its actor, its cause and the current time."""

    now: datetime
    source: str
    actor: str
    trace_id: str
    cause: str | None = None
