"""Sealing does not list all segments again for each new one."""

from pathlib import Path

from store.archive.archive import Archive
from store.archive.sealing import Sealer
from store.archive.segment import Head
from store.archive.settings import SealingSettings
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blob
from store.log.log import Log
from tests.store.archive.segments import fill

SETTINGS = SealingSettings(archive_segment_entries=2)


class CountingFolder(FolderBlobs):
    """A folder that counts how often its blobs are listed."""

    listings = 0

    async def keys(self, prefix: str) -> list[Blob]:
        self.listings += 1
        return await super().keys(prefix)


async def seal(sealer: Sealer) -> list[Head]:
    assert await sealer.hold(0)
    return await sealer.seal(0, now=True)


async def test_segments_are_listed_once_however_many_are_sealed(log: Log, tmp_path: Path) -> None:
    blobs = CountingFolder(tmp_path, "archiver")
    archive = Archive(blobs, log.log_id)
    sealer = Sealer(log, blobs, archive, SETTINGS)
    await fill(log, 6)

    sealed = await seal(sealer)
    await fill(log, 6)
    sealed += await seal(sealer)

    assert len(sealed) == 12
    assert blobs.listings == 1
    assert await archive.places(0, fresh=False) == await archive.places(0)


async def test_segments_of_another_archiver_are_listed(log: Log, tmp_path: Path) -> None:
    blobs = CountingFolder(tmp_path, "archiver")
    archive = Archive(blobs, log.log_id)
    sealer = Sealer(log, blobs, archive, SETTINGS)
    other = Sealer(log, blobs, Archive(blobs, log.log_id), SETTINGS)
    await fill(log, 2)
    await seal(sealer)
    await sealer.release(0)
    await fill(log, 2)
    await seal(other)
    await other.release(0)
    await fill(log, 2)

    await seal(sealer)

    places = await archive.places(0)
    assert len(places) == 6
    assert [facts.head.entries for facts in await archive.chain(places)] == [2] * 6
