"""Changing the priority of a job."""

import pytest

from domain.photo.commands import PrioritizeJob
from domain.photo.events import ProcessingPrioritized
from domain.rejections import InvalidPriority, JobEnded
from tests.domain.stories import COMPLETED, DELETED, JOB, PHOTO, STARTED, UPLOADED, given

FIRST = PrioritizeJob(photo_id=PHOTO, job_id=JOB, priority=1, reason="the press")
MADE_FIRST = ProcessingPrioritized(photo_id=PHOTO, job_id=JOB, priority=1, reason="the press")


def test_a_job_that_waits_or_runs_gets_another_priority() -> None:
    given(UPLOADED).when(FIRST).then(MADE_FIRST)
    given(UPLOADED, STARTED).when(FIRST).then(MADE_FIRST)


def test_the_same_priority_again_records_nothing() -> None:
    given(UPLOADED, MADE_FIRST).when(FIRST).then()


def test_an_ended_or_earlier_job_is_rejected() -> None:
    given(UPLOADED, STARTED, COMPLETED).when(FIRST).rejects(JobEnded)
    given(UPLOADED, DELETED).when(FIRST).rejects(JobEnded)
    other = PrioritizeJob(photo_id=PHOTO, job_id="another", priority=1)
    given(UPLOADED).when(other).rejects(JobEnded)


@pytest.mark.parametrize("priority", [0, 11])
def test_a_priority_out_of_range_is_rejected(priority: int) -> None:
    wrong = PrioritizeJob(photo_id=PHOTO, job_id=JOB, priority=priority)
    given(UPLOADED).when(wrong).rejects(InvalidPriority)
