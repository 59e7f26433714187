from pathlib import Path

import pytest

from store.blobs.folder import FolderBlobs
from store.blobs.interface import original_key, rendition_key
from store.errors import Full
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
