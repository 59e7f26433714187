"""An archive that is damaged, foreign, full or away: named, waited for, and never skipped."""

from collections.abc import Generator
from pathlib import Path

import pytest

from store.archive.archive import FOLDER, Archive, key_of
from store.archive.segment import Entry, encode
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blobs
from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.blobs.s3_server import Server
from store.errors import ArchiveAway, BadSegment, Corrupt, Full
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from tests.ports import free_port
from tests.store.archive.segments import (
    archive_all,
    archiver_of,
    dispatch_all,
    everything,
    fill,
    in_stream,
    trim_all,
)
from tests.store.blob_stores import content


class Damage:
    """A log with three segments, the first of which has left the stream."""

    def __init__(self, log: Log, blobs: Blobs, keys: list[str]) -> None:
        self.log = log
        self.blobs = blobs
        self.keys = keys

    async def replace(self, number: int, data: bytes) -> None:
        await self.blobs.put(self.keys[number], data)

    async def read(self) -> list[Recorded]:
        """Read the log as a process does that has read nothing yet."""
        self.log.archive = Archive(self.blobs, self.log.log_id)
        return await everything(self.log)


@pytest.fixture
async def damage(log: Log, blobs: Blobs) -> Damage:
    await fill(log, 12)
    await trim_all(log, blobs)
    return Damage(log, blobs, [blob.key for blob in await blobs.keys(FOLDER)])


