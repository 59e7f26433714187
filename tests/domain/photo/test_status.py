import pytest

from domain.photo import events as e
from domain.photo.status import STATUS_AFTER, Status, status_of
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    STARTED,
    UPLOADED,
    failed_attempt,
    fold,
    job_failed,
    requested,
    stage_completed,
)

RETRIED = failed_attempt(retry_at="2026-11-23T10:00:05.000Z")
DISCARDED = e.ProcessingDiscarded(
    photo_id=UPLOADED.photo_id, job_id=UPLOADED.job_id, reason="a screenshot"
)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((UPLOADED,), "queued"),
        ((UPLOADED, STARTED), "processing"),
        ((UPLOADED, STARTED, stage_completed("validation"), RETRIED), "processing"),
        ((UPLOADED, STARTED, COMPLETED), "completed"),
        ((UPLOADED, STARTED, failed_attempt(), job_failed()), "failed"),
        ((UPLOADED, STARTED, job_failed(), DISCARDED), "failed"),
        ((UPLOADED, STARTED, job_failed(), requested("full_processing")), "queued"),
        ((UPLOADED, STARTED, COMPLETED, requested("backfill:metadata"), STARTED), "processing"),
        ((UPLOADED, STARTED, COMPLETED, DELETED), "completed"),
    ],
)
def test_the_state_and_the_events_give_the_same_status(
    events: tuple[e.PhotoEvent, ...], status: Status
) -> None:
    photo = fold(events)
    changes = [STATUS_AFTER[type(each)] for each in events if type(each) in STATUS_AFTER]

    assert photo is not None
    assert status_of(photo.job) == changes[-1] == status
