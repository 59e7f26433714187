from pathlib import Path

import pytest

from store.blobs.folder import FolderBlobs, FolderReader
from store.blobs.interface import original_key, rendition_key
from store.errors import Full, Unavailable
from tests.store.blob_stores import files

KEY = "originals/ab/abc"


async def test_deleting_removes_the_file_and_the_empty_folders_of_its_photo(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    key = rendition_key("abc", "job", "thumbnail-150", "ab")
    await blobs.put(key, b"x")
    await blobs.delete(key)

    assert [*(tmp_path / "renditions").rglob("*")] == [tmp_path / "renditions" / "ab"]


async def test_a_full_disk_is_reported_and_leaves_no_draft(small_disk: Path) -> None:
    with pytest.raises(Full):
        await FolderBlobs(small_disk).put(KEY, b"x" * 3_000_000)

    assert files(small_disk) == []


async def test_blobs_leave_the_reserve_of_the_disk_free(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk, reserve_bytes=100_000)
    async with blobs.draft(KEY) as draft:
        await draft.write(b"x" * 100_000)
        await draft.commit()

    with pytest.raises(Full, match="reserve"):
        await blobs.put("originals/ab/abd", b"x" * 100_000)
    assert files(small_disk) == [KEY]

    await FolderBlobs(small_disk, "other").put("originals/ab/others", b"x" * 100_000)
    with pytest.raises(Full, match="reserve"):
        await blobs.draft(original_key("abe")).__aenter__()


@pytest.mark.parametrize("store", [FolderBlobs, FolderReader])
async def test_a_list_that_cannot_be_made_is_not_empty(
    tmp_path: Path, store: type[FolderBlobs | FolderReader]
) -> None:
    await FolderBlobs(tmp_path).put("log/id", b"x")
    (tmp_path / "log" / "segments").write_bytes(b"not a folder")

    with pytest.raises(Unavailable, match="Not a directory"):
        await store(tmp_path).keys("log/segments")
    assert await store(tmp_path).keys("renditions") == []


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_empty_folder_of_an_unmounted_disk_says_nothing_of_its_blobs(
    tmp_path: Path, is_there: bool
) -> None:
    root = tmp_path / "blobs"
    if is_there:
        root.mkdir()
    reader = FolderReader(root)

    with pytest.raises(Unavailable, match=str(root)):
        await reader.keys("log/segments")
    with pytest.raises(Unavailable, match=str(root)):
        _ = [chunk async for chunk in reader.read(KEY)]
