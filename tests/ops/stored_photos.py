"""Make photos in a folder and in the log, without gateway or worker."""

import os
import time
import uuid

from domain.photo.commands import (
    PhotoCommand,
    RecordStageCompleted,
    RequestProcessing,
    UploadPhoto,
)
from domain.photo.results import Rendition
from store.blobs.folder import FolderBlobs
from store.blobs.interface import original_key, rendition_key
from store.log.log import Log
from tests.conftest import CONTEXT

HOUR_S = 3600.0


async def execute(log: Log, command: PhotoCommand) -> None:
    await log.execute(command, client_id="alice", context=CONTEXT)


async def stored_photo(log: Log, blobs: FolderBlobs, data: bytes = b"original") -> UploadPhoto:
    """Store and record an original; return the command that recorded it."""
    photo_id = str(uuid.uuid4())
    command = UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id="alice",
        session_id=None,
        original_filename="a.jpg",
        mime_type="image/jpeg",
        file_size=len(data),
        sha256=uuid.uuid4().hex * 2,
        bucket=blobs.bucket,
        key=original_key(photo_id),
        pipeline="full_processing",
        priority=5,
    )
    await blobs.put(command.key, data)
    await execute(log, command)
    return command


MADE = {
    "thumbnails": ("thumbnail-150", "thumbnail-300", "thumbnail-600"),
    "optimization": ("optimized",),
}


async def run_stages(
    log: Log, blobs: FolderBlobs, photo: UploadPhoto, job_id: str, *stages: str
) -> dict[str, str]:
    """Record that these stages have completed and store their files; return the keys by name."""
    keys: dict[str, str] = {}
    for stage in stages:
        renditions: list[Rendition] = []
        for name in MADE.get(stage, ()):
            keys[name] = rendition_key(photo.photo_id, job_id, name, "ab")
            await blobs.put(keys[name], b"webp")
            renditions.append(
                Rendition(
                    name=name,
                    key=keys[name],
                    width=1,
                    height=1,
                    file_size=4,
                    mime_type="image/webp",
                    sha256="",
                )
            )
        done = RecordStageCompleted(
            photo_id=photo.photo_id,
            job_id=job_id,
            stage=stage,
            attempt=1,
            duration_ms=1,
            result={},
            renditions=tuple(renditions),
        )
        await execute(log, done)
    return keys


async def reprocess(log: Log, photo: UploadPhoto) -> str:
    """Request processing again; return the id of the new job."""
    job_id = str(uuid.uuid4())
    await execute(
        log,
        RequestProcessing(
            photo_id=photo.photo_id, job_id=job_id, pipeline="full_processing", priority=5
        ),
    )
    return job_id


async def keys_in(blobs: FolderBlobs) -> set[str]:
    return {blob.key for blob in await blobs.keys("")}


def age(blobs: FolderBlobs, key: str) -> None:
    then = time.time() - 2 * HOUR_S
    os.utime(blobs.root / key, (then, then))
