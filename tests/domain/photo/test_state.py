import msgspec
import pytest

from domain.photo import commands as c
from domain.photo import events as e
from domain.photo.decide import decide
from domain.photo.holdings import Superseded
from domain.photo.plan import plan
from domain.photo.state import evolve, is_at_rest, is_current
from domain.pipeline.failures import Category
from domain.pipeline.stages import PIPELINES
from domain.rejections import (
    InvalidPriority,
    JobFailed,
    JobRunning,
    NothingFailed,
    PhotoExists,
    PhotoIsDeleted,
    PhotoNotFound,
    UnknownPipeline,
    UnknownStage,
)
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    ERASED,
    JOB,
    PHOTO,
    STARTED,
    UPLOAD,
    UPLOADED,
    complete,
    event,
    failed_attempt,
    fold,
    given,
    job_failed,
    rendition,
    requested,
    stage_completed,
)

AGAIN = c.RequestProcessing(
    photo_id=PHOTO, job_id="another", pipeline="quick_processing", priority=2
)
FAIL = c.RecordStageFailed(
    photo_id=PHOTO,
    job_id=JOB,
    stage="validation",
    attempt=1,
    category=Category.DATA,
    code="unreadable-image",
    error="no picture",
)


def test_uploading_records_the_original() -> None:
    given().when(UPLOAD).then(UPLOADED)


def test_uploading_records_the_time_of_the_clients_file_if_it_is_known() -> None:
    replace = msgspec.structs.replace
    uploaded = replace(UPLOADED, last_modified_ms=1_764_385_200_123)

    given().when(replace(UPLOAD, last_modified_ms=1_764_385_200_123)).then(uploaded)

    known, unknown = fold([uploaded]), fold([UPLOADED])
    assert known is not None
    assert known.last_modified_ms == 1_764_385_200_123
    assert unknown is not None
    assert unknown.last_modified_ms is None


def test_uploading_the_same_command_twice_records_nothing() -> None:
    given(UPLOADED).when(UPLOAD).then()


def test_an_id_is_not_used_for_two_photos() -> None:
    other = msgspec.structs.replace(UPLOAD, key="originals/99/other")
    given(UPLOADED).when(other).rejects(PhotoExists)


def test_an_unknown_pipeline_is_rejected_with_the_known_ones() -> None:
    error = given().when(msgspec.structs.replace(UPLOAD, pipeline="x")).rejects(UnknownPipeline)
    assert "quick_processing" in error.advice


@pytest.mark.parametrize("priority", [0, 11, -1])
def test_a_priority_outside_one_to_ten_is_rejected(priority: int) -> None:
    given().when(msgspec.structs.replace(UPLOAD, priority=priority)).rejects(InvalidPriority)


def test_commands_on_an_unknown_photo_are_rejected() -> None:
    given().when(c.DeletePhoto(photo_id=PHOTO)).rejects(PhotoNotFound)


def test_processing_starts_once() -> None:
    start = c.StartProcessing(photo_id=PHOTO, job_id=JOB)
    given(UPLOADED).when(start).then(STARTED)
    given(UPLOADED, STARTED).when(start).then()


def test_each_thumbnail_is_an_event_before_its_stage_completes() -> None:
    small, large = rendition("thumbnail-150"), rendition("thumbnail-600")

    given(UPLOADED, STARTED).when(complete("thumbnails", small, large)).then(
        e.ThumbnailGenerated(photo_id=PHOTO, job_id=JOB, size=150, thumbnail=small),
        e.ThumbnailGenerated(photo_id=PHOTO, job_id=JOB, size=600, thumbnail=large),
        stage_completed("thumbnails"),
    )


def test_other_renditions_are_part_of_the_stage_s_own_event() -> None:
    optimized = rendition("optimized")
    given(UPLOADED, STARTED).when(complete("optimization", optimized)).then(
        stage_completed("optimization", optimized)
    )


