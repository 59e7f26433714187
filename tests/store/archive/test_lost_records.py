"""A lost record of what has left a stream, and a stream that has lost more than the archive has."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from store.archive.archive import Archive
from store.archive.raw import RawStream
from store.archive.settings import TrimmingSettings
from store.archive.trimming import Trimmer
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blob, Blobs
from store.errors import Corrupt
from store.log.log import Log
from store.log.position import Position
from tests.store.archive.segments import archive_all, everything, fill, trim_all

_ALL = Position.start(0), Position(0, 1 << 53, 0)


async def delete_foreign(log: Log) -> None:
    """Write an entry that is no event, and remove it, as the operating guide says."""
    key = log.keys.log(0)
    added = await log.redis.xadd(key, {"of": "another program"})
    await log.redis.xdel(key, cast("bytes", added))


async def test_a_lost_record_is_noticed_after_an_operator_has_deleted_an_entry(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 8)
    await delete_foreign(log)
    await trim_all(log, blobs)
    before, cut = await everything(log), await log.trimmed(0)
    await log.redis.delete(log.keys.trimmed(0))

    with pytest.raises(Corrupt, match="entries have left the stream, but the key"):
        await everything(log)

    await archive_all(log, blobs, keep_s=3_600.0)
    assert await log.trimmed(0) == cut
    assert await everything(log) == before


async def test_a_deleted_entry_alone_is_no_trimmed_one(log: Log, blobs: Blobs) -> None:
    await delete_foreign(log)
    await fill(log, 8)

    await archive_all(log, blobs, keep_s=3_600.0)

    assert await log.trimmed(0) == Position.start(0)
    assert len(await everything(log)) == 16


class _Interrupted(FolderBlobs):
    """Lets something else happen before it lists the segments."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def keys(self, prefix: str) -> list[Blob]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().keys(prefix)


async def test_an_archiver_that_was_stopped_does_not_set_the_record_back(
    log: Log, tmp_path: Path
) -> None:
    await fill(log, 8)
    await trim_all(log, FolderBlobs(tmp_path))
    first = await log.trimmed(0)
    await log.redis.delete(log.keys.trimmed(0))
    blobs = _Interrupted(tmp_path)
    stopped = Trimmer(log, Archive(blobs, log.log_id), TrimmingSettings(archive_keep_s=0.0))

    async def another() -> None:
        await fill(log, 8)
        await trim_all(log, FolderBlobs(tmp_path))

    blobs.meanwhile = another
    await stopped.find_again(0)

    assert await log.trimmed(0) > first


async def test_a_stream_without_entries_does_not_hide_what_the_archive_has(
    log: Log, blobs: Blobs
) -> None:
    await fill(log, 8)
    await trim_all(log, blobs)
    sealed = [each for each in await everything(log) if each.position <= await log.trimmed(0)]
    left = [each.entry_id for each in await RawStream(log).all(*_ALL)]
    await log.redis.xdel(log.keys.log(0), *left)

    assert await everything(log) == sealed
