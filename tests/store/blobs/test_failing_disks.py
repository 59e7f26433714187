"""Blobs on a failing disk: which calls fail, which still work, and how the store recovers."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from store.blobs.folder import FolderBlobs
from store.breaker import FAILURES, Breaker
from store.errors import CircuitOpen, Full, Missing, Unavailable
from tests.clocks import Clock
from tests.system.disks import read_only, remount

KEY, OTHER = "originals/ab/abc", "originals/cd/cde"
PHOTO = b"x" * 600_000
OPEN_S = 16.0
FIRST_S = 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(small_disk: Path, clock: Clock) -> FolderBlobs:
    """A store whose breaker has a clock that stands still."""
    return FolderBlobs(small_disk, breaker=Breaker("blobs", open_s=OPEN_S, clock=clock))


async def content(blobs: FolderBlobs, key: str) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(key)])


async def fails(blobs: FolderBlobs, error: type[Exception], times: int = FAILURES) -> None:
    for _ in range(times):
        with pytest.raises(error) as raised:
            await blobs.put(OTHER, PHOTO)
        assert raised.type is error


async def test_a_full_disk_fails_each_write_with_full_until_it_has_room(blobs: FolderBlobs) -> None:
    await fails(blobs, Full, 2 * FAILURES)
    remount(blobs.root, "size=8m")

    await blobs.put(OTHER, PHOTO)

    assert (blobs.breaker.state, blobs.breaker.openings) == ("closed", 0)
    assert await content(blobs, OTHER) == PHOTO


async def test_a_disk_that_failed_and_is_now_full_is_reported_as_full(
    blobs: FolderBlobs, clock: Clock
) -> None:
    remount(blobs.root, "ro")
    await fails(blobs, Unavailable)
    await fails(blobs, CircuitOpen, 1)
    remount(blobs.root, "rw")
    clock.now_s = FIRST_S

    await fails(blobs, Full, 2 * FAILURES)

    assert blobs.breaker.state == "closed"
    assert list((blobs.root / "drafts").iterdir()) == []


async def test_a_full_disk_that_accepts_the_start_of_each_photo_is_full(
    blobs: FolderBlobs,
) -> None:
    remount(blobs.root, "size=1200k")
    for _ in range(FAILURES):
        async with blobs.draft(OTHER) as draft:
            await draft.write(bytes(1 << 20))  # written immediately
            with pytest.raises(Full):
                await draft.write(bytes(1 << 20))

    assert blobs.breaker.state == "closed"
    await blobs.put(KEY, b"a small one")


async def test_reading_and_deleting_still_work(blobs: FolderBlobs) -> None:
    await blobs.put(KEY, b"kept")
    await fails(blobs, Full)

    assert await content(blobs, KEY) == b"kept"
    assert await blobs.size(KEY) == 4
    async with blobs.local(KEY) as path:
        assert path.read_bytes() == b"kept"
    assert [blob.key for blob in await blobs.keys("originals")] == [KEY]
    await blobs.delete(KEY)
    assert await blobs.keys("originals") == []


async def test_a_disk_that_becomes_read_only_can_still_be_read(
    blobs: FolderBlobs, clock: Clock
) -> None:
    await blobs.put(KEY, b"kept")
    remount(blobs.root, "ro")

    await fails(blobs, Unavailable)

    assert blobs.breaker.state == "open"
    assert await content(blobs, KEY) == b"kept"
    remount(blobs.root, "rw,size=8m")
    clock.now_s = FIRST_S
    await blobs.put(OTHER, PHOTO)


async def test_a_draft_that_can_no_longer_be_removed_is_left_to_the_next_process(
    blobs: FolderBlobs,
) -> None:
    async def put(failing: ExitStack) -> None:
        async with blobs.draft(OTHER) as draft:
            failing.enter_context(read_only(blobs.root))
            await draft.commit()

    with ExitStack() as failing, pytest.raises(Unavailable):
        await put(failing)

    [left] = await FolderBlobs(blobs.root).leftovers()
    assert left.key is None


async def test_no_blob_is_reported_missing_while_no_disk_is_mounted(
    tmp_path: Path, clock: Clock
) -> None:
    root = tmp_path / "blobs"
    blobs = FolderBlobs(root, breaker=Breaker("blobs", open_s=OPEN_S, clock=clock))
    await blobs.put(KEY, b"kept")
    root.rename(tmp_path / "unmounted")
    root.mkdir()

    for read in (blobs.size(KEY), content(blobs, KEY), blobs.local(KEY).__aenter__()):
        with pytest.raises(Unavailable):
            await read
    for other in (blobs.delete(KEY), blobs.keys("originals"), blobs.free_bytes()):
        with pytest.raises(Unavailable):
            await other
    await fails(blobs, Unavailable)

    root.rmdir()
    (tmp_path / "unmounted").rename(root)
    clock.now_s = FIRST_S
    await blobs.put(OTHER, PHOTO)
    assert await content(blobs, KEY) == b"kept"


async def test_a_folder_that_rejects_only_some_writes_is_one_outage(
    blobs: FolderBlobs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    remount(blobs.root, "size=8m")
    (blobs.root / "log").write_bytes(b"")
    for _ in range(4 * FAILURES):
        with pytest.raises(Unavailable):
            await blobs.put("log/00/segment", b"x")
        clock.now_s += blobs.breaker.retry_after_s
    paused = [each.getMessage() for each in caplog.records]

    (blobs.root / "log").unlink()
    await blobs.put("log/00/segment", b"x")

    assert paused == [f"blobs: calls are paused; failures in a row: {FAILURES}"]
    assert [each.getMessage() for each in caplog.records[1:]] == ["blobs: calls succeed again"]
    assert blobs.breaker.openings == 1


async def test_aborted_uploads_and_missing_blobs_do_not_open_the_breaker(
    blobs: FolderBlobs,
) -> None:
    for _ in range(2 * FAILURES):
        async with blobs.draft(OTHER) as draft:
            await draft.write(b"the beginning")
        with pytest.raises(Missing):
            await blobs.size(OTHER)

    assert blobs.breaker.state == "closed"
