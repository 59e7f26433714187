"""Helpers that let domain tests read: given these events, when this command, then those."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import pytest

from domain.photo import commands as c
from domain.photo import events as e
from domain.photo.decide import decide
from domain.photo.results import Rendition
from domain.photo.state import Photo, evolve
from domain.pipeline.failures import Category
from domain.rejections import Rejected

PHOTO = "11111111-1111-4111-8111-111111111111"
JOB = "22222222-2222-4222-8222-222222222222"
SHA = "ab" * 32

UPLOAD = c.UploadPhoto(
    photo_id=PHOTO,
    job_id=JOB,
    client_id="alice",
    session_id="trip",
    original_filename="a.jpg",
    mime_type="image/jpeg",
    file_size=3,
    sha256=SHA,
    bucket="photolog",
    key=f"originals/11/{PHOTO}",
    pipeline="full_processing",
    priority=5,
)

UPLOADED = e.PhotoUploaded(
    photo_id=PHOTO,
    job_id=JOB,
    original_filename="a.jpg",
    mime_type="image/jpeg",
    file_size=3,
    sha256=SHA,
    bucket="photolog",
    key=f"originals/11/{PHOTO}",
    pipeline="full_processing",
    priority=5,
)
STARTED = e.ProcessingStarted(photo_id=PHOTO, job_id=JOB, pipeline="full_processing")
COMPLETED = e.ProcessingCompleted(photo_id=PHOTO, job_id=JOB, pipeline="full_processing")
DELETED = e.PhotoDeleted(photo_id=PHOTO)
ERASED = e.PhotoErased(photo_id=PHOTO)


def rendition(name: str) -> Rendition:
    return Rendition(
        name=name,
        key=f"renditions/11/{PHOTO}/{JOB}/{name}",
        width=150,
        height=100,
        file_size=9,
        mime_type="image/webp",
        sha256=SHA,
    )


def complete(stage: str, *renditions: Rendition) -> c.RecordStageCompleted:
    return c.RecordStageCompleted(
        photo_id=PHOTO,
        job_id=JOB,
        stage=stage,
        attempt=1,
        duration_ms=7,
        result={"stage": stage},
        renditions=renditions,
    )


def stage_completed(stage: str, *renditions: Rendition) -> e.StageCompleted:
    return e.StageCompleted(
        photo_id=PHOTO,
        job_id=JOB,
        stage=stage,
        pipeline="full_processing",
        priority=5,
        attempt=1,
        duration_ms=7,
        result={"stage": stage},
        renditions=renditions,
    )


def failed_attempt(
    stage: str = "metadata", *, attempt: int = 1, retry_at: str | None = None
) -> e.StageFailed:
    return e.StageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage=stage,
        pipeline="full_processing",
        priority=5,
        attempt=attempt,
        category=Category.TEMPORARY,
        code="blob-away",
        error="The disk is away.",
        retry_at=retry_at,
    )


def job_failed(stage: str = "metadata", *, attempts: int = 1) -> e.ProcessingFailed:
    return e.ProcessingFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage=stage,
        category=Category.TEMPORARY,
        code="blob-away",
        error="The disk is away.",
        attempts=attempts,
    )


def requested(
    pipeline: str, done: tuple[str, ...] = (), *, job_id: str = "another", priority: int = 5
) -> e.ProcessingRequested:
    return e.ProcessingRequested(
        photo_id=PHOTO, job_id=job_id, pipeline=pipeline, priority=priority, done=done
    )


def event(data: e.AnyEvent, version: int = 1) -> e.Event:
    """Return ``data`` in an envelope."""
    return e.Event(
        timestamp="2026-11-23T10:00:00.000Z",
        data=data,
        metadata=e.Metadata(
            source="test",
            client_id="alice",
            session_id="trip",
            trace_id="t",
            actor="client:alice",
            cause=None,
            version=data.VERSION,
            photo_version=version,
            prev=e.FIRST_PREV,
        ),
    )


def fold(events: Iterable[e.PhotoEvent]) -> Photo | None:
    photo = None
    for version, data in enumerate(events, start=1):
        photo = evolve(photo, event(data, version))
    return photo


def assert_readable(rejection: Rejected) -> None:
    """Check that the rejection says what is wrong and what to do, in sentences."""
    for text in (rejection.message, rejection.advice):
        assert text[:1].isupper() or text[:1].isdigit(), text
        assert text.endswith("."), text
        assert text != text.upper(), text


@dataclass
class Given:
    """``given(…).when(command).then(…)`` or ``.rejects(error)``."""

    photo: Photo | None
    command: c.PhotoCommand = field(default=UPLOAD)

    def when(self, command: c.PhotoCommand) -> Self:
        self.command = command
        return self

    def then(self, *events: e.PhotoEvent) -> None:
        assert decide(self.command, self.photo) == events

    def rejects(self, error: type[Rejected]) -> Rejected:
        with pytest.raises(error) as caught:
            decide(self.command, self.photo)
        assert_readable(caught.value)
        return caught.value


def given(*events: e.PhotoEvent) -> Given:
    return Given(fold(events))
