"""What a photo counts towards quotas, and how renditions are superseded and removed."""

import msgspec
import pytest

from domain.clients.usage import Usage
from domain.photo import commands as c
from domain.photo import events as e
from domain.photo.decide import SUPERSEDED_MAX
from domain.photo.plan import plan
from domain.photo.results import Rendition
from domain.photo.state import Photo
from domain.pipeline.stages import ERASURE
from domain.rejections import TooManySuperseded
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    ERASED,
    JOB,
    PHOTO,
    STARTED,
    UPLOADED,
    complete,
    event,
    fold,
    given,
    job_failed,
    rendition,
    requested,
    stage_completed,
)

DUE = "2026-11-23T11:00:00.000Z"
LATER = "2026-11-23T12:00:00.000Z"


def made_by(job_id: str, size: int = 7, name: str = "optimized") -> Rendition:
    key = f"renditions/11/{PHOTO}/{job_id}/{name}"
    return msgspec.structs.replace(rendition(name), key=key, file_size=size)


def file(made: Rendition) -> e.StoredFile:
    return e.StoredFile(key=made.key, file_size=made.file_size)


OLD, NEW, NEWEST = made_by("first", 5), made_by("second", 7), made_by("third", 11)
PROCESSED = (UPLOADED, STARTED, stage_completed("optimization", OLD), COMPLETED)
AGAIN = (*PROCESSED, requested("full_processing", job_id=JOB))
SUPERSEDED = e.RenditionsSuperseded(photo_id=PHOTO, job_id=JOB, files=(file(OLD),), remove_at=DUE)
REMOVED = e.RenditionsRemoved(photo_id=PHOTO, files=(file(OLD),))


def folded(*events: e.PhotoEvent) -> Photo:
    photo = fold(events)
    assert photo is not None
    return photo


@pytest.mark.parametrize(
    ("events", "usage"),
    [
        ((UPLOADED,), Usage(photos=1, bytes=3, jobs=1)),
        ((*PROCESSED,), Usage(photos=1, bytes=8, jobs=0)),
        ((UPLOADED, job_failed()), Usage(photos=1, bytes=3, jobs=0)),
        ((*AGAIN,), Usage(photos=1, bytes=8, jobs=1)),
        ((*PROCESSED, requested("backfill:metadata")), Usage(photos=1, bytes=8, jobs=0)),
        ((*AGAIN, stage_completed("optimization", NEW)), Usage(photos=1, bytes=15, jobs=1)),
        (
            (*AGAIN, stage_completed("optimization", NEW), SUPERSEDED, REMOVED),
            Usage(photos=1, bytes=10, jobs=1),
        ),
        ((*AGAIN, DELETED), Usage(photos=0, bytes=8, jobs=0)),
        ((*AGAIN, DELETED, ERASED), Usage()),
    ],
)
def test_a_photo_counts_its_files_and_its_running_job(
    events: tuple[e.PhotoEvent, ...], usage: Usage
) -> None:
    assert folded(*events).holding.usage == usage


def test_a_file_that_is_named_twice_counts_once_and_is_not_superseded() -> None:
    photo = folded(*AGAIN, stage_completed("optimization", OLD))

    assert photo.holding.usage.bytes == 8
    assert photo.holding.superseded == {}


def test_a_superseded_file_that_is_named_again_is_current_again() -> None:
    events = (*AGAIN, stage_completed("optimization", NEW), SUPERSEDED)
    photo = folded(*events, stage_completed("optimization", OLD))

    assert photo.keys["optimized"] == OLD.key
    assert set(photo.holding.superseded) == {NEW.key}
    assert photo.holding.usage.bytes == 15
    given(*events, stage_completed("optimization", OLD)).when(
        c.RecordRenditionsRemoved(photo_id=PHOTO, keys=(OLD.key,))
    ).then()


