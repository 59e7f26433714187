import pytest

from domain.pipeline.stages import PIPELINES, TREE, lane


def test_every_stage_of_a_pipeline_is_in_the_tree() -> None:
    assert all(stages <= TREE.keys() for stages in PIPELINES.values())


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(1, "high"), (3, "high"), (4, "normal"), (7, "normal"), (8, "low"), (10, "low")],
)
def test_priority_chooses_the_lane(priority: int, expected: str) -> None:
    assert lane(priority) == expected
