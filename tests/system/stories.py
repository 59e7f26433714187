"""Upload small photos, and compare what their events say with what they should say."""

from collections.abc import Iterable
from typing import Any

import httpx
import msgspec

from store.log.log import Log
from tests.system.checker import Findings
from tests.system.clients import upload
from tests.system.photos import jpeg

PIPELINE = "quick_processing"

STORY = (
    "photo.uploaded",
    "photo.processing.started",
    "photo.processing.stage.completed",
    "photo.thumbnail.generated",
    "photo.thumbnail.generated",
    "photo.thumbnail.generated",
    "photo.processing.stage.completed",
    "photo.processing.completed",
)
"""The events of a photo in ``PIPELINE`` without failures."""

ANSWER_S = 30.0


async def upload_all(
    http: httpx.AsyncClient, names: Iterable[object], photos: set[str] | None = None
) -> set[str]:
    """Upload photos one after the other, and note those that were accepted."""
    photos = set[str]() if photos is None else photos
    for name in names:
        photos.add(await upload(http, jpeg(f"{name}"), pipeline=PIPELINE, key=f"{name}"))
    return photos


async def ask_once(http: httpx.AsyncClient, name: str) -> httpx.Response:
    """Return the first answer to an upload, however long it takes."""
    return await http.post(
        "/api/photos/upload",
        headers={"Idempotency-Key": name},
        files={"file": ("a.jpg", jpeg(name))},
        data={"pipeline": PIPELINE},
        timeout=ANSWER_S,
    )


async def stories(log: Log) -> set[tuple[str, ...]]:
    """Return the different sequences of events that photos of partition 0 have."""
    found: dict[str, tuple[str, ...]] = {}
    entries: Any = await log.redis.xrange(log.keys.log(0))
    for _, fields in entries:
        event = msgspec.msgpack.decode(fields[b"b"])
        photo_id = event["data"].get("photoId")
        if photo_id is not None:
            found[photo_id] = (*found.get(photo_id, ()), event["type"])
    return set(found.values())


def assert_all_completed(found: Findings, photos: set[str]) -> None:
    assert found.wrong == []
    assert found.failed == {}
    assert found.completed == photos
