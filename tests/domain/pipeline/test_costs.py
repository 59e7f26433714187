"""What a task is estimated to cost."""

import pytest

from domain.pipeline import costs
from domain.pipeline.stages import TREE, Task


def test_validation_costs_by_the_megabyte_and_never_nothing() -> None:
    assert costs.validation_ms(0) == 1
    assert costs.validation_ms(1_000_000) == 1 + costs.VALIDATION_MS_A_MEGABYTE
    assert costs.validation_ms(10_000_000) == 1 + 10 * costs.VALIDATION_MS_A_MEGABYTE


def test_stages_cost_their_sum_and_an_unknown_stage_something() -> None:
    assert costs.FULL_MS.keys() == TREE.keys()
    assert costs.stages_ms(()) == 0
    assert costs.stages_ms(("metadata", "thumbnails")) == 95
    assert costs.stages_ms(("metadata", "faces")) == 5 + costs.UNKNOWN_STAGE_MS


@pytest.mark.parametrize(
    ("width", "height", "share"),
    [(0, 0, 0.0), (1_000, 1_250, 0.5), (2_000, 1_250, 1.0), (9_000, 6_000, 1.0)],
)
def test_a_smaller_picture_costs_its_share_of_the_full_cost(
    width: int, height: int, share: float
) -> None:
    result = {"width": width, "height": height}

    assert costs.pixels_ms("thumbnails", result) == 1 + round(90 * share)
    assert costs.pixels_ms("faces", result) == 1 + round(costs.UNKNOWN_STAGE_MS * share)


@pytest.mark.parametrize("result", [{}, {"width": 7}, {"width": None, "height": None}])
def test_a_picture_of_unknown_size_costs_as_much_as_a_large_one(result: dict[str, object]) -> None:
    assert costs.pixels_ms("thumbnails", result) == 90
    assert costs.pixels_ms("faces", result) == costs.UNKNOWN_STAGE_MS


@pytest.mark.parametrize(("cost_ms", "charge_ms"), [(0, 1), (1, 1), (250, 250)])
def test_a_task_is_charged_its_cost_and_never_nothing(cost_ms: int, charge_ms: int) -> None:
    task = Task(
        photo_id="p",
        client_id="alice",
        job_id="j",
        stage="metadata",
        priority=5,
        trace_id="t",
        cause="0:1-0",
        cost_ms=cost_ms,
    )

    assert task.charge_ms == charge_ms