def test_a_stage_result_counts_once() -> None:
    given(UPLOADED, STARTED, stage_completed("metadata")).when(complete("metadata")).then()


def test_the_last_stage_completes_the_job() -> None:
    stages = sorted(PIPELINES["full_processing"])
    before = [stage_completed(stage) for stage in stages[:-1]]

    given(UPLOADED, STARTED, *before).when(complete(stages[-1])).then(
        stage_completed(stages[-1]), COMPLETED
    )


def test_a_failed_stage_ends_the_job_with_its_reason() -> None:
    failed = e.StageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="validation",
        pipeline="full_processing",
        priority=5,
        attempt=1,
        category=Category.DATA,
        code="unreadable-image",
        error="no picture",
    )
    final = e.ProcessingFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="validation",
        category=Category.DATA,
        code="unreadable-image",
        error="no picture",
        attempts=1,
    )

    given(UPLOADED, STARTED).when(FAIL).then(failed, final)
    given(UPLOADED, STARTED, failed, final).when(FAIL).then()
    given(UPLOADED, STARTED, failed, final).when(complete("metadata")).then()


def test_a_failed_attempt_with_a_retry_does_not_end_the_job() -> None:
    again = msgspec.structs.replace(FAIL, retry_at="2026-11-23T10:00:05.000Z")
    photo = fold([UPLOADED, STARTED])

    (failed,) = decide(again, photo)

    assert isinstance(failed, e.StageFailed)
    assert failed.retry_at == "2026-11-23T10:00:05.000Z"


def test_a_new_job_is_accepted_only_after_the_last_one_has_ended() -> None:
    requested = e.ProcessingRequested(
        photo_id=PHOTO, job_id="another", pipeline="quick_processing", priority=2
    )
    given(UPLOADED).when(AGAIN).rejects(JobRunning)
    given(UPLOADED, COMPLETED).when(AGAIN).then(requested)
    given(UPLOADED, COMPLETED, requested).when(AGAIN).then()


def test_a_new_job_runs_all_its_stages_again() -> None:
    requested = e.ProcessingRequested(
        photo_id=PHOTO, job_id="another", pipeline="quick_processing", priority=2
    )
    photo = fold([UPLOADED, stage_completed("validation"), COMPLETED, requested])

    assert photo is not None
    assert is_current(photo, "another", "validation", 1)
    assert not is_current(photo, JOB, "validation", 1)


def test_deleting_twice_records_nothing() -> None:
    delete = c.DeletePhoto(photo_id=PHOTO)
    given(UPLOADED).when(delete).then(DELETED)
    given(UPLOADED, DELETED).when(delete).then()


def test_a_deleted_photo_accepts_no_result_and_no_job() -> None:
    given(UPLOADED, DELETED).when(complete("validation")).then()
    given(UPLOADED, COMPLETED, DELETED).when(AGAIN).rejects(PhotoIsDeleted)
    given(UPLOADED, DELETED).when(c.StartProcessing(photo_id=PHOTO, job_id=JOB)).then()


def test_only_a_deleted_photo_is_erased_and_only_once() -> None:
    erased = c.RecordErased(photo_id=PHOTO)
    given(UPLOADED).when(erased).then()
    given(UPLOADED, DELETED).when(erased).then(ERASED)
    given(UPLOADED, DELETED, ERASED).when(erased).then()


def test_the_state_has_every_file_that_an_event_named() -> None:
    small = rendition("thumbnail-150")
    photo = fold(
        [
            UPLOADED,
            e.ThumbnailGenerated(photo_id=PHOTO, job_id=JOB, size=150, thumbnail=small),
            stage_completed("optimization", rendition("optimized")),
        ]
    )

    assert photo is not None
    assert photo.keys.keys() == {"original", "thumbnail-150", "optimized"}


def test_a_history_that_does_not_begin_with_its_upload_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"before photo\.uploaded"):
        evolve(None, event(STARTED))


