"""The stages of a job, and that all versions plan by those that its first event records."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.photo import commands as c
from domain.photo import events as e
from domain.photo.decide import decide
from domain.photo.plan import plan
from domain.photo.state import Photo, evolve
from domain.pipeline.failures import Category
from domain.pipeline.job_stages import (
    FIRST_PIPELINES,
    FIRST_TREE,
    current_stages,
    ready,
    stages_of_job,
    stages_to_record,
)
from domain.pipeline.stages import PIPELINES, TREE
from tests.domain.stories import JOB, PHOTO, UPLOAD, complete, event, fold

FIRST = dict(FIRST_TREE)
NEWER: dict[str, str | None] = {**FIRST, "colour": "validation", "palette": "colour"}
MOVED: dict[str, str | None] = {**FIRST, "placeholder": "validation"}
SMALLER: dict[str, str | None] = {stage: FIRST[stage] for stage in FIRST if stage != "metadata"}
VERSIONS = {"first": FIRST, "newer": NEWER, "moved": MOVED, "smaller": SMALLER}


@contextmanager
def version(tree: dict[str, str | None]) -> Generator[None]:
    """Decide and plan as a version with another tree does."""
    own = dict(TREE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PIPELINES, "full_processing", frozenset(tree))
        try:
            TREE.clear()
            TREE.update(tree)
            yield
        finally:  # in its own order
            TREE.clear()
            TREE.update(own)


def test_every_stage_of_a_pipeline_is_reached_from_the_first() -> None:
    for name, pipeline in PIPELINES.items():
        stages, reached = current_stages(name), set[str]()
        while front := ready(stages, reached):
            reached.update(front)
        assert reached == pipeline == stages.keys()


def test_an_unknown_pipeline_has_no_stages() -> None:
    assert current_stages("no_such") == current_stages("backfill:no_such") == {}


def test_a_backfill_has_its_stage_those_before_it_and_those_that_build_on_it() -> None:
    of_thumbnails = current_stages("backfill:thumbnails")
    assert of_thumbnails.keys() == {"validation", "thumbnails", "placeholder"}
    assert current_stages("backfill:metadata").keys() == {"validation", "metadata"}


@pytest.mark.parametrize("pipeline", [*FIRST_PIPELINES, "backfill:metadata"])
def test_events_leave_out_the_stages_of_the_first_version(pipeline: str) -> None:
    with version(FIRST):
        assert stages_to_record(pipeline) is None
        assert stages_of_job(pipeline, None) == current_stages(pipeline)


def test_other_stages_are_in_the_first_event_of_the_job() -> None:
    with version(NEWER):
        assert stages_to_record("full_processing") == NEWER
        assert stages_to_record("quick_processing") is None
        assert stages_to_record("backfill:colour") == {
            "validation": None,
            "colour": "validation",
            "palette": "colour",
        }


def test_a_version_that_lacks_a_stage_starts_it_all_the_same() -> None:
    with version(NEWER):
        photo = fold(decide(UPLOAD, None))
    with version(FIRST):
        (done,) = decide(complete("validation"), photo)
        planned = [task.stage for task in plan(event(done), "0:1-0")]

    assert planned == ["metadata", "thumbnails", "optimization", "colour"]


def test_a_version_that_lacks_a_stage_does_not_complete_the_job_without_it() -> None:
    with version(NEWER):
        photo = fold(decide(UPLOAD, None))
    with version(FIRST):
        for stage in FIRST:
            for each in decide(complete(stage), photo):
                photo = evolve(photo, event(each))

    assert photo is not None
    assert not photo.job.ended
    assert ready(photo.job.stages, photo.job.done) == ("colour",)


def test_a_job_that_has_begun_gets_no_stages_of_a_newer_version() -> None:
    with version(FIRST):
        photo = fold(decide(UPLOAD, None))
    with version(NEWER):
        (done, *_) = decide(complete("validation"), photo)

        assert "colour" not in [task.stage for task in plan(event(done), "0:1-0")]


def test_a_retry_keeps_the_stages_of_the_job_that_failed() -> None:
    with version(NEWER):
        uploaded = decide(UPLOAD, None)
        photo = fold(uploaded)
        failed = decide(fail("validation"), photo)
    with version(FIRST):
        retry = c.RetryProcessing(photo_id=PHOTO, job_id="again")
        (requested,) = decide(retry, fold((*uploaded, *failed)))

    assert isinstance(requested, e.ProcessingRequested)
    assert requested.stages == NEWER


def test_stored_events_of_the_first_version_mean_what_they_meant() -> None:
    with version(SMALLER):
        photo = fold(given_first())
        assert photo is not None
        assert photo.job.stages == FIRST
        (done,) = decide(complete("validation"), photo)
        planned = [task.stage for task in plan(event(done), "0:1-0")]
        assert sorted(planned) == ["metadata", "optimization", "thumbnails"]


def given_first() -> tuple[e.PhotoEvent, ...]:
    with version(FIRST):
        return decide(UPLOAD, None)


def fail(stage: str) -> c.RecordStageFailed:
    return c.RecordStageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage=stage,
        attempt=1,
        category=Category.DATA,
        code="broken",
        error="The file is broken.",
        retry_at=None,
    )


@examples(data=st.data())
def test_a_job_ends_whichever_versions_decide_and_plan(data: st.DataObject) -> None:
    """Each event is decided and planned by any version; only what is planned is run, once."""
    versions = st.sampled_from(sorted(VERSIONS))

    def by_any(name: str) -> dict[str, str | None]:
        return VERSIONS[data.draw(versions, label=name)]

    with version(by_any("uploads")):
        undone = list(decide(UPLOAD, None))
    photo: Photo | None = None
    planned: list[str] = []
    ran: list[str] = []
    while undone or planned:
        for each in undone:
            photo = evolve(photo, event(each))
            with version(by_any("plans")):
                planned += [task.stage for task in plan(event(each), "0:1-0")]
        undone = []
        if planned:
            stage = planned.pop(data.draw(st.integers(0, len(planned) - 1), label="runs"))
            ran.append(stage)
            with version(by_any("decides")):
                undone = list(decide(complete(stage), photo))

    assert photo is not None
    assert photo.job.ended
    assert sorted(ran) == sorted(photo.job.stages)
    assert sorted(photo.job.done) == sorted(ran)
