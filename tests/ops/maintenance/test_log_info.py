"""What ``photolog log info`` says of an archive that is damaged or incomplete."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ops.maintenance import log_info
from store.archive.archive import FOLDER, Archive
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from tests.store.archive.segments import archiver_of, dispatch_all, fill, trim_all

GROUP = 4


@pytest.fixture
async def keys(log: Log, tmp_path: Path) -> list[str]:
    """The segments of a log, the last of which is still in the stream."""
    blobs = FolderBlobs(tmp_path)
    await fill(log, 14)
    await trim_all(log, blobs)
    return [blob.key for blob in await blobs.keys(FOLDER)]


async def looked(log: Log, folder: Path) -> tuple[log_info.PartitionInfo, list[str]]:
    """Look as a new process does."""
    archive = Archive(FolderBlobs(folder), log.log_id)
    found = await log_info.look(log, archive, {})
    return found.partitions[0], await log_info.check(log, archive)


async def test_a_damaged_archive_still_has_its_segments(
    log: Log, keys: list[str], tmp_path: Path
) -> None:
    whole, _ = await looked(log, tmp_path)
    (tmp_path / keys[1]).write_bytes((tmp_path / keys[1]).read_bytes()[:-1])

    found, _ = await looked(log, tmp_path)

    assert found.problem is not None
    assert keys[1] in found.problem
    assert (found.segments, found.oldest) == (whole.segments, whole.oldest)
    assert found.sealed_bytes == whole.sealed_bytes - 1


class Counted(FolderBlobs):
    """Blobs that note which files are read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads: set[str] = set()

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self.reads.add(key)
        return super().read(key, start, length)


async def test_events_are_counted_without_the_index_of_each_segment(
    log: Log, tmp_path: Path
) -> None:
    blobs = Counted(tmp_path)
    await fill(log, 60)
    await dispatch_all(log)
    await archiver_of(log, blobs, keep_s=0.0, group=GROUP).archive(0, now=True)
    await fill(log, 3)
    blobs.reads.clear()

    found = (await log_info.look(log, Archive(blobs, log.log_id, GROUP), {})).partitions[0]

    segments = [key for key in blobs.reads if key.startswith(FOLDER)]
    assert (found.segments, found.sealed_events, found.unsealed) == (15, 120, 6)
    assert len(segments) == 15 // GROUP + 15 % GROUP


async def test_events_are_counted_although_one_of_them_was_deleted(
    log: Log, keys: list[str], tmp_path: Path
) -> None:
    whole, _ = await looked(log, tmp_path)
    first = await log.first_entry(0)
    assert first is not None
    await log.redis.xdel(log.keys.log(0), first.entry_id)

    found, _ = await looked(log, tmp_path)

    assert whole.segments == len(keys)
    assert found.sealed_events == whole.sealed_events


async def test_a_check_names_each_segment_that_cannot_be_used(
    log: Log, keys: list[str], tmp_path: Path
) -> None:
    for key in (keys[0], keys[2]):
        (tmp_path / key).write_bytes(b"")

    _, damaged = await looked(log, tmp_path)

    assert [each.partition(",")[0] for each in damaged] == [
        f"segment {keys[0]}",
        f"segment {keys[2]}",
    ]


@pytest.mark.parametrize("left", [0, 1])
async def test_an_archive_that_ends_before_the_stream_begins_is_not_well(
    log: Log, keys: list[str], tmp_path: Path, left: int
) -> None:
    for key in keys[left:]:
        (tmp_path / key).unlink()

    found, damaged = await looked(log, tmp_path)

    trimmed = str(await log.trimmed(0))
    assert [found.problem] == damaged
    assert f"but events up to {trimmed} have left the stream" in damaged[0]
