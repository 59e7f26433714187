import pytest

from domain.pipeline import ERASURE, PIPELINES, ROOT, TREE, children, lane, plan
from tests.domain.stories import COMPLETED, DELETED, JOB, PHOTO, STARTED, UPLOADED, event
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
    assert children("quick_processing", "validation") == ("thumbnails",)
    assert children("quick_processing", "thumbnails") == ()


def test_a_deleted_photo_is_erased() -> None:
    (task,) = plan(event(DELETED), AT)
    assert task.stage == ERASURE


def test_other_events_lead_to_nothing() -> None:
    assert plan(event(STARTED), AT) == ()
    assert plan(event(COMPLETED), AT) == ()


def test_every_pipeline_is_reached_from_the_first_stage() -> None:
    for name, stages in PIPELINES.items():
        reached, front = {ROOT}, [ROOT]
        while front:
            front = [child for stage in front for child in children(name, stage)]
            reached.update(front)
        assert reached == stages
        assert stages <= TREE.keys()


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(1, "high"), (3, "high"), (4, "normal"), (7, "normal"), (8, "low"), (10, "low")],
)
def test_priority_chooses_the_lane(priority: int, expected: str) -> None:
    assert lane(priority) == expected
