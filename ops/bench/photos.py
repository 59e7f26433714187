"""Photos for measurements of the log: their events are recorded, but no file is decoded."""

import uuid
from datetime import UTC, datetime

from domain.photo.commands import UploadPhoto
from domain.photo.events import Context
from domain.pipeline.stages import DEFAULT_PIPELINE, DEFAULT_PRIORITY

CLIENT = "bench"


def upload(*, key: str | None = None, priority: int = DEFAULT_PRIORITY) -> UploadPhoto:
    """Return the upload of a new, ordinary photo; ``key`` names the blob of its original."""
    photo_id = str(uuid.uuid4())
    return UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id=CLIENT,
        session_id=None,
        original_filename="photo.jpg",
        mime_type="image/jpeg",
        file_size=1,
        sha256=photo_id.replace("-", "") * 2,
        bucket="photolog",
        key=key or f"originals/{photo_id[:2]}/{photo_id}",
        pipeline=DEFAULT_PIPELINE,
        priority=priority,
    )


def context() -> Context:
    trace_id = uuid.uuid4().hex
    return Context(now=datetime.now(UTC), source="bench", actor="client:bench", trace_id=trace_id)