async def test_a_damaged_segment_is_named_and_not_skipped(damage: Damage) -> None:
    data = bytearray(await content(damage.blobs, damage.keys[0]))
    data[len(data) // 2] ^= 1
    await damage.replace(0, bytes(data))

    with pytest.raises(Corrupt, match=f"segment {damage.keys[0]}, from 0:.* on: its bytes differ"):
        await damage.read()


@pytest.mark.parametrize("number", [0, 1])
async def test_a_missing_segment_is_named_and_not_skipped(damage: Damage, number: int) -> None:
    await damage.blobs.delete(damage.keys[number])

    with pytest.raises(Corrupt, match=f"the segment before it, {damage.keys[number]}, is missing"):
        await damage.read()


async def test_an_archive_without_its_end_is_named(damage: Damage) -> None:
    for key in damage.keys:
        await damage.blobs.delete(key)

    with pytest.raises(Corrupt, match="the archive ends before"):
        await damage.read()


async def test_a_segment_of_another_log_is_named(damage: Damage) -> None:
    foreign = encode(
        [Entry(b"%d-0" % _ms_of(damage.keys[0]), [b"t", b"x"])],
        log_id="f" * 32,
        partition=0,
        previous=None,
    )
    await damage.replace(0, foreign)

    with pytest.raises(Corrupt, match=f"it belongs to the log {'f' * 32}"):
        await damage.read()


async def test_a_segment_under_the_name_of_another_is_named(damage: Damage) -> None:
    await damage.replace(1, await content(damage.blobs, damage.keys[0]))

    with pytest.raises(Corrupt, match=f"segment {damage.keys[1]}.*the file has another one's name"):
        await damage.read()


async def test_a_segment_that_does_not_belong_in_between_is_named(damage: Damage) -> None:
    first = Position(0, _ms_of(damage.keys[0]) + 1, 77)
    extra = encode(
        [Entry(first.entry_id.encode(), [b"t", b"x"])],
        log_id=damage.log.log_id,
        partition=0,
        previous=None,
    )
    await damage.blobs.put(key_of(first), extra)

    with pytest.raises(Corrupt, match=f"{key_of(first)}"):
        await damage.read()


async def test_a_reader_goes_on_once_a_segment_is_back(damage: Damage) -> None:
    whole = await content(damage.blobs, damage.keys[1])
    before = await damage.read()
    await damage.replace(1, await content(damage.blobs, damage.keys[0]))
    with pytest.raises(BadSegment):
        await damage.read()

    await damage.replace(1, whole)

    assert await everything(damage.log) == before


async def test_a_reader_goes_on_after_events_were_sealed_again(log: Log, blobs: Blobs) -> None:
    """As after a failover: the new segment has the name of the discarded one."""
    await fill(log, 2)
    await archive_all(log, blobs)
    log.archive = Archive(blobs, log.log_id)
    await log.archive.of_photo(0, "any")
    last = await log.end(0)
    await log.redis.xdel(log.keys.log(0), last.entry_id)
    reader = log.archive
    await archiver_of(log, blobs).archive(0, now=True, discard_lost=True)
    await fill(log, 1)
    await trim_all(log, blobs)
    log.archive = reader

    assert len(await everything(log)) == 7


def _ms_of(key: str) -> int:
    return int(key.rpartition("/")[2].partition("-")[0])


@pytest.mark.parametrize("what", ["damaged", "other entries"])
async def test_a_segment_that_differs_from_the_stream_is_not_trimmed(
    log: Log, blobs: Blobs, what: str
) -> None:
    await fill(log, 12)
    await dispatch_all(log)
    await archive_all(log, blobs)
    key = (await blobs.keys(FOLDER))[0].key
    data = bytearray(await content(blobs, key))
    if what == "damaged":
        data[len(data) // 2] ^= 1
    else:
        archive = Archive(blobs, log.log_id)
        sealed = await archive.entries(await archive.places(0), 0)
        sealed[3] = sealed[3]._replace(parts=[*sealed[3].parts[:-1], b"forged"])
        data = bytearray(encode(sealed, log_id=log.log_id, partition=0, previous=None))
    await blobs.put(key, bytes(data))

    with pytest.raises(Corrupt, match=f"segment {key}"):
        await archive_all(log, blobs, keep_s=0.0)

    assert await in_stream(log) == 24
    assert len(await everything(log)) == 24


async def test_a_full_disk_seals_and_trims_nothing_until_it_has_room(
    log: Log, tmp_path: Path
) -> None:
    await fill(log, 8)
    await dispatch_all(log)
    full = FolderBlobs(tmp_path, "archiver", reserve_bytes=1 << 60)

    with pytest.raises(Full):
        await archive_all(log, full, keep_s=0.0)

    assert (await full.keys(FOLDER), await full.leftovers()) == ([], [])
    assert await in_stream(log) == 16
    await archive_all(log, FolderBlobs(tmp_path, "archiver"), keep_s=0.0)
    assert await in_stream(log) == 8
    assert len(await everything(log)) == 16


async def test_events_that_the_stream_has_lost_stop_the_archiver(log: Log, blobs: Blobs) -> None:
    ids = await fill(log, 4)
    await archive_all(log, blobs)
    last = await log.end(0)
    await log.redis.xdel(log.keys.log(0), last.entry_id)
    await fill(log, 1)

    with pytest.raises(Corrupt, match=f"ends with {last}, but the stream has no entry there"):
        await archive_all(log, blobs)

    # Nobody takes an event from the archive that the log has lost.
    await log.redis.delete(log.keys.photo(0, ids[-1]))
    assert (await log.load(ids[-1], "alice")).version == 1

    passed = await archiver_of(log, blobs).archive(0, now=True, discard_lost=True)
    assert [head.last_position for head in passed.discarded] == [last]
    assert sum(head.entries for head in passed.sealed) == await in_stream(log)


@pytest.fixture
def away(tmp_path: Path) -> Generator[S3Blobs]:
    """A bucket on a server that does not run."""
    server = Server(
        endpoint=f"http://127.0.0.1:{free_port()}", access_key="access", secret_key="secret-key"
    )
    blobs = S3Blobs(server, "reader", LocalCopies(tmp_path / "away", 1))
    yield blobs
    blobs.close()


async def test_readers_wait_for_an_archive_that_is_away(damage: Damage, away: S3Blobs) -> None:
    damage.log.archive = Archive(away, damage.log.log_id)

    with pytest.raises(ArchiveAway, match=r"list of segments in log/segments/00: .*refuses"):
        await everything(damage.log)


async def test_a_whole_stream_needs_no_archive(log: Log, blobs: Blobs, away: S3Blobs) -> None:
    ids = await fill(log, 4)
    await archive_all(log, blobs)
    log.archive = Archive(away, log.log_id)
    await log.redis.delete(log.keys.photo(0, ids[0]))

    assert (await log.load(ids[0], "alice")).version == 2
    assert len(await everything(log)) == 8
