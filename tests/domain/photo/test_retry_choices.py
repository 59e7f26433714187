"""What a retry takes over from the failed job, and what its sender chooses."""

import pytest

from domain.photo import commands as c
from domain.pipeline.failures import Category
from domain.rejections import InvalidPriority, NothingFailed
from tests.domain.stories import JOB, PHOTO, UPLOADED, failed_attempt, given, job_failed, requested

FAILED = (UPLOADED, failed_attempt("validation"), job_failed("validation"))


@pytest.mark.parametrize(("chosen", "priority"), [(None, 5), (1, 1), (10, 10)])
def test_a_retry_has_the_priority_of_its_sender_or_else_of_the_job(
    chosen: int | None, priority: int
) -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another", priority=chosen)

    given(*FAILED).when(retry).then(requested("full_processing", priority=priority))


@pytest.mark.parametrize("priority", [0, 11])
def test_a_retry_with_an_invalid_priority_is_rejected(priority: int) -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another", priority=priority)

    error = given(*FAILED).when(retry).rejects(InvalidPriority)

    assert f"(got {priority})" in error.message


@pytest.mark.parametrize(("begun", "attempts"), [(True, 2), (False, 1)])
def test_an_attempt_that_no_worker_began_does_not_count(begun: bool, attempts: int) -> None:
    fail = c.RecordStageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="metadata",
        attempt=2,
        category=Category.TEMPORARY,
        code="blob-away",
        error="The disk is away.",
        begun=begun,
    )

    given(UPLOADED).when(fail).then(failed_attempt(attempt=2), job_failed(attempts=attempts))


def test_a_retry_that_names_its_job_is_rejected_if_another_job_has_followed() -> None:
    of_job = c.RetryProcessing(photo_id=PHOTO, job_id="another", failed_job=JOB)
    of_earlier = c.RetryProcessing(photo_id=PHOTO, job_id="another", failed_job="earlier")

    given(*FAILED).when(of_job).then(requested("full_processing"))
    error = given(*FAILED).when(of_earlier).rejects(NothingFailed)

    assert "earlier" in error.message
    assert PHOTO in error.message


def test_a_retry_that_was_already_recorded_can_be_repeated() -> None:
    retry = c.RetryProcessing(photo_id=PHOTO, job_id="another", failed_job=JOB)

    given(*FAILED, requested("full_processing")).when(retry).then()
