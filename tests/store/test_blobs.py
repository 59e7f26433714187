import hashlib
from pathlib import Path

import anyio
import pytest

from store.blobs import original_key, rendition_key
from store.errors import Full, Missing
from store.folder_blobs import FolderBlobs

KEY = "originals/ab/abc"


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


def files(blobs: FolderBlobs) -> list[str]:
    return sorted(
        p.relative_to(blobs.root).as_posix() for p in blobs.root.rglob("*") if p.is_file()
    )


async def content(blobs: FolderBlobs, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(key, start, length)])


async def test_a_blob_is_read_as_it_was_written(blobs: FolderBlobs) -> None:
    data = bytes(range(256)) * 20_000
    async with blobs.draft(KEY) as draft:
        for at in range(0, len(data), 70_001):
            await draft.write(data[at : at + 70_001])
        await draft.commit()

    assert await content(blobs, KEY) == data
    assert (draft.size, draft.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await blobs.size(KEY) == len(data)
    assert await content(blobs, KEY, 1_048_570, 20) == data[1_048_570:1_048_590]


async def test_a_draft_that_is_not_committed_leaves_nothing(blobs: FolderBlobs) -> None:
    async with blobs.draft(KEY) as draft:
        await draft.write(b"x" * 3_000_000)
        assert len(files(blobs)) == 1

    assert files(blobs) == []


async def test_writing_again_replaces_the_blob(blobs: FolderBlobs) -> None:
    await blobs.put(KEY, b"first")
    await blobs.put(KEY, b"second")

    assert await content(blobs, KEY) == b"second"
    assert files(blobs) == [KEY]


async def test_a_missing_blob_is_named(blobs: FolderBlobs) -> None:
    with pytest.raises(Missing, match=KEY):
        await content(blobs, KEY)
    with pytest.raises(Missing):
        await blobs.size(KEY)


async def test_deleting_removes_the_file_and_its_empty_folders(blobs: FolderBlobs) -> None:
    key = rendition_key("abc", "job", "thumbnail-150")
    await blobs.put(key, b"x")
    await blobs.delete(key)
    await blobs.delete(key)

    assert [path.name for path in (blobs.root / "renditions").iterdir()] == []


async def test_keys_lists_what_is_under_a_folder(blobs: FolderBlobs) -> None:
    await blobs.put(original_key("abc"), b"1")
    await blobs.put(rendition_key("abc", "job", "optimized"), b"22")

    (found,) = await blobs.keys("renditions")

    assert (found.key, found.size) == ("renditions/ab/abc/job/optimized", 2)


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a//b", "a/../b", "", "a/", "A", "a b", "a\0"]
)
async def test_a_key_that_could_leave_the_folder_is_refused(blobs: FolderBlobs, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        await blobs.put(key, b"x")

    assert files(blobs) == []


async def test_what_a_writer_left_is_found_by_its_successor(blobs: FolderBlobs) -> None:
    draft, stored = blobs.draft(original_key("gone")), blobs.draft(KEY)
    await draft.__aenter__()
    await stored.__aenter__()
    await stored.commit()

    left = await FolderBlobs(blobs.root).leftovers()
    other = await FolderBlobs(blobs.root, "other").leftovers()

    assert sorted((each.key for each in left), key=str) == [None, KEY]
    assert other == []
    for each in left:
        await blobs.clear(each)
    assert files(blobs) == [KEY]
    await draft.__aexit__(None, None, None)
    await stored.__aexit__(None, None, None)


async def test_a_blob_stored_again_by_another_is_not_in_doubt(blobs: FolderBlobs) -> None:
    stored = blobs.draft(KEY)
    await stored.__aenter__()
    await stored.commit()
    await FolderBlobs(blobs.root, "other").put(KEY, b"theirs")

    (left,) = await blobs.leftovers()

    assert left.key is None
    await stored.__aexit__(None, None, None)


async def test_a_full_disk_is_named_and_leaves_nothing(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk)

    with pytest.raises(Full):
        await blobs.put(KEY, b"x" * 3_000_000)

    assert files(blobs) == []


async def test_the_reserve_of_the_disk_is_left_to_others(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk, reserve_bytes=100_000)
    async with blobs.draft(KEY) as draft:
        await draft.write(b"x" * 100_000)
        await draft.commit()

    with pytest.raises(Full, match="reserve"):
        await blobs.put("originals/ab/abd", b"x" * 100_000)
    assert files(blobs) == [KEY]

    await FolderBlobs(small_disk, "other").put("originals/ab/others", b"x" * 100_000)
    with pytest.raises(Full, match="reserve"):
        await blobs.draft(original_key("abe")).__aenter__()


async def test_storing_and_deleting_side_by_side_do_not_meet(blobs: FolderBlobs) -> None:
    async def store_and_delete(name: str) -> None:
        for _ in range(200):
            await blobs.put(f"originals/ab/{name}", b"x")
            await blobs.delete(f"originals/ab/{name}")

    async with anyio.create_task_group() as tasks:
        for name in "wxyz":
            tasks.start_soon(store_and_delete, name)

    assert files(blobs) == []
