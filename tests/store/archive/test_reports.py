"""What archivers report about an archive that they cannot use."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from store.archive.archive import FOLDER, Archive
from store.archive.archiver import Archiver, Passed
from store.archive.reports import doubted, report, reports
from store.archive.sealing import Sealer
from store.archive.segment import Segment, encode
from store.archive.settings import SealingSettings
from store.blobs.folder import FolderBlobs
from store.errors import BadSegment, Corrupt, Full
from store.log.log import Log
from store.log.position import Position
from tests.store.archive.segments import LOG_ID, archive_all, everything, fill, trim_all

DEADLINE_S = 20.0

Damage = Callable[[Path], None]


def remove(segment: Path) -> None:
    segment.unlink()


def damage(segment: Path) -> None:
    data = segment.read_bytes()
    segment.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])


def replace(segment: Path) -> None:
    entries = list(Segment(segment.read_bytes()).entries())
    segment.write_bytes(encode(entries, log_id=LOG_ID, partition=0, previous=None))


@asynccontextmanager
async def archiving(log: Log, blobs: FolderBlobs) -> AsyncGenerator[None]:
    settings = SealingSettings(
        archive_segment_entries=8, archive_settle_s=0.001, archive_every_s=0.05
    )
    archive = Archive(blobs, log.log_id)
    archiver = Archiver(log, blobs, archive, sealing=settings, unanswered_s=0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(archiver.run)
        yield
        tasks.cancel_scope.cancel()


async def reported(log: Log, condition: Callable[[Mapping[int, str]], bool]) -> Mapping[int, str]:
    with anyio.fail_after(DEADLINE_S):
        while not condition(found := await reports(log)):
            await anyio.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(remove, "is missing"), (damage, "differ from its SHA-256"), (replace, "belongs to the log")],
)
async def test_a_segment_that_cannot_be_used_is_named_until_it_is_back(
    log: Log, tmp_path: Path, spoil: Damage, reason: str
) -> None:
    await fill(log, 12)
    blobs = FolderBlobs(tmp_path)
    await archive_all(log, blobs)
    keys = [blob.key for blob in await blobs.keys(FOLDER)]
    whole = (tmp_path / keys[0]).read_bytes()
    spoil(tmp_path / keys[0])

    async with archiving(log, blobs):
        found = await reported(log, bool)

        assert reason in found[0]
        assert keys[0] in found[0]
        assert str(Position.parse(f"0:{_first(keys[0])}")) in found[0] or spoil is remove
        (tmp_path / keys[0]).write_bytes(whole)
        await reported(log, lambda found: not found)


async def test_a_full_archive_is_reported(log: Log, tmp_path: Path) -> None:
    await fill(log, 12)
    blobs = FolderBlobs(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(Full):
        await archive_all(log, blobs)

    async with archiving(log, blobs):
        found = await reported(log, bool)

    assert found == {0: "partition 0: the archive has no space left"}


async def test_a_segment_that_a_reader_could_not_use_is_read_back_at_once(
    log: Log, tmp_path: Path
) -> None:
    """In its turn, the last of many segments would be read hours later."""
    blobs = FolderBlobs(tmp_path)
    await fill(log, 12)
    await trim_all(log, blobs)
    key = (await blobs.keys(FOLDER))[1].key
    whole = (tmp_path / key).read_bytes()

    async with archiving(log, blobs):
        damage(tmp_path / key)
        log.archive = Archive(blobs, log.log_id)
        with pytest.raises(BadSegment):
            await everything(log)
        found = await reported(log, bool)
        (tmp_path / key).write_bytes(whole)
        await reported(log, lambda found: not found)

    assert key in found[0]
    assert await doubted(log, 0) is None


async def test_storage_that_the_archiver_cannot_use_is_reported_without_its_name(
    log: Log, tmp_path: Path
) -> None:
    """The gateway may reach it, from another machine or as another user."""
    blobs = FolderBlobs(tmp_path)
    await fill(log, 4)
    await archive_all(log, blobs)
    folder = tmp_path / FOLDER
    folder.rename(tmp_path / "aside")
    folder.write_bytes(b"a file")

    async with archiving(log, blobs):
        found = await reported(log, bool)
        folder.unlink()
        (tmp_path / "aside").rename(folder)
        await reported(log, lambda found: not found)

    assert found[0].startswith(f"the list of segments in {FOLDER}/00: the archiver cannot use")
    assert str(tmp_path) not in found[0]


async def test_an_archiver_without_the_lease_says_nothing_of_the_archive(
    log: Log, tmp_path: Path
) -> None:
    """Otherwise it would withdraw what the one with the lease reports, and the other way round."""
    blobs = FolderBlobs(tmp_path)
    archive = Archive(blobs, log.log_id)
    await fill(log, 4)
    await archive_all(log, blobs)
    other = Sealer(log, blobs, archive, name="other")
    passes: list[Passed] = []

    async def passed(count: int) -> None:
        with anyio.fail_after(DEADLINE_S):
            while len(passes) < count:
                await anyio.sleep(0.01)

    sealing = SealingSettings(archive_every_s=0.01)
    archiver = Archiver(log, blobs, archive, sealing=sealing, observe=passes.append)
    async with anyio.create_task_group() as tasks:
        assert await other.hold(0)
        await report(log, 0, Corrupt("a segment is missing"))
        tasks.start_soon(archiver.run)
        await passed(2)
        assert await reports(log) == {0: "a segment is missing"}
        await other.release(0)
        await reported(log, lambda found: not found)
        tasks.cancel_scope.cancel()

    assert not passes[0].held


def _first(key: str) -> str:
    ms, _, seq = key.rpartition("/")[2].partition("-")
    return f"{int(ms)}-{int(seq)}"
