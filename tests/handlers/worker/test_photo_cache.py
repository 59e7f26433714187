"""The photo cache returns an entry only if the task is still to be done."""

import msgspec
import pytest

from domain.photo import events as e
from domain.photo.state import Photo
from domain.pipeline.stages import Task
from handlers.worker.photo_cache import KEPT, PhotoCache
from store.log.log import Loaded
from store.log.position import Position
from tests.domain.stories import JOB, PHOTO, UPLOADED, fold, stage_completed

TASK = Task(
    photo_id=PHOTO,
    client_id="alice",
    job_id=JOB,
    stage="metadata",
    priority=5,
    trace_id="0" * 32,
    cause="0:1-0",
)


def loaded(*events: e.PhotoEvent) -> Loaded:
    photo: Photo | None = fold([UPLOADED, *events])
    return Loaded(photo=photo, version=1 + len(events))


def test_a_photo_that_was_kept_is_returned() -> None:
    cache = PhotoCache()
    cache.keep(PHOTO, loaded(stage_completed("validation")))

    assert cache.of(TASK) == loaded(stage_completed("validation"))


@pytest.mark.parametrize(
    "task",
    [
        msgspec.structs.replace(TASK, job_id="another"),
        msgspec.structs.replace(TASK, stage="validation"),
        msgspec.structs.replace(TASK, photo_id="another"),
    ],
    ids=["of another job", "done already", "of an unknown photo"],
)
def test_an_entry_that_makes_the_task_obsolete_is_not_used(task: Task) -> None:
    cache = PhotoCache()
    cache.keep(PHOTO, loaded(stage_completed("validation")))

    assert cache.of(task) is None


def test_the_later_of_two_versions_is_used() -> None:
    cache = PhotoCache()
    early, late = loaded(), loaded(stage_completed("validation"))

    cache.keep(PHOTO, late)
    assert cache.newer(PHOTO, early) == late

    cache.keep(PHOTO, early)
    assert cache.newer(PHOTO, late) == late
    assert cache.newer("another", None) is None


def test_an_expectation_stays_until_its_append_has_ended() -> None:
    cache = PhotoCache()
    first = loaded()
    second = loaded(stage_completed("validation"))
    at = Position(0, 1, 0)

    cache.expect(PHOTO, first)
    cache.expect(PHOTO, second)
    cache.keep(PHOTO, msgspec.structs.replace(first, position=at))
    assert cache.newer(PHOTO, None) == second

    ended = msgspec.structs.replace(second, position=at)
    cache.keep(PHOTO, ended)
    assert cache.newer(PHOTO, None) == ended


def test_nothing_is_known_of_a_photo_after_a_failed_append() -> None:
    cache = PhotoCache()
    cache.expect(PHOTO, loaded())

    cache.forget(PHOTO)

    assert cache.newer(PHOTO, None) is None


def test_only_the_most_recently_used_photos_are_kept() -> None:
    cache = PhotoCache()
    for number in range(KEPT + 1):
        cache.keep(str(number), loaded())

    assert cache.newer("0", None) is None
    assert cache.newer("1", None) is not None
