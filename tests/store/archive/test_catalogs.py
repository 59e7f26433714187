"""Catalogs find the segments of a photo with a few reads, and are never needed."""

import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.maintenance.reconcile import compare
from store.archive import catalog
from store.archive.archive import FOLDER, Archive, digest_of
from store.archive.archiver import Archiver
from store.archive.catalog import PAGE, RECORDS, Head
from store.archive.catalogs import Catalogs
from store.archive.cataloguer import discard
from store.archive.segment import encode
from store.archive.settings import SealingSettings, TrimmingSettings
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blob, Blobs
from store.errors import BadSegment
from store.log.log import Log
from store.log.position import Position
from tests.store.archive.segments import LOG_ID, archiver_of, dispatch_all, fill, rest
from tests.store.blob_stores import content

GROUP = 4
FIRSTS = [Position(0, 1_000 + number, 0) for number in range(GROUP + 1)]
KEY = catalog.key_of(FIRSTS[0])


class Counted:
    """Blobs that note which files are read, and which of them whole."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.reads: list[str] = []
        self.whole: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self.reads.append(key)
        if (start, length) == (0, None):
            self.whole.append(key)
        return self._blobs.read(key, start, length)

    async def keys(self, prefix: str) -> list[Blob]:
        return await self._blobs.keys(prefix)


SHA256 = "5e" * 32


def head(log: str = LOG_ID, last: str = FIRSTS[GROUP - 1].entry_id, sha256: str = SHA256) -> Head:
    return Head(
        partition=0,
        segments=GROUP,
        log=log,
        first=FIRSTS[0].entry_id,
        last=last,
        sha256=sha256,
    )


async def sealed(_at: int) -> str:
    """Return the SHA-256 of the group's last segment."""
    return SHA256


async def archived(log: Log, blobs: Blobs) -> list[str]:
    """Archive photos at rest in about twenty segments; return the ids of the photos."""
    photos = await rest(log, 18)
    await fill(log, 1)
    archiver = archiver_of(log, blobs, keep_s=0.0, keep_states_s=0.0, group=GROUP)
    await dispatch_all(log)
    await archiver.archive(0, now=True)
    return [each.photo_id for each in photos]


def started(log: Log, blobs: Any, archive: Archive) -> Archiver:
    """Return an archiver as a process has it that has just started."""
    return Archiver(
        log,
        blobs,
        archive,
        sealing=SealingSettings(archive_settle_s=0.001),
        trimming=TrimmingSettings(archive_keep_s=0.0, archive_keep_states_s=0.0),
    )


@pytest.mark.parametrize("photos", [1, 339, 340, 341, 20_000])
async def test_every_photo_is_found_with_one_or_two_reads(tmp_path: Path, photos: int) -> None:
    chance = random.Random(photos)
    where = {
        str(uuid.UUID(int=chance.getrandbits(128))): sorted(chance.sample(range(GROUP), 2))
        for _ in range(photos)
    }
    found = [(digest_of(each), at) for each, numbers in where.items() for at in numbers]
    blobs = FolderBlobs(tmp_path)
    await blobs.put(KEY, catalog.encode(head(), found))
    counted = Counted(blobs)
    catalogs = Catalogs(counted, LOG_ID, GROUP)
    examples = [*where][:: max(1, photos // 100)]

    for each in examples:
        assert await catalogs.segments_of(FIRSTS, digest_of(each), sealed) == (where[each], GROUP)
    assert await catalogs.segments_of(FIRSTS, digest_of("another"), sealed) == ([], GROUP)

    assert len(counted.reads) < 2 * len(examples) + 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage" * 2_000,
        catalog.encode(head(), [])[:-1],
        catalog.encode(head(), [(at, 0) for at in range(9 * RECORDS)])[: 8 * PAGE],
        catalog.encode(head(log="0" * 32), [(1, 0)]),
        catalog.encode(head(last="9999-0"), [(1, 0)]),
        catalog.encode(head(sha256="0" * 64), [(1, 0)]),
        catalog.encode(head(), [(1, 0)])[:-4] + b"\0\0\0\0",
    ],
    ids=[
        *("empty", "garbage", "cut", "cut after a page"),
        *("of another log", "of other segments", "of other bytes", "damaged"),
    ],
)
async def test_an_unusable_catalog_covers_nothing(tmp_path: Path, content: bytes) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(KEY, content)

    assert await Catalogs(blobs, LOG_ID, GROUP).segments_of(FIRSTS, 1, sealed) == ([], 0)


@pytest.mark.parametrize("pages", [0, 1, 8])
async def test_a_catalog_that_is_cut_after_it_was_used_covers_nothing(
    tmp_path: Path, pages: int
) -> None:
    blobs = FolderBlobs(tmp_path)
    digests = [(at << 52, 0) for at in range(1 << 12)]
    whole = catalog.encode(head(), digests)
    await blobs.put(KEY, whole)
    catalogs = Catalogs(blobs, LOG_ID, GROUP)
    last, _ = digests[-1]
    before = await catalogs.segments_of(FIRSTS, last, sealed)

    await blobs.put(KEY, whole[: pages * PAGE])
    after = await catalogs.segments_of(FIRSTS, last, sealed)

    assert (before, after) == (([0], GROUP), ([], 0))


