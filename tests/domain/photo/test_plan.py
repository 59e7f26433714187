import msgspec

from domain.photo.plan import plan
from domain.pipeline.stages import ERASURE, ROOT
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    JOB,
    PHOTO,
    STARTED,
    UPLOADED,
    event,
    failed_attempt,
    requested,
)
from tests.domain.stories import stage_completed as completed

AT = "0:1-0"


def test_an_upload_leads_to_the_first_stage() -> None:
    (task,) = plan(event(UPLOADED), AT)

    assert (task.stage, task.photo_id, task.job_id, task.cause) == (ROOT, PHOTO, JOB, AT)
    assert (task.client_id, task.priority, task.trace_id) == ("alice", 5, "t")


def test_a_completed_stage_leads_to_its_children() -> None:
    stages = [task.stage for task in plan(event(completed("validation")), AT)]
    assert stages == ["metadata", "thumbnails", "optimization"]

    (task,) = plan(event(completed("thumbnails")), AT)
    assert task.stage == "placeholder"


def test_a_short_pipeline_plans_only_its_own_stages() -> None:
    def after(stage: str) -> list[str]:
        quick = msgspec.structs.replace(completed(stage), pipeline="quick_processing")
        return [task.stage for task in plan(event(quick), AT)]

    assert after("validation") == ["thumbnails"]
    assert after("thumbnails") == []


def test_a_deleted_photo_is_erased() -> None:
    (task,) = plan(event(DELETED), AT)
    assert task.stage == ERASURE


def test_other_events_lead_to_nothing() -> None:
    assert plan(event(STARTED), AT) == ()
    assert plan(event(COMPLETED), AT) == ()


def test_a_failed_attempt_is_planned_again_at_its_retry_time() -> None:
    (task,) = plan(event(failed_attempt(retry_at="2026-11-23T10:00:05.000Z")), AT)

    assert (task.stage, task.attempt, task.due) == ("metadata", 2, "2026-11-23T10:00:05.000Z")
    assert plan(event(failed_attempt(retry_at=None)), AT) == ()


def test_a_continued_job_begins_with_the_stages_that_are_not_done() -> None:
    done = ("optimization", "thumbnails", "validation")

    tasks = plan(event(requested("full_processing", done)), AT)

    assert [task.stage for task in tasks] == ["metadata", "placeholder"]


def test_a_backfill_runs_its_stage_and_those_that_build_on_it() -> None:
    tasks = plan(event(requested("backfill:thumbnails", ("validation",))), AT)
    assert [task.stage for task in tasks] == ["thumbnails"]


def test_the_first_task_costs_all_stages_and_the_following_tasks_their_own() -> None:
    (first,) = plan(event(UPLOADED), AT)
    following = plan(event(completed("validation")), AT)

    assert first.cost_ms > sum(each.cost_ms for each in following) > 0
    assert [first.follows, *(each.follows for each in following)] == [False, True, True, True]


def test_a_larger_file_and_a_larger_picture_cost_more() -> None:
    def of_file(size: int) -> int:
        (task,) = plan(event(msgspec.structs.replace(UPLOADED, file_size=size)), AT)
        return task.cost_ms

    def of_picture(edge: int) -> int:
        result = {"width": edge, "height": edge}
        done = msgspec.structs.replace(completed("validation"), result=result)
        return sum(task.cost_ms for task in plan(event(done), AT))

    assert of_file(1_000) < of_file(1_000_000) < of_file(10_000_000)
    assert of_picture(100) < of_picture(1_000) < of_picture(3_000) == of_picture(9_000)


def test_every_task_has_a_cost() -> None:
    for each in (DELETED, UPLOADED, completed("validation"), requested("full_processing")):
        for task in plan(event(each), AT):
            assert task.charge_ms >= 1
            assert task.cost_ms >= 1
