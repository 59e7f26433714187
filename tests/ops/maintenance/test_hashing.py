"""Files whose bytes were changed, in a folder and in a bucket."""

import hashlib
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.photo.commands import DeletePhoto, PhotoCommand, RequestProcessing, UploadPhoto
from domain.photo.results import Rendition
from domain.pipeline.stages import TREE
from ops.maintenance.hashing import Hashed, check_files
from store.blobs.folder import FolderBlobs, FolderReader
from store.blobs.interface import CHUNK_BYTES, Blobs, rendition_key
from store.errors import Corrupt
from store.log.log import Log
from tests.conftest import CONTEXT
from tests.store.blob_stores import S3Keeper
from tests.store.commands import completed, upload

ORIGINAL = bytes(range(256)) * (CHUNK_BYTES // 256) + b"and a second chunk"


@pytest.fixture(params=["folder", "bucket"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Blobs]:
    if request.param == "folder":
        yield FolderBlobs(tmp_path / "blobs")
        return
    keeper = S3Keeper(request.getfixturevalue("bucket"), tmp_path / "copies")
    yield await keeper.blobs()
    keeper.close()


async def execute(log: Log, command: PhotoCommand) -> None:
    await log.execute(command, client_id="alice", context=CONTEXT)


async def photo(log: Log, blobs: Blobs, data: bytes = b"") -> UploadPhoto:
    """Store and record a photo; its original is unique unless ``data`` is given."""
    data = data or ORIGINAL + uuid.uuid4().bytes
    command = msgspec.structs.replace(
        upload(), file_size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    await blobs.put(command.key, data)
    await execute(log, command)
    return command


async def rendition(log: Log, blobs: Blobs, of: UploadPhoto, job_id: str, data: bytes) -> str:
    """Store and record an optimized picture of a finished job, and return its key."""
    sha256 = hashlib.sha256(data).hexdigest()
    key = rendition_key(of.photo_id, job_id, "optimized", sha256)
    await blobs.put(key, data)
    made = Rendition(
        name="optimized",
        key=key,
        width=1,
        height=1,
        file_size=len(data),
        mime_type="image/webp",
        sha256=sha256,
    )
    for stage in TREE:
        renditions = (made,) if stage == "optimization" else ()
        done = msgspec.structs.replace(completed(of, stage), job_id=job_id, renditions=renditions)
        await execute(log, done)
    return key


def flipped(data: bytes, at: int = -1) -> bytes:
    altered = bytearray(data)
    altered[at] ^= 1
    return bytes(altered)


async def test_unchanged_files_are_intact(log: Log, blobs: Blobs) -> None:
    await photo(log, blobs, ORIGINAL)
    seen: list[tuple[int, int]] = []

    found = await check_files(
        log, blobs, renditions=True, progress=lambda done, total: seen.append((done, total))
    )

    assert found == Hashed(files=1, size_bytes=len(ORIGINAL))
    assert (found.well, found.verdict, [*found.lines()]) == (True, "", [])
    assert seen == [(1, 1)]


@pytest.mark.parametrize("at", [0, CHUNK_BYTES, -1])
async def test_one_changed_byte_of_an_original_is_found(log: Log, blobs: Blobs, at: int) -> None:
    command = await photo(log, blobs, ORIGINAL)
    await photo(log, blobs)
    await blobs.put(command.key, flipped(ORIGINAL, at))

    found = await check_files(log, blobs, renditions=False)

    (altered,) = found.altered
    assert (found.files, found.missing, found.verdict) == (2, [], "1 altered")
    assert (altered.key, altered.photo_id) == (command.key, command.photo_id)
    assert altered.size == altered.recorded_size == len(ORIGINAL)
    assert altered.recorded_sha256 == command.sha256 != altered.sha256
    (line,) = found.lines()
    assert line.startswith(f"altered  {command.key}  of photo {command.photo_id}: ")


async def test_a_lost_original_is_missing_unless_its_photo_is_deleted(
    log: Log, blobs: Blobs
) -> None:
    one, other = await photo(log, blobs), await photo(log, blobs)
    await execute(log, DeletePhoto(photo_id=other.photo_id))
    for each in (one, other):
        await blobs.delete(each.key)

    found = await check_files(log, blobs, renditions=True)

    assert (found.missing, found.altered, found.well) == ([one.key], [], False)


async def test_renditions_are_read_on_request(log: Log, blobs: Blobs) -> None:
    command = await photo(log, blobs)
    key = await rendition(log, blobs, command, command.job_id, b"webp")
    await blobs.put(key, b"WEBP")

    originals = await check_files(log, blobs, renditions=False)
    everything = await check_files(log, blobs, renditions=True)

    assert (originals.files, originals.well) == (1, True)
    assert [each.key for each in everything.altered] == [key]


async def test_a_replaced_rendition_may_be_gone_and_is_read_if_it_exists(
    log: Log, blobs: Blobs
) -> None:
    command = await photo(log, blobs)
    old = await rendition(log, blobs, command, command.job_id, b"old")
    job_id = str(uuid.uuid4())
    again = RequestProcessing(
        photo_id=command.photo_id, job_id=job_id, pipeline="full_processing", priority=5
    )
    await execute(log, again)
    await rendition(log, blobs, command, job_id, b"new")

    await blobs.put(old, b"odd")
    altered = await check_files(log, blobs, renditions=True)
    await blobs.delete(old)
    gone = await check_files(log, blobs, renditions=True)

    assert [each.key for each in altered.altered] == [old]
    assert (altered.files, altered.superseded) == (3, 1)
    assert (gone.files, gone.superseded, gone.well) == (2, 0, True)


async def test_a_single_photo_can_be_checked(log: Log, blobs: Blobs) -> None:
    command, other = await photo(log, blobs), await photo(log, blobs)
    await blobs.put(other.key, flipped(ORIGINAL))

    found = await check_files(log, blobs, only=command.photo_id, renditions=True)

    assert (found.files, found.well) == (1, True)


async def test_a_foreign_entry_names_no_file(log: Log, blobs: Blobs) -> None:
    await photo(log, blobs)
    redis: Any = log.redis
    key = log.keys.log(0)
    await redis.xadd(key, {"what": "ever"})
    body = msgspec.msgpack.encode({"type": "photo.uploaded", "data": {"photoId": "x"}})
    await redis.xadd(key, {"t": "photo.uploaded", "p": "x", "v": 1, "b": body})

    found = await check_files(log, blobs, renditions=True)

    assert (found.files, found.well) == (1, True)


async def test_a_key_that_leads_out_of_the_folder_is_not_followed(log: Log, blobs: Blobs) -> None:
    file = {"photoId": "x", "key": "../secret", "fileSize": 1, "sha256": "no digest"}
    body = msgspec.msgpack.encode({"type": "photo.uploaded", "data": file})
    redis: Any = log.redis
    await redis.xadd(log.keys.log(0), {"t": "photo.uploaded", "p": "x", "v": 1, "b": body})

    found = await check_files(log, blobs, renditions=True)

    assert (found.files, found.missing) == (0, ["../secret"])


async def test_a_backup_without_drafts_is_read_and_stays_unchanged(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    gone, broken = await photo(log, blobs), await photo(log, blobs)
    await blobs.delete(gone.key)
    (tmp_path / broken.key).unlink()
    (tmp_path / broken.key).mkdir()  # it exists, and cannot be read
    (tmp_path / "drafts").rmdir()
    before = sorted(tmp_path.rglob("*"))

    found = await check_files(log, FolderReader(tmp_path), renditions=True)

    assert (found.missing, found.unreadable) == ([gone.key], [broken.key])
    assert found.verdict == "1 unreadable, 1 missing"
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(Corrupt, match="Is a directory"):
        [chunk async for chunk in FolderReader(tmp_path).read(broken.key)]
