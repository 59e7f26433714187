"""What tests of workers share: photos as the gateway leaves them, and what came of them."""

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
from store.log.stream import Recorded
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
) -> UploadPhoto:
    """The photo as the gateway leaves it."""
    photo_id = str(uuid.uuid4())
    await blobs.put(original_key(photo_id), data)
    command = UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id=client_id,
        session_id=None,
        original_filename="a.jpg",
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
    """The types of the photo's events once its job has ended."""
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
    """What the photo's events of that type say, in order."""
    return [
        msgspec.msgpack.decode(each.body)["data"]
        for each in await history(log, photo_id)
        if each.event.type == kind
    ]


class Frozen:
    """A pool of decoders that never answers."""

    def __init__(self) -> None:
        self.began = anyio.Event()

    async def run(self, **_: object) -> None:
        self.began.set()
        await anyio.sleep_forever()


class Scripted:
    """A pool of decoders without pictures: fails as told, then has a result.

    ``failures`` are how the next attempts of a stage end, by its name; ``ran`` is what has begun.
    """

    def __init__(self, **failures: list[StageFailure]) -> None:
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
        # What the stage after it needs is made, of no use to anybody else.
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