async def test_an_archiver_that_starts_reads_one_index_of_each_group_and_those_after_them(
    log: Log, blobs: Blobs
) -> None:
    await archived(log, blobs)
    places = [blob.key for blob in await blobs.keys(FOLDER)]
    groups = len(places) // GROUP
    uncovered = set(places[groups * GROUP :])
    counted = Counted(blobs)
    archive = Archive(counted, log.log_id, GROUP)
    archiver = started(log, counted, archive)

    await archiver.archive(0)
    await archiver.examine(0)

    assert groups >= 4
    read = {key for key in counted.reads if key.startswith(FOLDER)} - uncovered
    ends = {places[(number + 1) * GROUP - 1] for number in range(groups)}
    assert read == ends | set(places[:2])  # and the first one, in its turn, with the next
    assert [key for key in counted.whole if key.startswith(catalog.FOLDER)] == []


async def test_an_archiver_reads_one_catalog_back_each_time_it_examines_the_archive(
    log: Log, blobs: Blobs
) -> None:
    await archived(log, blobs)
    counted = Counted(blobs)
    archiver = started(log, counted, Archive(counted, log.log_id, GROUP))
    await archiver.archive(0)
    catalogs = [blob.key for blob in await blobs.keys(catalog.FOLDER)]

    counted.whole.clear()
    for _ in catalogs:
        await archiver.examine(0)
        await archiver.archive(0)

    assert [key for key in counted.whole if key in catalogs] == catalogs


@pytest.mark.parametrize("missing", [0, 1, GROUP - 1, GROUP, 2 * GROUP + 1])
async def test_a_missing_segment_is_noticed_by_the_catalogs_alone(
    log: Log, blobs: Blobs, missing: int
) -> None:
    await archived(log, blobs)
    places = [blob.key for blob in await blobs.keys(FOLDER)]
    await blobs.delete(places[missing])

    with pytest.raises(BadSegment) as caught:
        await Archive(blobs, log.log_id, GROUP).check(0)

    assert caught.value.key == places[missing + 1]


async def test_a_load_reads_the_segments_of_its_photo_and_few_others(
    log: Log, blobs: Blobs
) -> None:
    photos = await archived(log, blobs)
    counted = Counted(blobs)
    log.archive = Archive(counted, log.log_id, GROUP)

    loaded = await log.load(photos[4], "alice")

    assert loaded.evicted
    segments = len(await blobs.keys(FOLDER))
    read = {key for key in counted.reads if key.startswith(FOLDER)}
    assert segments > 3 * GROUP
    # Its own and the next ones, one of each catalog, and those that no catalog covers yet.
    assert len(read) <= 4 + segments // GROUP + GROUP


async def test_loads_are_the_same_without_catalogs(log: Log, blobs: Blobs) -> None:
    photos = await archived(log, blobs)
    before = [await log.load(each, "alice") for each in photos]
    catalogs = await blobs.keys(catalog.FOLDER)
    for blob in catalogs:
        await blobs.delete(blob.key)
    log.archive = Archive(blobs, log.log_id, GROUP)

    assert len(catalogs) > 2
    assert [await log.load(each, "alice") for each in photos] == before


@pytest.mark.parametrize("what", ["of another log", "of another range", "with other entries"])
async def test_another_segment_behind_a_catalog_is_named(log: Log, blobs: Blobs, what: str) -> None:
    photos = await archived(log, blobs)
    archive = Archive(blobs, log.log_id, GROUP)
    places = await archive.places(0)
    entries = await archive.entries(places, 1)
    last = (await archive.photos_of(places, 1))[-1]
    assert last in photos
    previous = (await archive.facts(places, 1)).head.previous
    other = {
        "of another log": encode(entries, log_id="0" * 32, partition=0, previous=previous),
        "of another range": await content(blobs, places[2].key),
        "with other entries": encode(
            entries[:1], log_id=log.log_id, partition=0, previous=previous
        ),
    }[what]
    await blobs.put(places[1].key, other)
    log.archive = Archive(blobs, log.log_id, GROUP)

    with pytest.raises(BadSegment, match=f"{places[1].key}"):
        await log.load(last, "alice")


@pytest.mark.parametrize("damage", ["cut", "byte", "stale"])
async def test_a_catalog_that_cannot_be_used_is_written_again(
    log: Log, blobs: Blobs, damage: str
) -> None:
    await archived(log, blobs)
    key = (await blobs.keys(catalog.FOLDER))[0].key
    whole = await content(blobs, key)
    page = catalog.decode_head(whole[:PAGE])
    stale = catalog.encode(msgspec.structs.replace(page, sha256="0" * 64), [])
    cut, byte = whole[:PAGE], whole[:-1] + bytes([whole[-1] ^ 1])
    await blobs.put(key, {"cut": cut, "byte": byte, "stale": stale}[damage])

    archiver = archiver_of(log, blobs, keep_s=0.0, group=GROUP)
    await archiver.archive(0)
    await archiver.examine(0)  # the first catalog is the first to be read back
    await archiver.archive(0)

    assert await content(blobs, key) == whole


async def test_discarded_segments_take_their_catalogs_along(log: Log, blobs: Blobs) -> None:
    await archived(log, blobs)
    archive = Archive(blobs, log.log_id, GROUP)
    places = await archive.places(0)

    await discard(blobs, archive, places[GROUP].first)

    left = [blob.key for blob in await blobs.keys(catalog.FOLDER)]
    assert left == [catalog.key_of(places[0].first)]


async def test_catalogs_are_no_strays(log: Log, blobs: Blobs) -> None:
    await archived(log, blobs)

    found = await compare(log, blobs, older_than_s=0.0)

    assert found.strays == []
    assert found.unnamed == []
