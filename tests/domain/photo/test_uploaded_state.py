"""What the state of a photo keeps of its upload."""

from tests.domain.stories import PHOTO, SHA, STARTED, UPLOADED, fold, requested


def test_the_state_keeps_the_owner_the_session_and_the_file_of_the_upload() -> None:
    for photo in (fold([UPLOADED]), fold([UPLOADED, STARTED])):
        assert photo is not None
        assert (photo.photo_id, photo.client_id, photo.session_id) == (PHOTO, "alice", "trip")
        assert (photo.sha256, photo.file_size, photo.mime_type) == (SHA, 3, "image/jpeg")
        assert (photo.holding.runs, photo.deleted, photo.erased) == (True, False, False)


def test_a_backfill_leaves_the_file_name_of_the_upload() -> None:
    photo = fold([UPLOADED, requested("backfill:metadata")])

    assert photo is not None
    assert photo.original_filename == UPLOADED.original_filename
