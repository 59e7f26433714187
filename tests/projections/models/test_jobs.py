from collections.abc import Sequence

import msgspec

from domain.photo import commands as c
from domain.pipeline.failures import Category
from projections.models import jobs
from projections.models.jobs import JobError, JobView
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    Chronicle,
    complete,
    delete,
    fail,
    job_id,
    photo_id,
    processed,
    request,
    start,
    thumbnails,
    upload,
    validation,
)


def view_after(db: Connection, commands: Sequence[c.PhotoCommand], run: int = 1) -> JobView:
    """Return the view of that run of photo 1 after the commands."""
    fold_in(db, Chronicle.of(*commands).recorded)
    view = jobs.get(db, job_id(1, run))
    assert view is not None
    return view


def stages(view: JobView) -> dict[str, str]:
    return {stage.stage: stage.status for stage in view.stages}


def test_all_stages_of_a_new_job_are_queued(db: Connection) -> None:
    view = view_after(db, [upload()])

    assert (view.status, view.progress, view.started_at) == ("queued", 0.0, None)
    assert (view.photo_id, view.client_id) == (photo_id(1), "alice")
    assert (view.pipeline, view.priority) == ("full_processing", 5)
    assert stages(view) == {
        "validation": "queued",
        "metadata": "queued",
        "thumbnails": "queued",
        "optimization": "queued",
        "placeholder": "queued",
    }


def test_progress_is_the_completed_share_of_the_stages(db: Connection) -> None:
    view = view_after(db, [upload(), start(), validation()])

    assert (view.status, view.progress) == ("processing", 0.2)
    first = view.stages[0]
    assert (first.status, first.attempt, first.duration_ms) == ("completed", 1, 7)
    assert first.completed_at == "2026-11-23T10:00:02.000Z"


def test_a_completed_job_shows_its_times_and_stages(db: Connection) -> None:
    view = view_after(db, [upload(), *processed()])

    assert (view.status, view.progress, view.error) == ("completed", 1.0, None)
    assert set(stages(view).values()) == {"completed"}
    assert view.created_at == "2026-11-23T10:00:00.000Z"
    assert view.started_at == "2026-11-23T10:00:01.000Z"
    assert view.completed_at == "2026-11-23T10:00:06.000Z"


def test_a_failed_attempt_that_will_be_retried_is_shown(db: Connection) -> None:
    view = view_after(
        db, [upload(), start(), fail("validation", retry_at="2026-11-23T11:00:00.000Z")]
    )

    assert (view.status, view.error) == ("processing", None)
    first = view.stages[0]
    assert (first.status, first.attempt, first.error) == ("retrying", 1, "The disk is away.")
    assert first.completed_at is None


def test_a_failed_job_says_why_and_shows_what_was_done(db: Connection) -> None:
    view = view_after(db, [upload(), start(), validation(), fail("metadata", attempt=3)])

    assert view.status == "failed"
    assert view.error == JobError(
        stage="metadata",
        category=Category.DATA,
        code="unreadable-image",
        message="This is no picture.",
    )
    assert stages(view) == {"validation": "completed", "metadata": "failed"}
    assert view.completed_at == "2026-11-23T10:00:03.000Z"


def test_a_success_after_a_failed_attempt_leaves_no_error(db: Connection) -> None:
    again = fail("validation", retry_at="2026-11-23T11:00:00.000Z")

    second = msgspec.structs.replace(validation(), attempt=2)

    view = view_after(db, [upload(), start(), again, second])

    assert (view.stages[0].status, view.stages[0].error) == ("completed", None)


def test_a_stage_that_this_version_does_not_know_is_recorded(db: Connection) -> None:
    view = view_after(db, [upload(), start(), complete("faces")])

    assert stages(view)["faces"] == "completed"
    assert view.progress == 0.0


def test_each_run_is_a_job_of_its_own(db: Connection) -> None:
    story = [upload(), *processed(), request(), start(run=2)]

    first, second = view_after(db, story), view_after(db, story, run=2)

    assert (first.status, second.status) == ("completed", "processing")
    assert (second.pipeline, second.priority) == ("quick_processing", 2)
    assert stages(second) == {"validation": "queued", "thumbnails": "queued"}


def test_deleting_a_photo_removes_its_jobs(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(), start(), validation(), delete(), upload(2)).recorded)

    assert jobs.get(db, job_id(1)) is None
    assert jobs.get(db, job_id(2)) is not None
    assert db.execute("SELECT count(*) FROM jobs") == [(1,)]


def test_a_retried_job_has_the_stages_that_were_done_before_it(db: Connection) -> None:
    story = [upload(), start(), validation(), fail("metadata", attempt=3)]
    retry = c.RetryProcessing(photo_id=photo_id(1), job_id=job_id(1, 2))

    view = view_after(db, [*story, retry], run=2)

    assert (view.status, view.progress) == ("queued", 0.2)
    first, second, *_ = view.stages
    assert (first.stage, first.status, first.duration_ms) == ("validation", "completed", 7)
    assert first.completed_at == "2026-11-23T10:00:02.000Z"
    assert (second.stage, second.status, second.attempt) == ("metadata", "queued", 0)


def test_a_backfilled_job_shows_the_last_run_of_what_it_builds_on(db: Connection) -> None:
    again = c.RequestProcessing(
        photo_id=photo_id(1), job_id=job_id(1, 2), pipeline="quick_processing", priority=2
    )
    backfill = c.BackfillStage(photo_id=photo_id(1), job_id=job_id(1, 3), stage="placeholder")
    story = [upload(), *processed(), again, start(1, 2), validation(1, 2), thumbnails(1, 2)]

    view = view_after(db, [*story, backfill], run=3)

    assert view.pipeline == "backfill:placeholder"
    assert stages(view) == {
        "validation": "completed",
        "thumbnails": "completed",
        "placeholder": "queued",
    }
    assert view.stages[0].completed_at == "2026-11-23T10:00:09.000Z"
