"""Write logs and files by hand, correct or broken, for tests of the checker."""

import hashlib
import uuid
from pathlib import Path
from typing import Any, cast

import msgspec

from store.log.log import Log
from store.redis.connection import Client
from tests.system.checker import Findings, Redis, examine
from tests.system.rules import NOTHING_BEFORE
from tests.system.stored import Folder

STAGES = ("validation", "metadata", "thumbnails", "optimization", "placeholder")
UPLOAD_AND_PROCESSING = 9
"""The number of events of a photo that is processed without failures."""

RETRY_AT = "2026-11-23T10:00:05.000Z"
REASON = {"category": "resource", "error": "It died."}


class Ledger:
    """Write a log and files by hand, correct or broken, as a test needs them."""

    def __init__(self, redis: Client, prefix: str, root: Path) -> None:
        self.redis = redis
        self.prefix = prefix
        self.root = root
        self._chains: dict[str, tuple[int, str]] = {}
        self.last = ""

    async def tell(
        self,
        kind: str,
        photo_id: str = "",
        data: dict[str, Any] | None = None,
        *,
        partition: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Add the next event of its chain; ``metadata`` overrides the correct values."""
        chain = photo_id or "pipeline"
        version, prev = self._chains.get(chain, (0, NOTHING_BEFORE))
        event = {
            "timestamp": "2026-11-23T10:00:00.000Z",
            "type": kind,
            "data": (data or {}) | ({"photoId": photo_id} if photo_id else {}),
            "metadata": {
                "source": "test",
                "clientId": "alice",
                "sessionId": None,
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "actor": "client:alice",
                "cause": None,
                "version": "1",
                "photoVersion": version + 1,
                "prev": prev,
                **(metadata or {}),
            },
        }
        body = msgspec.msgpack.encode(event)
        fields = {"t": kind, "p": photo_id, "v": version + 1, "b": body}
        key = f"{self.prefix}:{{{partition:02d}}}:log"
        entry_id: Any = await self.redis.xadd(key, fields)  # type: ignore[arg-type]
        self.last = f"{partition}:{entry_id.decode()}"
        self._chains[chain] = version + 1, hashlib.sha256(body).hexdigest()

    def file(self, key: str, data: bytes) -> dict[str, Any]:
        """Store the file, and return the fields that an event records about it."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {
            "key": key,
            "name": path.name,
            "fileSize": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    async def upload(
        self,
        *,
        photo_id: str | None = None,
        content: str | None = None,
        partition: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Record the upload of a photo, and nothing else; its job is ``job-1``."""
        photo_id = photo_id or str(uuid.uuid4())
        original = self.file(f"originals/{photo_id}", (content or photo_id).encode())
        data = original | {"jobId": "job-1", "pipeline": "full_processing"}
        await self.tell("photo.uploaded", photo_id, data, partition=partition, metadata=metadata)
        return photo_id

    async def request(self, photo_id: str, *done: str) -> None:
        """Request ``job-2``, which continues after the stages ``done``."""
        data = {"jobId": "job-2", "pipeline": "full_processing", "done": done}
        await self.tell("photo.processing.requested", photo_id, data)

    async def stage(
        self, photo_id: str, stage: str, job: str = "job-1", *renditions: dict[str, Any]
    ) -> None:
        data = {"jobId": job, "stage": stage, "renditions": renditions}
        await self.tell("photo.processing.stage.completed", photo_id, data)

    async def attempt(
        self, photo_id: str, stage: str, attempt: int = 1, retry_at: str | None = RETRY_AT
    ) -> None:
        """Record a failed attempt."""
        data = REASON | {"jobId": "job-1", "stage": stage, "attempt": attempt, "retryAt": retry_at}
        await self.tell("photo.processing.stage.failed", photo_id, data)

    async def fail(
        self, photo_id: str, stage: str, job: str = "job-1", *, partition: int = 0
    ) -> None:
        """Record the completion of the job."""
        data = REASON | {"jobId": job, "stage": stage}
        await self.tell("photo.processing.failed", photo_id, data, partition=partition)

    async def complete(self, photo_id: str, job: str = "job-1") -> None:
        await self.tell("photo.processing.completed", photo_id, {"jobId": job})

    async def process(self, photo_id: str) -> None:
        """Record all events after an upload that is processed without failures."""
        await self.tell("photo.processing.started", photo_id, {"jobId": "job-1"})
        thumbnail = self.file(f"renditions/{photo_id}/thumbnail-150", b"small")
        optimized = self.file(f"renditions/{photo_id}/optimized", b"optimized")
        for stage in STAGES:
            if stage == "thumbnails":
                data = {"jobId": "job-1", "size": 150, "thumbnail": thumbnail}
                await self.tell("photo.thumbnail.generated", photo_id, data)
            made = (optimized,) if stage == "optimization" else ()
            await self.stage(photo_id, stage, "job-1", *made)
        await self.complete(photo_id)

    async def take_out(self, number: int) -> None:
        """Remove an entry of partition 0."""
        key, entries = await self._entries()
        await self.redis.xdel(key, entries[number][0])

    async def misfile(self, number: int) -> None:
        """Rewrite partition 0 with one entry filed under another photo."""
        key, entries = await self._entries()
        await self.redis.delete(key)
        for n, (entry_id, fields) in enumerate(entries):
            filed = fields | {b"p": b"other"} if n == number else fields
            await self.redis.xadd(key, filed, id=entry_id)

    async def _entries(self) -> tuple[str, Any]:
        key = f"{self.prefix}:{{00}}:log"
        return key, await self.redis.xrange(key)

    def remove_files(self, photo_id: str) -> None:
        """Remove the photo's files, as its erasure does."""
        for path in self.root.rglob("*"):
            if path.is_file() and photo_id in str(path):
                path.unlink()

    async def examined(self) -> Findings:
        await Log.open(self.redis, prefix=self.prefix)
        return await examine(cast("Redis", self.redis), self.prefix, Folder(self.root))