def test_a_failed_attempt_counts_once() -> None:
    first = failed_attempt(attempt=1, retry_at="2026-11-23T10:00:05.000Z")
    same = c.RecordStageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="metadata",
        attempt=1,
        category=Category.TEMPORARY,
        code="blob-away",
        error="The disk is away.",
    )
    given(UPLOADED, STARTED, first).when(same).then()
    second = msgspec.structs.replace(same, attempt=2)
    given(UPLOADED, STARTED, first).when(second).then(
        failed_attempt(attempt=2), job_failed(attempts=2)
    )


def test_a_retry_continues_with_the_stages_that_are_not_done() -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another")
    done = [stage_completed("validation"), stage_completed("optimization")]
    again = requested("full_processing", ("optimization", "validation"))

    given(UPLOADED, STARTED, *done, failed_attempt(), job_failed()).when(retry).then(again)
    given(UPLOADED, *done, failed_attempt(), job_failed(), again).when(retry).then()
    last = [stage_completed(stage) for stage in ("metadata", "thumbnails", "placeholder")]
    photo = fold([UPLOADED, *done, failed_attempt(), job_failed(), again])
    for stage in last:
        result = msgspec.structs.replace(complete(stage.stage), job_id="another")
        events = decide(result, photo)
        for data in events:
            photo = evolve(photo, event(data))
    assert photo is not None
    assert (photo.job.ended, photo.job.failed) == (True, False)


def test_only_a_failed_job_is_retried_or_discarded() -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another")
    discard = c.DiscardFailure(photo_id=PHOTO, reason="a screenshot")
    given(UPLOADED, STARTED).when(retry).rejects(JobRunning)
    given(UPLOADED, COMPLETED).when(retry).rejects(NothingFailed)
    given(UPLOADED, COMPLETED).when(discard).rejects(NothingFailed)


def test_a_failure_is_discarded_once_and_can_still_be_retried() -> None:
    discard = c.DiscardFailure(photo_id=PHOTO, reason="a screenshot")
    discarded = e.ProcessingDiscarded(photo_id=PHOTO, job_id=JOB, reason="a screenshot")
    failed = [UPLOADED, failed_attempt("validation"), job_failed("validation")]

    given(*failed).when(discard).then(discarded)
    given(*failed, discarded).when(discard).then()
    given(*failed, discarded).when(c.RetryProcessing(photo_id=PHOTO, job_id="another")).then(
        requested("full_processing")
    )
    unnamed = c.RetryProcessing(photo_id=PHOTO, job_id="another", unless_discarded=True)
    given(*failed, discarded).when(unnamed).rejects(NothingFailed)
    given(*failed).when(unnamed).then(requested("full_processing"))


def test_a_backfill_runs_what_its_stage_needs_and_no_more() -> None:
    backfill = c.BackfillStage(photo_id=PHOTO, job_id="another", stage="thumbnails")
    before = [stage_completed("validation"), stage_completed("thumbnails")]
    again = requested("backfill:thumbnails", ("validation",), priority=10)

    given(UPLOADED, *before, COMPLETED).when(backfill).then(again)
    given(UPLOADED, *before, COMPLETED, again).when(backfill).then()
    given(UPLOADED, *before).when(backfill).rejects(JobRunning)
    given(UPLOADED, COMPLETED).when(
        c.BackfillStage(photo_id=PHOTO, job_id="another", stage="faces")
    ).rejects(UnknownStage)


def test_a_backfill_brings_the_file_name_to_a_state_that_lacks_it() -> None:
    """The states that older versions have stored lack it, and are not folded again."""
    before = fold([UPLOADED, stage_completed("validation"), COMPLETED])
    assert before is not None
    older = msgspec.structs.replace(before, original_filename=None)
    backfill = c.BackfillStage(
        photo_id=PHOTO, job_id="another", stage="metadata", original_filename="a.jpg"
    )

    (request,) = decide(backfill, older)
    assert isinstance(request, e.ProcessingRequested)
    assert request.original_filename == "a.jpg"
    assert evolve(older, event(request)) == evolve(before, event(request))
    given(UPLOADED, stage_completed("validation"), COMPLETED).when(backfill).then(
        requested("backfill:metadata", ("validation",), priority=10)
    )


