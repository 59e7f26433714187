"""Photos whose events are in the archive alone, which is damaged or does not answer."""

from pathlib import Path

import pytest

from store.archive.archive import FOLDER, Archive
from store.archive.reports import doubted
from store.blobs.folder import FolderReader
from tests.gateway.conftest import Gateway
from tests.gateway.routes.test_photos import uploaded
from tests.store.archive.segments import archive_all, dispatch_all


@pytest.fixture
async def photo_id(gateway: Gateway) -> str:
    """A photo of alice whose upload has left the stream."""
    photo = await uploaded(gateway)
    await dispatch_all(gateway.log)
    await archive_all(gateway.log, gateway.blobs)
    await uploaded(gateway)
    await dispatch_all(gateway.log)
    await archive_all(gateway.log, gateway.blobs, keep_s=0.0)
    found: str = photo["photoId"]
    return found


async def test_a_damaged_segment_is_named_and_noted(gateway: Gateway, photo_id: str) -> None:
    segment, *_ = await gateway.blobs.keys(FOLDER)
    (gateway.blobs.root / segment.key).write_bytes(b"not a segment")

    answer = await gateway.get(f"/api/photos/{photo_id}/chain")

    assert (answer.status_code, answer.json()["code"]) == (500, "corrupt")
    assert f"segment {segment.key}" in answer.json()["detail"]
    assert await doubted(gateway.log, 0) == segment.key


async def test_an_archive_that_does_not_answer_is_not_called_the_log(
    gateway: Gateway, photo_id: str, tmp_path: Path
) -> None:
    away = FolderReader(tmp_path / "unmounted")
    gateway.log.archive = Archive(away, gateway.log.log_id)

    answer = await gateway.get(f"/api/photos/{photo_id}/chain")

    assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
    assert answer.json()["detail"] == (
        "The photo storage, which has the archived part of the log, does not answer."
    )
