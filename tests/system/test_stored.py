"""Folders and buckets are read in the same way."""

from pathlib import Path

from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.blobs.s3_server import Server
from tests.system.stored import Bucket, Folder


async def test_a_bucket_lists_all_its_keys_and_reads_the_bytes_of_each(
    bucket: Server, tmp_path: Path
) -> None:
    blobs = S3Blobs(bucket, "writer", LocalCopies(tmp_path / "copies", 1 << 20))
    await blobs.prepare()
    await blobs.put("originals/ab/one", b"some bytes")
    await blobs.put("renditions/ab/two", b"")
    blobs.close()

    stored = Bucket(bucket)

    assert stored.keys() == {"originals/ab/one", "renditions/ab/two"}
    assert stored.read("originals/ab/one") == b"some bytes"
    assert stored.read("renditions/ab/two") == b""
    assert stored.read("originals/ab/other") is None


def test_a_folder_lists_all_its_keys_and_reads_the_bytes_of_each(tmp_path: Path) -> None:
    file = tmp_path / "originals" / "ab" / "one"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"some bytes")

    stored = Folder(tmp_path)

    assert stored.keys() == {"originals/ab/one"}
    assert stored.read("originals/ab/one") == b"some bytes"
    assert stored.read("originals/ab/other") is None
