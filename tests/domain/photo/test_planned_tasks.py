"""Every task names its photo, its job and its cause, and costs what is left to do."""

import msgspec

from domain.photo import events as e
from domain.photo.plan import plan
from domain.pipeline import costs
from domain.pipeline.stages import ERASURE, Task
from tests.domain.stories import (
    DELETED,
    JOB,
    PHOTO,
    UPLOADED,
    event,
    failed_attempt,
    requested,
    stage_completed,
)

AT = "0:1-0"
DUE = "2026-11-23T10:00:05.000Z"


def task(stage: str, **given: object) -> Task:
    plain = Task(
        photo_id=PHOTO,
        client_id="alice",
        job_id=JOB,
        stage=stage,
        priority=5,
        trace_id="t",
        cause=AT,
    )
    return msgspec.structs.replace(plain, **given)


def test_an_upload_costs_its_validation_and_all_stages_after_it() -> None:
    large = msgspec.structs.replace(UPLOADED, file_size=2_000_000, priority=2)
    quick = msgspec.structs.replace(large, pipeline="quick_processing")
    after = 5 + 90 + 350 + 10

    assert plan(event(large), AT) == (task("validation", priority=2, cost_ms=121 + after),)
    assert plan(event(quick), AT) == (task("validation", priority=2, cost_ms=121 + 90),)


def test_a_requested_job_costs_the_stages_that_are_not_done() -> None:
    whole = requested("full_processing", job_id=JOB, priority=3)
    part = requested("full_processing", ("metadata", "optimization", "validation"), job_id=JOB)

    assert plan(event(whole), AT) == (task("validation", priority=3, cost_ms=635),)
    assert plan(event(part), AT) == (task("thumbnails", cost_ms=100),)


def test_a_stage_after_a_completed_one_follows_and_costs_by_the_picture() -> None:
    result = {"width": 1_000, "height": 1_250}
    done = msgspec.structs.replace(stage_completed("validation"), result=result, priority=9)

    assert plan(event(done), AT) == (
        task("metadata", priority=9, cost_ms=3, follows=True),
        task("thumbnails", priority=9, cost_ms=46, follows=True),
        task("optimization", priority=9, cost_ms=176, follows=True),
    )


def test_a_retry_is_the_next_attempt_and_costs_the_stage_and_those_after_it() -> None:
    failed = failed_attempt("thumbnails", attempt=2, retry_at=DUE)
    quick = msgspec.structs.replace(failed, pipeline="quick_processing")

    assert plan(event(failed), AT) == (task("thumbnails", attempt=3, due=DUE, cost_ms=100),)
    assert plan(event(quick), AT) == (task("thumbnails", attempt=3, due=DUE, cost_ms=90),)


def test_a_removal_waits_in_the_lowest_lane_and_an_erasure_does_not() -> None:
    superseded = e.RenditionsSuperseded(photo_id=PHOTO, job_id=JOB, files=(), remove_at=DUE)

    assert plan(event(superseded), AT) == (task(ERASURE, priority=10, due=DUE),)
    assert plan(event(DELETED), AT) == (task(ERASURE, job_id="", cost_ms=costs.ERASURE_MS),)
