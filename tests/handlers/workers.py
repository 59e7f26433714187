"""Shared by tests of workers: uploaded photos, their events, and pools without decoders."""

import hashlib
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import msgspec

from domain.photo.commands import UploadPhoto
from domain.pipeline.failures import Category
from handlers.registry import STAGES
from handlers.stage import Made, Output, StageFailure
from handlers.worker.worker import Worker
from store.blobs.interface import Blobs, original_key
from store.log.log import Log
from store.log.recorded import Recorded
from tests.conftest import CONTEXT, home

DEADLINE_S = 20.0
ENDS = ("photo.processing.completed", "photo.processing.failed", "photo.erased")

Working = Callable[..., AbstractAsyncContextManager[Worker]]


async def uploaded(
    log: Log,
    blobs: Blobs,
    data: bytes,
    pipeline: str = "full_processing",
    *,
    priority: int = 5,
    client_id: str = "alice",
    filename: str = "a.jpg",
) -> UploadPhoto:
    """Store and record a photo, as the gateway does."""
    photo_id = str(uuid.uuid4())
    await blobs.put(original_key(photo_id), data)
    command = UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id=client_id,
        session_id=None,
        original_filename=filename,
        mime_type="image/jpeg",
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        bucket=blobs.bucket,
        key=original_key(photo_id),
        pipeline=pipeline,
        priority=priority,
    )
    await log.execute(command, client_id=client_id, context=CONTEXT)
    return command


async def history(log: Log, photo_id: str, client_id: str = "alice") -> list[Recorded]:
    events = log.scan(home(log, client_id))
    return [each async for each in events if each.event.data.photo_id == photo_id]


async def types_when_ended(
    log: Log, photo_id: str, ends: tuple[str, ...] = ENDS, *, client_id: str = "alice"
) -> list[str]:
    """Wait until the photo's job has ended; return the types of its events."""
    position = None
    with anyio.fail_after(DEADLINE_S):
        while True:
            types = [each.event.type for each in await history(log, photo_id, client_id)]
            if any(end in types for end in ends):
                return types
            position = position or await log.end(home(log, client_id))
            seen = await log.read(position, block_ms=1_000)
            position = seen[-1].position if seen else position


async def data_of(log: Log, photo_id: str, kind: str) -> list[dict[str, Any]]:
    """Return the data of the photo's events of that type, in order."""
    return [
        msgspec.msgpack.decode(each.body)["data"]
        for each in await history(log, photo_id)
        if each.event.type == kind
    ]


class Frozen:
    """A decoder pool that never answers."""

    outage = None

    def __init__(self) -> None:
        self.began = anyio.Event()

    async def run(self, **_: object) -> None:
        self.began.set()
        await anyio.sleep_forever()


class Scripted:
    """A pool without decoders: raises the given failures, then returns fixed results.

    ``failures`` are raised by the next attempts of a stage, by its name; ``ran`` lists all runs.
    """

    outage = None

    def __init__(self, **failures: list[Exception]) -> None:
        self.failures = failures
        self.ran: list[tuple[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def run(self, *, stage: str, affinity: str, **_: object) -> Output:
        self.ran.append((stage, affinity))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(0)
        self.at_once -= 1
        if left := self.failures.get(stage):
            raise left.pop(0)
        # The next stage needs this rendition to exist; nothing reads it.
        made = Made(name="thumbnail-150", mime_type="image/webp", width=1, height=1, data=b"x")
        result = msgspec.convert(_RESULTS[stage], STAGES[stage].result)
        return Output(result=result, renditions=(made,) if stage == "thumbnails" else ())


_RESULTS: dict[str, dict[str, Any]] = {
    "validation": {"format": "JPEG", "mimeType": "image/jpeg", "width": 1, "height": 1},
    "metadata": {"width": 1, "height": 1},
    "thumbnails": {"sizes": [150]},
    "optimization": {"recipe": "none"},
    "placeholder": {"blurhash": "L00000fQfQfQfQfQfQfQfQfQfQfQ"},
}


def failure(category: Category, code: str = "scripted") -> StageFailure:
    return StageFailure(category, code, "As the script says.")