def test_a_completed_backfill_is_not_repeated_after_another_job() -> None:
    first = c.BackfillStage(photo_id=PHOTO, job_id="first", stage="metadata")
    done = [requested("backfill:metadata", job_id="first", priority=10), COMPLETED]
    other = [requested("backfill:thumbnails", job_id="other", priority=10), COMPLETED]

    given(UPLOADED, COMPLETED, *done, *other).when(first).then()


def test_a_backfill_runs_a_discarded_stage_again_if_all_before_it_is_done() -> None:
    backfill = c.BackfillStage(photo_id=PHOTO, job_id="another", stage="metadata")
    failed = [stage_completed("validation"), failed_attempt("metadata"), job_failed("metadata")]
    discarded = e.ProcessingDiscarded(photo_id=PHOTO, job_id=JOB, reason="a screenshot")

    given(UPLOADED, *failed, discarded).when(backfill).then(
        requested("backfill:metadata", priority=10, done=("validation",))
    )


def test_a_backfill_leaves_a_failed_job_alone() -> None:
    backfill = c.BackfillStage(photo_id=PHOTO, job_id="another", stage="metadata")
    failed = [UPLOADED, failed_attempt("validation"), job_failed("validation")]
    discarded = e.ProcessingDiscarded(photo_id=PHOTO, job_id=JOB, reason="a screenshot")

    given(*failed).when(backfill).rejects(JobFailed)
    given(*failed, discarded).when(backfill).rejects(JobFailed)
    given(*failed, DELETED).when(backfill).rejects(PhotoIsDeleted)


def test_a_restored_original_is_recorded_once_and_changes_nothing_else() -> None:
    restore = c.RecordOriginalRestored(photo_id=PHOTO, cause="missing", number=1)
    restored = e.OriginalRestored(
        photo_id=PHOTO, key=UPLOADED.key, file_size=3, sha256=UPLOADED.sha256, cause="missing"
    )
    before, after = fold([UPLOADED, STARTED]), fold([UPLOADED, STARTED, restored])

    given(UPLOADED).when(restore).then(restored)
    given(UPLOADED, restored).when(restore).then()
    given(UPLOADED, DELETED).when(restore).then()
    again = msgspec.structs.replace(restore, number=2)
    given(UPLOADED, restored).when(again).then(restored)
    assert before is not None
    assert after == msgspec.structs.replace(before, restorations=1)
    assert plan(event(restored), "0:1-1") == ()


def test_a_photo_is_at_rest_once_no_task_of_it_is_left() -> None:
    failed = [failed_attempt("validation"), job_failed("validation")]

    assert not _at_rest(STARTED)
    assert _at_rest(COMPLETED)
    assert _at_rest(*failed)
    assert not _at_rest(COMPLETED, requested("quick_processing"))
    assert not _at_rest(COMPLETED, DELETED)
    assert _at_rest(COMPLETED, DELETED, ERASED)


def test_a_photo_with_files_that_are_to_be_removed_is_not_at_rest() -> None:
    photo = fold([UPLOADED, COMPLETED])
    assert photo is not None
    kept = msgspec.structs.replace(photo.holding, superseded={"old": Superseded(file_size=1)})
    due = {"old": Superseded(file_size=1, remove_at="2027-01-01T00:00:00.000Z")}
    removed_later = msgspec.structs.replace(photo.holding, superseded=due)

    assert is_at_rest(msgspec.structs.replace(photo, holding=kept))
    assert not is_at_rest(msgspec.structs.replace(photo, holding=removed_later))


def _at_rest(*history: e.PhotoEvent) -> bool:
    photo = fold([UPLOADED, *history])
    return photo is not None and is_at_rest(photo)
