"""Running the delayed retries of a job at once."""

from domain.photo.commands import HurryJob
from domain.photo.events import ProcessingHurried
from domain.rejections import JobEnded
from tests.domain.stories import COMPLETED, DELETED, JOB, PHOTO, STARTED, UPLOADED, given

HURRY = HurryJob(photo_id=PHOTO, job_id=JOB, reason="the disk is back")
HURRIED = ProcessingHurried(photo_id=PHOTO, job_id=JOB, reason="the disk is back")


def test_each_time_is_recorded_with_its_reason() -> None:
    given(UPLOADED, STARTED).when(HURRY).then(HURRIED)
    given(UPLOADED, STARTED, HURRIED).when(HURRY).then(HURRIED)


def test_an_ended_or_earlier_job_is_rejected() -> None:
    given(UPLOADED, STARTED, COMPLETED).when(HURRY).rejects(JobEnded)
    given(UPLOADED, DELETED).when(HURRY).rejects(JobEnded)
    given(UPLOADED).when(HurryJob(photo_id=PHOTO, job_id="another")).rejects(JobEnded)
