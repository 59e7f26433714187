"""Controls fold from their events, one by one."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.pipeline.control import (
    ALERTS_APART,
    Controls,
    LimitStage,
    PauseStage,
    RaiseAlert,
    RecordCancelled,
    ResumeStage,
    decide,
    evolve,
)
from domain.pipeline.control_events import (
    AlertRaised,
    Limit,
    Rate,
    StageCancelled,
    StageDrained,
    StageLimited,
)
from domain.pipeline.failures import Category
from domain.pipeline.stages import TREE
from domain.rejections import UnknownStage

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)

EVERY = Controls(
    all_paused=True,
    paused=frozenset({"metadata"}),
    limits={"metadata": Limit(concurrency=2)},
    concurrency=5,
    alerted={"metadata:logic": NOW},
    lost={"a": NOW},
)


@pytest.mark.parametrize("kind", [StageCancelled, StageDrained])
def test_cancelling_waiting_tasks_changes_no_control(
    kind: type[StageCancelled | StageDrained],
) -> None:
    cancelled = kind(stage="metadata", tasks=3, reason="a bad batch")

    assert evolve(EVERY, cancelled, NOW) == EVERY


@pytest.mark.parametrize("stage", [*TREE, None])
def test_every_stage_and_all_of_them_can_be_cancelled(stage: str | None) -> None:
    (event,) = decide(RecordCancelled(stage=stage, tasks=3, reason="why"), Controls())

    assert event == StageCancelled(stage=stage, tasks=3, reason="why")


def test_the_erasure_can_be_paused_resumed_and_limited_but_not_cancelled() -> None:
    paused = Controls(paused=frozenset({"erasure"}))

    assert decide(PauseStage(stage="erasure"), Controls())
    assert decide(ResumeStage(stage="erasure"), paused)
    assert decide(LimitStage(stage="erasure", limit=Limit(concurrency=1)), Controls())
    with pytest.raises(UnknownStage):
        decide(RecordCancelled(stage="erasure", tasks=1, reason="why"), Controls())


@pytest.mark.parametrize("command", [ResumeStage(stage="faces"), PauseStage(stage="faces")])
def test_an_unknown_stage_is_rejected_with_all_that_can_be_named(
    command: PauseStage | ResumeStage,
) -> None:
    with pytest.raises(UnknownStage, match="'faces'") as rejected:
        decide(command, EVERY)

    assert all(stage in rejected.value.advice for stage in (*TREE, "erasure"))


def test_all_stages_are_resumed_once() -> None:
    assert decide(ResumeStage(stage=None), Controls()) == ()
    single = Controls(paused=frozenset({"metadata"}))
    assert len(decide(ResumeStage(stage=None), single)) == 1


def test_a_limit_leaves_the_limits_of_other_stages_and_of_the_worker() -> None:
    rate = Limit(rate=Rate(max=10))

    limited = evolve(EVERY, StageLimited(stage="thumbnails", limit=rate), NOW)
    whole = evolve(EVERY, StageLimited(stage=None, limit=Limit(concurrency=7)), NOW)

    assert limited.limits == {**EVERY.limits, "thumbnails": rate}
    assert (limited.concurrency, whole.concurrency, whole.limits) == (5, 7, EVERY.limits)


def test_an_alert_is_remembered_for_its_stage_and_category_alone() -> None:
    raised = AlertRaised(
        stage="metadata", category=Category.LOGIC, level="critical", code="x", error="why"
    )

    def alert(stage: str, category: Category, after: timedelta) -> RaiseAlert:
        return RaiseAlert(
            now=NOW + after, stage=stage, category=category, level="warn", code="x", error="why"
        )

    known = evolve(Controls(), raised, NOW)

    assert decide(alert("metadata", Category.LOGIC, ALERTS_APART - SECOND), known) == ()
    assert len(decide(alert("metadata", Category.LOGIC, ALERTS_APART), known)) == 1
    assert len(decide(alert("thumbnails", Category.LOGIC, SECOND), known)) == 1
    assert len(decide(alert("metadata", Category.DATA, SECOND), known)) == 1
    general = msgspec.structs.replace(raised, stage=None)
    assert len(evolve(known, general, NOW + SECOND).alerted) == 2


def test_a_loss_at_the_time_of_a_report_is_part_of_it() -> None:
    def alert(**given: datetime) -> RaiseAlert:
        return RaiseAlert(
            now=NOW + SECOND,
            stage="gateway",
            category=Category.RESOURCE,
            level="critical",
            code="events-lost",
            error="why",
            lost=("a",),
            **given,
        )

    assert decide(alert(lost_upto=NOW), EVERY) == ()
    assert len(decide(alert(lost_upto=NOW + SECOND), EVERY)) == 1
    assert len(decide(alert(), EVERY)) == 1  # lost up to the command's own time
