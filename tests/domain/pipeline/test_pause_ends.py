"""Pauses that end by themselves, and the reasons of controls."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.pipeline.control import (
    LONGEST_PAUSE,
    Controls,
    EndPauses,
    LimitStage,
    PauseStage,
    ResumeStage,
    decide,
    evolve,
)
from domain.pipeline.control_events import (
    Limit,
    PipelineEvent,
    StageLimited,
    StagePaused,
    StageResumed,
)
from domain.rejections import InvalidPauseEnd

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNTIL = "2026-11-23T11:00:00.000Z"
ENDED = StageResumed(stage="metadata", ended=True)
BRIEF = StagePaused(stage="metadata", until=UNTIL)


def after(*events: PipelineEvent) -> Controls:
    controls = Controls()
    for event in events:
        controls = evolve(controls, event, NOW)
    return controls


def pause(stage: str | None = "metadata", until: datetime | None = None) -> PauseStage:
    return PauseStage(stage=stage, now=NOW, until=until)


def test_a_pause_ends_at_its_time_and_once() -> None:
    paused = after(BRIEF)

    assert decide(pause(until=NOW + HOUR), after()) == (BRIEF,)
    assert decide(pause(until=NOW + HOUR), paused) == ()
    assert paused.paused_until("metadata") == NOW + HOUR
    assert decide(EndPauses(now=NOW + HOUR - timedelta(milliseconds=1)), paused) == ()
    assert decide(EndPauses(now=NOW + HOUR), paused) == (ENDED,)
    assert after(BRIEF, ENDED) == after()


def test_a_pause_gets_another_end_or_none() -> None:
    forever = StagePaused(stage="metadata")

    assert decide(pause(), after(BRIEF)) == (forever,)
    assert decide(pause(until=NOW + HOUR), after(forever)) == (BRIEF,)
    assert after(BRIEF, forever).paused_until("metadata") is None
    assert decide(EndPauses(now=NOW + 2 * HOUR), after(BRIEF, forever)) == ()


def test_the_end_of_a_pause_of_all_stages_leaves_those_that_were_paused_one_by_one() -> None:
    everything = StagePaused(stage=None, until=UNTIL)
    controls = after(StagePaused(stage="metadata"), everything)

    (ended,) = decide(EndPauses(now=NOW + HOUR), controls)

    assert ended == StageResumed(stage=None, ended=True)
    left = evolve(controls, ended, NOW)
    assert (left.is_paused("metadata"), left.is_paused("thumbnails")) == (True, False)
    assert controls.paused_until("metadata") is None
    assert controls.paused_until("thumbnails") == NOW + HOUR
    # A stage can be paused for longer than all stages are.
    assert decide(pause("thumbnails"), controls) == (StagePaused(stage="thumbnails"),)


def test_resuming_forgets_the_end() -> None:
    for resumed in (StageResumed(stage="metadata"), StageResumed(stage=None)):
        assert after(BRIEF, resumed).pause_ends == {}


@pytest.mark.parametrize("until", [NOW, NOW - HOUR, NOW + LONGEST_PAUSE + HOUR])
def test_an_end_in_the_past_or_too_far_away_is_rejected(until: datetime) -> None:
    with pytest.raises(InvalidPauseEnd):
        decide(pause(until=until), after())


def test_each_control_records_its_reason() -> None:
    why = "the camera was wrong"
    paused, limit = after(StagePaused(stage="metadata")), Limit(concurrency=1)

    assert decide(PauseStage(stage="metadata", reason=why), after()) == (
        StagePaused(stage="metadata", reason=why),
    )
    for stage in ("metadata", None):
        assert decide(ResumeStage(stage=stage, reason=why), paused) == (
            StageResumed(stage=stage, reason=why),
        )
    assert decide(LimitStage(stage="metadata", limit=limit, reason=why), after()) == (
        StageLimited(stage="metadata", limit=limit, reason=why),
    )
