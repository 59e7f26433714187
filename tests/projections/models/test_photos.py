import logging
from collections.abc import Sequence

import msgspec
import pytest

from domain.photo import commands as c
from projections.models import photos
from projections.models.photos import Files, Owner, PhotoView
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import (
    Chronicle,
    complete,
    delete,
    erased,
    fail,
    job_id,
    photo_id,
    processed,
    rendition,
    request,
    start,
    thumbnails,
    upload,
    validation,
)

ID, JOB = photo_id(1), job_id(1)

PROCESSED = {
    "photoId": ID,
    "jobId": JOB,
    "clientId": "alice",
    "sessionId": "trip",
    "originalFilename": "1.jpg",
    "mimeType": "image/jpeg",
    "fileSize": 1001,
    "sha256": f"{1:064x}",
    "processingStatus": "completed",
    "processingError": None,
    "processingErrorCode": None,
    "damaged": False,
    "uploadedAt": "2026-11-23T10:00:00.000Z",
    "processingStartedAt": "2026-11-23T10:00:01.000Z",
    "processingCompletedAt": "2026-11-23T10:00:06.000Z",
    "width": 4288,
    "height": 2848,
    "takenAt": "2010-05-01T12:00:00",
    "takenAtSource": "exif:DateTimeOriginal",
    "takenAtSubsecondMs": 50.0,
    "takenAtGpsOffset": "+02:00",
    "digitizedAt": "2010-05-01T12:00:00",
    "camera": {"make": "NIKON CORPORATION", "model": "NIKON D90", "lens": None},
    "exposure": {
        "time": "1/250",
        "fNumber": 8.0,
        "iso": 200,
        "focalLength": 18.0,
        "focalLength35mm": 27.0,
        "compensationEv": -0.33,
        "program": "aperture priority",
        "meteringMode": "pattern",
        "flashFired": False,
        "flashMode": "off",
        "whiteBalance": "auto",
    },
    "gps": {
        "latitude": 43.46,
        "longitude": 11.88,
        "altitude": None,
        "directionDegrees": 270.5,
        "directionReference": "true",
        "time": "2010-05-01T10:00:00Z",
    },
    "software": "Ver.1.00",
    "colourSpace": "sRGB",
    "colourProfile": "sRGB IEC61966-2.1",
    "hdrGainMap": None,
    "bitDepth": 8,
    "motionPhoto": True,
    "motionVideoBytes": 1_000_000,
    "contentIdentifier": None,
    "description": {
        "title": "A title",
        "caption": None,
        "keywords": ["sea", "sun"],
        "rating": 5,
        "creator": "A. Photographer",
        "copyright": None,
    },
    "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    "thumbnails": [
        {
            "size": size,
            "width": size,
            "height": size * 2 // 3,
            "fileSize": size * 10,
            "mimeType": "image/webp",
            "url": f"/api/photos/{ID}/thumbnails/{size}",
        }
        for size in (150, 300, 600)
    ],
    "optimized": {
        "width": 1920,
        "height": 1280,
        "fileSize": 19200,
        "mimeType": "image/webp",
        "url": f"/api/photos/{ID}/optimized",
    },
    "title": None,
    "caption": None,
    "tags": [],
    "favourite": False,
    "version": 11,
    "position": "0:1795428000005-0",
}


def view_after(db: Connection, commands: Sequence[c.PhotoCommand]) -> PhotoView:
    """Return the view of photo 1 after the commands."""
    fold_in(db, Chronicle.of(*commands).recorded)
    view = photos.get(db, ID)
    assert view is not None
    return view


def test_a_processed_photo_has_the_shape_that_clients_rely_on(db: Connection) -> None:
    view = view_after(db, [upload(), *processed()])

    shown = msgspec.json.decode(msgspec.json.encode(view))
    assert shown == PROCESSED
    assert list(shown) == list(PROCESSED)


def test_unknown_facts_are_null(db: Connection) -> None:
    view = view_after(db, [upload(session_id=None)])

    assert (view.processing_status, view.session_id) == ("queued", None)
    assert (view.width, view.taken_at, view.gps, view.blurhash) == (None, None, None, None)
    assert (view.camera.make, view.exposure.iso, view.optimized) == (None, None, None)
    assert view.thumbnails == []


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ([], "queued"),
        ([start()], "processing"),
        ([start(), validation()], "processing"),
        ([start(), fail("validation", retry_at="2026-11-23T11:00:00.000Z")], "processing"),
        ([start(), fail("validation")], "failed"),
        (processed(), "completed"),
        ([*processed(), request()], "queued"),
        ([*processed(), request(), start(run=2)], "processing"),
        ([start(), fail("validation"), request()], "queued"),
    ],
)
def test_the_status_follows_the_events(
    db: Connection, commands: Sequence[c.PhotoCommand], status: str
) -> None:
    assert view_after(db, [upload(), *commands]).processing_status == status


