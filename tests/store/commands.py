"""Commands for tests of the log."""

import hashlib
import uuid

from domain.photo.commands import RecordStageCompleted, UploadPhoto


def upload(content: str | None = None, client_id: str = "alice") -> UploadPhoto:
    """Return the upload of a new photo; equal ``content`` gives equal hashes."""
    photo_id = str(uuid.uuid4())
    return UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id=client_id,
        session_id=None,
        original_filename="a.jpg",
        mime_type="image/jpeg",
        file_size=3,
        sha256=hashlib.sha256((content or photo_id).encode()).hexdigest(),
        bucket="photolog",
        key=f"originals/{photo_id[:2]}/{photo_id}",
        pipeline="full_processing",
        priority=5,
    )


def completed(of: UploadPhoto, stage: str) -> RecordStageCompleted:
    return RecordStageCompleted(
        photo_id=of.photo_id,
        job_id=of.job_id,
        stage=stage,
        attempt=1,
        duration_ms=1,
        result={},
    )
