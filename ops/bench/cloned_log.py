"""A log of many cloned photos at rest: all that Redis keeps of them, and their archive."""

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
from store.log.log import Log
from store.log.memory import memory
from store.queue.dispatch import DISPATCH, Dispatch

TOGETHER = 200
"""How many photos are added at once."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that Redis uses for all photos: for their events, states and content hashes."""

    stream: int
    states: int
    hashes: int


async def used_bytes(log: Log) -> int:
    """Return the memory that the log's server uses."""
    found = await memory(log, 0)
    if found is None:
        raise RuntimeError("the server does not say how much memory it uses")
    return found.used_bytes


class ClonedLog:
    """Fills partition 0 of ``log`` with clones, and archives it in ``folder``."""

    def __init__(self, log: Log, clones: Clones, folder: Path) -> None:
        self.log = log
        self.clones = clones
        self.photos = 0
        self.examples: list[Clone] = []
        self._redis: Any = log.redis
        self._blobs = FolderBlobs(folder, "bench")
        self.archive = log.archive = Archive(self._blobs, log.log_id)

    async def prepare(self) -> None:
        await Dispatch(self.log, "bench").prepare(0)
        keys = self.log.keys
        hashes = keys.sha256(0, self.clones.client_id)
        await self._redis.hset(hashes, mapping={"": ""})
        await self._redis.hset(keys.clients(0), mapping={"": "", hashes: ""})

    async def fill(self, count: int) -> Sizes:
        """Add ``count`` photos; return how much memory they take."""
        stream = states = hashes = 0
        clones = self.clones.photos(count)
        while some := list(islice(clones, TOGETHER)):
            sizes = [await used_bytes(self.log)]
            positions = await self._add_events(some)
            sizes.append(await used_bytes(self.log))
            await self._add_states(some, positions)
            sizes.append(await used_bytes(self.log))
            await self._add_hashes(some)
            sizes.append(await used_bytes(self.log))
            stream += sizes[1] - sizes[0]
            states += sizes[2] - sizes[1]
            hashes += sizes[3] - sizes[2]
            self.photos += len(some)
            self.examples.append(some[0])
        return Sizes(stream=stream, states=states, hashes=hashes)

    async def archived(self) -> int:
        """Seal all events, trim them and evict the states; return how many states were removed.

        As if dispatchers had planned all events.
        """
        end = await self.log.last_entry(0)
        await self._redis.xgroup_setid(self.log.keys.log(0), DISPATCH, end.entry_id)
        archiver = Archiver(
            *(self.log, self._blobs, self.archive),
            sealing=SealingSettings(archive_settle_s=0.0),
            trimming=TrimmingSettings(archive_keep_s=0.0, archive_keep_states_s=0.0),
        )
        return (await archiver.archive(0, now=True)).evicted

    async def archive_bytes(self) -> int:
        return sum(blob.size for blob in await self._blobs.keys(FOLDER))

    async def check_examples(self) -> int:
        """Load some of the photos, and return how many; raises RuntimeError if one is another."""
        for clone in self.examples:
            found = await self.log.load(clone.photo_id, self.clones.client_id)
            if (found.digest, found.version) != (clone.digest, len(clone.entries)):
                raise RuntimeError(f"photo {clone.photo_id} was loaded at version {found.version}")
        return len(self.examples)

    async def _add_events(self, some: Sequence[Clone]) -> list[bytes]:
        """Append the events, and return the id of each photo's last one."""
        pipeline = self._redis.pipeline(transaction=False)
        key = self.log.keys.log(0)
        for clone in some:
            for type_, photo_id, version, body in clone.entries:
                pipeline.xadd(key, {"t": type_, "p": photo_id, "v": version, "b": body})
        ids = iter(await pipeline.execute())
        return [[next(ids) for _ in clone.entries][-1] for clone in some]

    async def _add_states(self, some: Sequence[Clone], positions: Sequence[bytes]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for clone, position in zip(some, positions, strict=True):
            state = {"v": len(clone.entries), "d": clone.digest, "p": position, "s": clone.state}
            pipeline.hset(self.log.keys.photo(0, clone.photo_id), mapping=state)
        await pipeline.execute()

    async def _add_hashes(self, some: Sequence[Clone]) -> None:
        hashes = {clone.sha256: clone.photo_id for clone in some}
        await self._redis.hset(self.log.keys.sha256(0, self.clones.client_id), mapping=hashes)