def test_a_failed_photo_says_why_and_when(db: Connection) -> None:
    view = view_after(db, [upload(), start(), fail("validation")])

    assert view.processing_error == "This is no picture."
    assert view.processing_error_code == "unreadable-image"
    assert view.processing_completed_at == "2026-11-23T10:00:02.000Z"


def test_another_run_begins_without_the_error_of_the_last_one(db: Connection) -> None:
    view = view_after(db, [upload(), start(), fail("validation"), request()])

    assert view.job_id == job_id(1, 2)
    assert (view.processing_error, view.processing_error_code) == (None, None)
    assert view.processing_started_at is None
    assert view.processing_completed_at is None


def test_results_stay_until_another_run_replaces_them(db: Connection) -> None:
    before = view_after(db, [upload(), *processed()])
    story = [upload(), *processed(), request(), start(run=2), validation(run=2), thumbnails(run=2)]

    after = view_after(db, story)

    files = photos.files(db, ID)
    assert files is not None
    assert after.blurhash == before.blurhash
    assert files.renditions["optimized"] == rendition("optimized", edge=1920)
    assert files.renditions["thumbnail-300"] == rendition("thumbnail-300", run=2, edge=300)


def test_damage_is_shown(db: Connection) -> None:
    view = view_after(db, [upload(), start(), validation(damaged=True)])

    assert (view.damaged, view.width) == (True, 4288)


def test_an_unknown_stage_changes_nothing_but_the_version(db: Connection) -> None:
    before = view_after(db, [upload(), start()])
    after = view_after(db, [upload(), start(), complete("faces")])

    assert after == msgspec.structs.replace(before, version=3, position=after.position)


def test_an_invalid_result_is_skipped_and_logged(
    db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        view = view_after(db, [upload(), start(), complete("validation")])

    assert (view.version, view.width) == (3, None)
    assert f"photo {ID}: skipped the invalid result of validation" in caplog.text


def test_only_the_owner_of_a_deleted_photo_is_still_known(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(), *processed(), delete(), erased()).recorded)

    page = photos.page(
        db,
        client_id=None,
        status=None,
        session_id=None,
        uploaded_from=None,
        uploaded_to=None,
        cursor=None,
        limit=10,
    )
    assert photos.get(db, ID) is None
    assert photos.files(db, ID) is None
    assert page.items == []
    assert photos.owner(db, ID) == Owner(client_id="alice", session_id="trip", deleted=True)
    assert db.execute("SELECT count(*) FROM thumbnails") == [(0,)]


def test_an_unknown_photo_has_no_owner(db: Connection) -> None:
    assert photos.owner(db, ID) is None
    assert photos.get(db, ID) is None
    assert photos.files(db, ID) is None


def test_a_photo_has_the_keys_of_its_files(db: Connection) -> None:
    view_after(db, [upload(), *processed()])

    names = {f"thumbnail-{edge}": edge for edge in (150, 300, 600)} | {"optimized": 1920}
    photo = photos.get(db, ID)
    assert photo
    assert photos.files(db, ID) == Files(
        bucket="photolog",
        original_key=f"originals/{ID[:2]}/{ID}",
        mime_type="image/jpeg",
        original_filename="1.jpg",
        sha256=f"{1:064x}",
        file_size=1001,
        uploaded_at=photo.uploaded_at,
        position=photo.position,
        renditions={name: rendition(name, edge=edge) for name, edge in names.items()},
    )


def test_locations_are_s3_urls(db: Connection) -> None:
    view_after(db, [upload(), *processed()])

    assert db.execute("SELECT s3_url FROM photos") == [(f"s3://photolog/originals/{ID[:2]}/{ID}",)]
    (url, *_) = db.execute("SELECT s3_url FROM thumbnails ORDER BY size")
    key = f"renditions/{ID[:2]}/{ID}/{JOB}/thumbnail-150"
    assert url == (f"s3://photolog/{key}",)
