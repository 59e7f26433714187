"""Events that a photo's state cannot be folded from."""

import pytest

from domain.photo import holdings
from domain.photo.state import evolve
from domain.pipeline.control_events import StagePaused
from domain.system_events import OF_NO_PHOTO
from tests.domain.stories import DELETED, STARTED, UPLOADED, event, fold

PAUSED = StagePaused(stage="metadata")


def test_an_event_of_the_system_belongs_to_no_photo() -> None:
    assert PAUSED.photo_id == OF_NO_PHOTO
    for photo in (None, fold([UPLOADED])):
        with pytest.raises(TypeError, match=r"pipeline\.paused concerns no photo"):
            evolve(photo, event(PAUSED))


def test_a_photo_that_was_never_uploaded_has_no_files() -> None:
    assert holdings.fold(None, STARTED) is None
    assert holdings.fold(None, DELETED) is None


def test_the_files_of_a_photo_are_folded_from_its_upload_on() -> None:
    uploaded = holdings.fold(None, UPLOADED)
    deleted = holdings.fold(uploaded, DELETED)

    assert uploaded == holdings.begin(UPLOADED)
    assert deleted is not None
    assert (deleted.keys, deleted.deleted) == ({"original": UPLOADED.key}, True)