def test_a_stage_of_a_later_job_supersedes_what_it_replaces() -> None:
    command = msgspec.structs.replace(complete("optimization", NEW), remove_at=DUE)

    given(*AGAIN).when(command).then(stage_completed("optimization", NEW), SUPERSEDED)


def test_thumbnails_supersede_those_of_their_own_size() -> None:
    small, large = made_by("first", 5, "thumbnail-150"), made_by("first", 9, "thumbnail-300")
    newer = made_by("second", 6, "thumbnail-150")
    before = [
        e.ThumbnailGenerated(photo_id=PHOTO, job_id=JOB, size=size, thumbnail=each)
        for size, each in ((150, small), (300, large))
    ]
    command = msgspec.structs.replace(complete("thumbnails", newer), remove_at=DUE)

    given(UPLOADED, *before, COMPLETED, requested("full_processing", job_id=JOB)).when(
        command
    ).then(
        e.ThumbnailGenerated(photo_id=PHOTO, job_id=JOB, size=150, thumbnail=newer),
        stage_completed("thumbnails"),
        msgspec.structs.replace(SUPERSEDED, files=(file(small),)),
    )


def test_the_first_job_supersedes_nothing() -> None:
    given(UPLOADED, STARTED).when(complete("optimization", OLD)).then(
        stage_completed("optimization", OLD)
    )


def test_removing_records_superseded_files_only_and_only_once() -> None:
    superseded = (*AGAIN, stage_completed("optimization", NEW), SUPERSEDED)
    command = c.RecordRenditionsRemoved(photo_id=PHOTO, keys=(OLD.key, NEW.key, "unknown"))

    given(*superseded).when(command).then(REMOVED)
    given(*superseded, REMOVED).when(command).then()


def test_superseded_files_of_a_deleted_photo_are_left_to_its_erasure() -> None:
    superseded = (*AGAIN, stage_completed("optimization", NEW), SUPERSEDED, DELETED)

    given(*superseded).when(c.RecordRenditionsRemoved(photo_id=PHOTO, keys=(OLD.key,))).then()
    given(*superseded, ERASED).when(
        c.RecordRenditionsRemoved(photo_id=PHOTO, keys=(OLD.key,))
    ).then()


def test_superseding_plans_a_removal_at_the_due_time() -> None:
    [task] = plan(event(SUPERSEDED), "0:1-0")

    assert (task.stage, task.job_id, task.due, task.priority) == (ERASURE, JOB, DUE, 10)


def test_superseded_files_without_a_due_time_are_left_to_operators() -> None:
    assert plan(event(msgspec.structs.replace(SUPERSEDED, remove_at=None)), "0:1-0") == ()


def test_each_superseded_file_has_its_own_due_time() -> None:
    later = e.RenditionsSuperseded(photo_id=PHOTO, job_id=JOB, files=(file(NEW),), remove_at=LATER)
    photo = folded(
        *AGAIN,
        stage_completed("optimization", NEW),
        SUPERSEDED,
        stage_completed("optimization", NEWEST),
        later,
    )

    due = {key: each.remove_at for key, each in photo.holding.superseded.items()}
    assert due == {OLD.key: DUE, NEW.key: LATER}


def test_a_photo_with_too_many_superseded_renditions_is_not_processed_again() -> None:
    runs = [
        each
        for number in range(SUPERSEDED_MAX + 1)
        for each in (
            requested("full_processing", job_id=str(number)),
            stage_completed("optimization", made_by(str(number))),
            COMPLETED,
        )
    ]
    command = c.RequestProcessing(
        photo_id=PHOTO, job_id="one more", pipeline="full_processing", priority=5
    )

    given(UPLOADED, COMPLETED, *runs).when(command).rejects(TooManySuperseded)
    gone = e.RenditionsRemoved(photo_id=PHOTO, files=(file(made_by("0")),))
    given(UPLOADED, COMPLETED, *runs, gone).when(command).then(
        requested("full_processing", job_id="one more")
    )
