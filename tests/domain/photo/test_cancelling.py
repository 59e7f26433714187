"""An operator ends a job before its next attempt."""

import msgspec
import pytest

from domain.photo import commands as c
from domain.photo import events as e
from domain.pipeline.failures import Category
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    JOB,
    PHOTO,
    STARTED,
    UPLOADED,
    failed_attempt,
    given,
    job_failed,
    requested,
    stage_completed,
)

CANCEL = c.CancelJob(photo_id=PHOTO, job_id=JOB, reason="The wrong folder.")


def cancelled(stage: str, *, begun: int = 0) -> tuple[e.StageFailed, e.ProcessingFailed]:
    """Return the events of a cancellation before the attempt that follows ``begun`` others."""
    why = {"category": Category.CONFIGURATION, "code": "cancelled", "error": "The wrong folder."}
    attempt = failed_attempt(stage, attempt=begun + 1)
    return (
        msgspec.structs.replace(attempt, **why),
        msgspec.structs.replace(job_failed(stage, attempts=begun), **why),
    )


def test_a_job_that_has_not_begun_fails_at_its_first_stage_without_an_attempt() -> None:
    given(UPLOADED).when(CANCEL).then(*cancelled("validation"))
    given(UPLOADED, STARTED).when(CANCEL).then(*cancelled("validation"))


def test_attempts_that_were_made_before_count() -> None:
    failure = failed_attempt("validation", retry_at="2026-11-23T10:00:30.000Z")

    given(UPLOADED, failure).when(CANCEL).then(*cancelled("validation", begun=1))


def test_what_is_done_stays_and_the_next_stage_fails() -> None:
    given(UPLOADED, stage_completed("validation")).when(CANCEL).then(*cancelled("metadata"))


@pytest.mark.parametrize(
    "past",
    [
        (UPLOADED, COMPLETED),
        (UPLOADED, failed_attempt("validation"), job_failed("validation")),
        (UPLOADED, *cancelled("validation")),
        (UPLOADED, DELETED),
        (UPLOADED, COMPLETED, requested("full_processing")),
    ],
    ids=["completed", "failed", "cancelled", "deleted", "followed by another"],
)
def test_a_job_that_is_over_stays_as_it_is(past: tuple[e.PhotoEvent, ...]) -> None:
    given(*past).when(CANCEL).then()


def test_a_cancelled_job_can_be_retried() -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another", failed_job=JOB)

    given(UPLOADED, *cancelled("validation")).when(retry).then(requested("full_processing"))
