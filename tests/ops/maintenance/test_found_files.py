"""What reconciliation reports: strays, remaining work, and damaged files for the health check."""

import os
import uuid
from pathlib import Path

import msgspec
import pytest

from domain.pipeline.stages import TREE
from ops.maintenance.reconcile import compare, remove, tell_health
from store.blobs import damaged
from store.blobs.folder import FolderBlobs
from store.blobs.interface import original_key
from store.log.log import Log
from tests.ops.stored_photos import HOUR_S, reprocess, run_stages, stored_photo

STRAY = ("note.txt", "unknown/folder/file", "log/other", "originals/A File", "renditions/ab/Ü")


@pytest.mark.parametrize("name", [*map(os.fsencode, STRAY), b"originals/\xff"])
async def test_foreign_files_are_named_immediately_and_never_removed(
    log: Log, tmp_path: Path, name: bytes
) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put("log/id", b"id")
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stray")

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=True, superseded=True)

    (stray,) = found.strays
    assert stray.key == name.decode("utf-8", "backslashreplace")
    assert (stray.size, path.read_bytes()) == (5, b"stray")
    assert (found.unnamed, found.orphaned, found.drafts) == ([], [], [])
    assert not found.is_settled(removed=True, orphans=True)
    assert msgspec.json.decode(msgspec.json.encode(found))["strays"]


async def test_findings_that_were_not_removed_are_not_settled(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    superseded = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    await run_stages(log, blobs, photo, await reprocess(log, photo), *TREE)
    whole = await compare(log, blobs, older_than_s=-HOUR_S)
    orphan = original_key(str(uuid.uuid4()))
    await blobs.put(orphan, b"whole")
    orphaned = await compare(log, blobs, older_than_s=-HOUR_S)
    await blobs.delete(orphan)
    (tmp_path / "drafts" / "gone~1").write_bytes(b"half")
    draft = await compare(log, blobs, older_than_s=-HOUR_S)

    assert {blob.key for blob in whole.superseded} == set(superseded.values())
    assert whole.is_settled(removed=False, orphans=False)
    for found, needs_orphans in ((orphaned, True), (draft, False)):
        assert not found.is_settled(removed=False, orphans=True)
        assert found.is_settled(removed=True, orphans=False) is not needs_orphans
        assert found.is_settled(removed=True, orphans=True)


async def test_health_reports_missing_and_altered_files(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    gone, cut = [await stored_photo(log, blobs) for _ in range(2)]
    made = await run_stages(log, blobs, gone, gone.job_id, *TREE)
    await blobs.delete(gone.key)
    await blobs.put(cut.key, b"orig")
    await blobs.delete(made["optimized"])

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await tell_health(log, found.damages)

    assert {(each.key, each.damage, each.photo_id) for each in await damaged.noted(log)} == {
        (gone.key, "missing", gone.photo_id),
        (cut.key, "altered", cut.photo_id),
        (made["optimized"], "missing", gone.photo_id),
    }


async def test_health_reports_a_bounded_number_of_files(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damaged, "NOTED_MAX", 2)
    blobs = FolderBlobs(tmp_path)
    for _ in range(3):
        await blobs.delete((await stored_photo(log, blobs)).key)

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await tell_health(log, found.damages)

    assert len(found.missing) == 3
    assert len(await damaged.noted(log)) == 2
