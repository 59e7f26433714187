import pytest

from domain.pipeline.stages import PIPELINES, TREE, lane, ready, stages_of


def test_every_stage_of_a_pipeline_is_reached_from_the_first() -> None:
    for name, stages in PIPELINES.items():
        reached: set[str] = set()
        while front := ready(name, reached):
            reached.update(front)
        assert reached == stages
        assert stages <= TREE.keys()


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(1, "high"), (3, "high"), (4, "normal"), (7, "normal"), (8, "low"), (10, "low")],
)
def test_priority_chooses_the_lane(priority: int, expected: str) -> None:
    assert lane(priority) == expected


def test_an_unknown_pipeline_has_no_stages() -> None:
    assert stages_of("no_such") == stages_of("backfill:no_such") == frozenset()
