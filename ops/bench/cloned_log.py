"""A log of many cloned photos at rest: all that Redis keeps of them, and their archive.

The photos are appended as a running Photolog appends them, but each with all of its events at once.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ops.bench.recorded import Clone, Clones
from store.archive.archive import FOLDER, Archive
from store.archive.archiver import Archiver
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.concurrently import for_each
from store.log.append import AppendRequest
from store.log.log import Log
from store.log.memory import memory
from store.log.recorded import Recorded
from store.queue.dispatch import DISPATCH, Dispatch
from store.redis.connection import connect

TOGETHER = 200
"""How many photos are added at once."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that Redis uses for all photos: for their events and their states."""

    stream: int
    states: int


async def used_bytes(log: Log) -> int:
    """Return the memory that the log's server uses."""
    found = await memory(log, 0)
    if found is None:
        raise RuntimeError("the server does not say how much memory it uses")
    return found.used_bytes


def fill(url: str, photos: int, model: Sequence[Recorded]) -> int:
    """Append the events of ``photos`` clones to the log at ``url``; return how many there are."""
    return asyncio.run(_fill(url, photos, model))


async def _fill(url: str, photos: int, model: Sequence[Recorded]) -> int:
    redis = connect(url)
    cloned = ClonedLog(await Log.open(redis), Clones(model))
    await cloned.fill(photos)
    await redis.aclose()
    return photos * len(model)


class ClonedLog:
    """Fills partition 0 of ``log`` with ``photos`` clones; ``examples`` are some of them."""

    def __init__(self, log: Log, clones: Clones) -> None:
        self.log = log
        self.clones = clones
        self.photos = 0
        self.examples: list[Clone] = []
        self._redis: Any = log.redis

    async def fill(self, count: int) -> Sizes:
        """Add ``count`` photos; return how much memory their events and states take."""
        grown, stream = 0, await self._stream_bytes()
        clones = self.clones.photos(count)
        while some := list(islice(clones, TOGETHER)):
            await for_each(self._record_hash, some)
            used = await used_bytes(self.log)
            await for_each(self._append, some)
            grown += await used_bytes(self.log) - used
            self.photos += len(some)
            self.examples.append(some[0])
        stream = await self._stream_bytes() - stream
        return Sizes(stream=stream, states=grown - stream)

    async def check_examples(self) -> int:
        """Load some of the photos, and return how many; raises RuntimeError if one is another."""
        for clone in self.examples:
            found = await self.log.load(clone.photo_id, self.clones.client_id)
            if (found.digest, found.version) != (clone.chained.digest, len(clone.chained.bodies)):
                raise RuntimeError(f"photo {clone.photo_id} was loaded at version {found.version}")
        return len(self.examples)

    async def _stream_bytes(self) -> int:
        """Return the memory of the stream: all of it is counted, where Redis usually samples it."""
        return await self._redis.memory_usage(self.log.keys.log(0), samples=0) or 0

    async def _record_hash(self, clone: Clone) -> None:
        await record_hash(self.log, self.clones.client_id, clone.photo_id, clone.sha256)

    async def _append(self, clone: Clone) -> None:
        await _send(
            self.log,
            AppendRequest(
                partition=0,
                state_key=self.log.keys.photo(0, clone.photo_id),
                photo_id=clone.photo_id,
                client_id=self.clones.client_id,
                chained=clone.chained,
                state=clone.state,
            ),
        )


class ArchivedLog(ClonedLog):
    """A log whose archive is in ``folder``."""

    def __init__(self, log: Log, clones: Clones, folder: Path) -> None:
        super().__init__(log, clones)
        self._blobs = FolderBlobs(folder, "bench")
        self._archive = log.archive = Archive(self._blobs, log.log_id)

    async def archive(self) -> int:
        """Seal all events, trim them and evict the states; return how many states were removed.

        As if dispatchers had planned all events.
        """
        await Dispatch(self.log, "bench").prepare(0)
        end = await self.log.last_entry(0)
        await self._redis.xgroup_setid(self.log.keys.log(0), DISPATCH, end.entry_id)
        archiver = Archiver(
            *(self.log, self._blobs, self._archive),
            sealing=SealingSettings(archive_settle_s=0.0),
            trimming=TrimmingSettings(archive_keep_s=0.0, archive_keep_states_s=0.0),
        )
        return (await archiver.archive(0, now=True)).evicted

    async def archive_bytes(self) -> int:
        return sum(blob.size for blob in await self._blobs.keys(FOLDER))


async def record_hash(log: Log, client_id: str, photo_id: str, sha256: str) -> None:
    """Record the content hash of a photo as its upload does, without events."""
    await _send(
        log,
        AppendRequest(
            partition=0,
            state_key=log.keys.photo(0, photo_id),
            photo_id=photo_id,
            client_id=client_id,
            hash_step=("claim", sha256),
        ),
    )


async def _send(log: Log, request: AppendRequest) -> None:
    outcome, *_ = await log.append.send(request)
    if outcome != b"appended":
        raise RuntimeError(f"photo {request.photo_id} was not appended: {outcome!r}")
