from datetime import UTC, datetime, timedelta

import pytest

from domain.pipeline.control import (
    LOST_KEPT,
    ControlCommand,
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
    PipelineEvent,
    Rate,
    StageCancelled,
    StageDrained,
    StageLimited,
    StagePaused,
    StageResumed,
)
from domain.pipeline.failures import Category
from domain.rejections import InvalidLimit, PipelinePaused, Rejected, UnknownStage

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def after(*events: PipelineEvent) -> Controls:
    controls = Controls()
    for event in events:
        controls = evolve(controls, event, NOW)
    return controls


def test_a_stage_is_paused_once_and_resumed_once() -> None:
    pause, resume = PauseStage(stage="metadata"), ResumeStage(stage="metadata")
    paused, resumed = StagePaused(stage="metadata"), StageResumed(stage="metadata")

    assert decide(pause, after()) == (paused,)
    assert decide(pause, after(paused)) == ()
    assert decide(resume, after(paused)) == (resumed,)
    assert decide(resume, after()) == ()
    assert after(paused).is_paused("metadata")
    assert not after(paused).is_paused("thumbnails")
    assert not after(paused, resumed).is_paused("metadata")


def test_all_stages_are_paused_and_resumed_together() -> None:
    everything = after(StagePaused(stage="metadata"), StagePaused(stage=None))

    assert everything.is_paused("thumbnails")
    assert decide(PauseStage(stage="thumbnails"), everything) == ()
    assert decide(ResumeStage(stage=None), everything) == (StageResumed(stage=None),)
    assert not evolve(everything, StageResumed(stage=None), NOW).is_paused("metadata")


def test_a_cancellation_is_always_recorded() -> None:
    command = RecordCancelled(stage="metadata", tasks=3, reason="a bad batch")

    assert decide(command, after()) == (
        StageCancelled(stage="metadata", tasks=3, reason="a bad batch"),
    )


def test_cancellations_of_any_version_change_no_control() -> None:
    paused = StagePaused(stage="metadata")
    cancelled = StageCancelled(stage="metadata", tasks=3, reason="a bad batch")
    drained = StageDrained(stage="metadata", tasks=3, reason="a bad batch")

    assert after(paused, cancelled) == after(paused, drained) == after(paused)


def test_a_limit_is_set_once_and_can_be_removed() -> None:
    limit = Limit(concurrency=2, rate=Rate(max=10))
    limited = StageLimited(stage="metadata", limit=limit)

    assert decide(LimitStage(stage="metadata", limit=limit), after()) == (limited,)
    assert decide(LimitStage(stage="metadata", limit=limit), after(limited)) == ()
    assert after(limited).limit("metadata") == limit
    assert after(limited).limit("thumbnails") == Limit()
    assert (
        after(limited, StageLimited(stage="metadata", limit=Limit())).limit("metadata") == Limit()
    )


def test_a_limit_without_a_stage_is_the_concurrency_of_a_worker() -> None:
    limited = StageLimited(stage=None, limit=Limit(concurrency=5))

    assert after(limited).concurrency == 5
    assert decide(LimitStage(stage=None, limit=Limit(concurrency=5)), after(limited)) == ()


@pytest.mark.parametrize(
    ("command", "given", "rejection"),
    [
        (PauseStage(stage="faces"), (), UnknownStage),
        (RecordCancelled(stage="erasure", tasks=1, reason="why"), (), UnknownStage),
        (LimitStage(stage=None, limit=Limit(rate=Rate(max=1))), (), InvalidLimit),
        (ResumeStage(stage="metadata"), (StagePaused(stage=None),), PipelinePaused),
    ],
)
def test_impossible_commands_are_rejected_with_advice(
    command: ControlCommand, given: tuple[PipelineEvent, ...], rejection: type[Rejected]
) -> None:
    with pytest.raises(rejection) as caught:
        decide(command, after(*given))

    assert caught.value.advice


def test_a_storm_of_failures_is_one_alert_a_minute_for_each_stage_and_category() -> None:
    def alert(after_s: float, category: Category = Category.LOGIC) -> RaiseAlert:
        now = NOW + timedelta(seconds=after_s)
        return RaiseAlert(
            now=now, stage="metadata", category=category, level="critical", code="x", error="why"
        )

    raised = AlertRaised(
        stage="metadata", category=Category.LOGIC, level="critical", code="x", error="why"
    )

    assert decide(alert(0), after()) == (raised,)
    assert decide(alert(59), after(raised)) == ()
    assert decide(alert(60), after(raised)) == (raised,)
    assert decide(alert(1, Category.SECURITY), after(raised)) != ()


def test_each_lost_photo_is_named_once_however_many_notice_the_loss() -> None:
    def alert(*lost: str, after_s: float, upto_s: float = 0) -> RaiseAlert:
        return RaiseAlert(
            now=NOW + timedelta(seconds=after_s),
            stage="gateway",
            category=Category.RESOURCE,
            level="critical",
            code="events-lost",
            error="why",
            lost=lost,
            lost_upto=NOW + timedelta(seconds=upto_s),
        )

    first = decide(alert("a", "b", after_s=1), after())
    reported = evolve(after(), first[0], NOW + timedelta(seconds=1))

    assert [each.photo_ids for each in first if isinstance(each, AlertRaised)] == [("a", "b")]
    assert decide(alert("b", "a", after_s=2), reported) == ()
    [more] = decide(alert("b", "c", after_s=2), reported)
    assert isinstance(more, AlertRaised)
    assert more.photo_ids == ("c",)
    [again] = decide(alert("a", after_s=9, upto_s=5), reported)  # another loss
    assert isinstance(again, AlertRaised)
    assert again.photo_ids == ("a",)


def test_the_number_of_remembered_lost_photos_is_limited() -> None:
    controls = after()
    for number in range(LOST_KEPT + 5):
        event = AlertRaised(
            stage="gateway",
            category=Category.RESOURCE,
            level="critical",
            code="events-lost",
            error="why",
            photo_ids=(f"{number}",),
        )
        controls = evolve(controls, event, NOW + timedelta(seconds=number))

    assert len(controls.lost) == LOST_KEPT
    assert min(map(int, controls.lost)) == 5
