"""Exporting a log and importing it into another system."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as SyncRedis

from domain.photo.commands import DeletePhoto
from domain.pipeline.control import PauseStage
from domain.pipeline.stages import ROOT
from ops.errors import UserError
from ops.maintenance.audit import audit
from ops.maintenance.export_check import check
from ops.maintenance.export_file import Export
from ops.maintenance.import_note import IMPORTED, IMPORTING
from ops.maintenance.log_export import MANIFEST, Exported, export
from ops.maintenance.log_import import Imported, import_
from store.archive.adding import AT_ONCE
from store.archive.archive import Archive
from store.blobs.folder import FolderBlobs
from store.blobs.interface import Blobs, original_key
from store.errors import Corrupt
from store.log.control import ControlLog
from store.log.log import Log
from store.queue import liveness
from store.queue.dispatch import Dispatch
from store.queue.lanes import Lanes
from store.redis.connection import Client
from tests.conftest import CONTEXT
from tests.ops.maintenance.test_audit import WEBHOOK_COMMANDS
from tests.store.archive.segments import archive_all, fill


@pytest.fixture
def partitions() -> int:
    return 3


@pytest.fixture
def new_blobs(tmp_path: Path) -> Blobs:
    return FolderBlobs(tmp_path / "new-blobs")


async def worked(log: Log, blobs: Blobs) -> list[tuple[str, str]]:
    """Let clients do something; return their photos, as client and id."""
    photos: list[tuple[str, str]] = []
    for client_id in ("alice", "bob", "carol", "dave"):
        ids = await fill(log, 5, client_id=client_id)
        for photo_id in {*ids} - {ids[1]}:  # its SHA-256 is what the event of the upload records
            await blobs.put(original_key(photo_id), photo_id.encode())
        await log.execute(DeletePhoto(photo_id=ids[1]), client_id=client_id, context=CONTEXT)
        photos += [(client_id, each) for each in ids]
    await ControlLog(log).execute(PauseStage(stage="thumbnails"), CONTEXT)
    return photos


async def exported(log: Log, blobs: Blobs, path: Path) -> Exported:
    with path.open("wb") as file:
        return await export(log, Archive(blobs, log.log_id), file, blobs=blobs)


async def imported(log: Log, blobs: Blobs, path: Path) -> Imported:
    source = Export(path)
    try:
        return await import_(log, blobs, source, await check(source))
    finally:
        source.close()


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_an_imported_log_has_the_same_photos_histories_and_chains(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path, count: int
) -> None:
    photos = await worked(log, blobs)
    path = tmp_path / "export.tar"
    await exported(log, blobs, path)
    new = await Log.open(redis, prefix=f"{prefix}-new", partitions=count)

    found = await imported(new, new_blobs, path)

    before, after = await audit(log), await audit(new)
    assert (after.anchor, after.breaks, after.lost) == (before.anchor, [], [])
    assert found.events == before.events
    for client_id, photo_id in photos:
        was, now = await log.load(photo_id, client_id), await new.load(photo_id, client_id)
        assert (now.photo, now.version, now.digest) == (was.photo, was.version, was.digest)
        if count == log.partitions:
            assert now.position == was.position
    assert (await ControlLog(new).load()).controls == (await ControlLog(log).load()).controls
    originals = await blobs.keys("originals")
    assert [b.key for b in await new_blobs.keys("originals")] == [b.key for b in originals]


async def test_what_has_left_the_stream_is_exported_too(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    dispatch = Dispatch(log, "w1")
    for partition in range(log.partitions):
        await dispatch.prepare(partition)
        while events := await dispatch.read(partition, count=100, block_ms=1):
            await dispatch.commit([(each.position, ()) for each in events])
    passed = await archive_all(log, blobs, keep_s=0.0)
    assert sum(each.trimmed for each in passed) > 0

    await exported(log, blobs, tmp_path / "export.tar")

    new = await Log.open(redis, prefix=f"{prefix}-new", partitions=3)
    await imported(new, new_blobs, tmp_path / "export.tar")
    assert await audit(new) == await audit(log)


async def test_an_imported_photo_is_not_processed_again(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    await exported(log, blobs, tmp_path / "export.tar")
    new = await Log.open(redis, prefix=f"{prefix}-new")

    await imported(new, new_blobs, tmp_path / "export.tar")

    dispatch = Dispatch(new, "w1")
    await dispatch.prepare(0)
    assert await dispatch.read(0, count=100, block_ms=1) == []


async def test_an_import_is_done_once_and_goes_on_after_a_failure(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    path = tmp_path / "export.tar"
    await exported(log, blobs, path)
    new = await Log.open(redis, prefix=f"{prefix}-new", partitions=2)
    await imported(new, new_blobs, path)
    once = await audit(new)

    again = await imported(new, new_blobs, path)
    await redis.hdel(new.keys.meta, IMPORTED)  # as if it had been killed before the end
    await redis.hset(new.keys.meta, "importing", sha256(path.read_bytes()).hexdigest())
    await imported(new, new_blobs, path)

    assert again.events == 0
    assert await audit(new) == once


async def test_webhooks_of_an_imported_log_are_disabled_until_somebody_enables_them(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await ControlLog(log).execute(WEBHOOK_COMMANDS[0], CONTEXT)
    await exported(log, blobs, tmp_path / "export.tar")
    new = await Log.open(redis, prefix=f"{prefix}-new")

    found = await imported(new, new_blobs, tmp_path / "export.tar")

    (webhook,) = (await ControlLog(new).load()).controls.webhooks.values()
    assert (found.webhooks, webhook.disabled) == (1, "requested")
    assert "imported" in webhook.reason
    before, after = await audit(log), await audit(new)
    assert (after.events, after.breaks) == (before.events + 1, [])


async def test_an_import_that_another_one_has_overtaken_stops(
    log: Log,
    redis: Client,
    prefix: str,
    blobs: Blobs,
    new_blobs: Blobs,
    tmp_path: Path,
    valkey_url: str,
) -> None:
    await fill(log, AT_ONCE)
    await exported(log, blobs, tmp_path / "export.tar")
    new = await Log.open(redis, prefix=f"{prefix}-new", partitions=1)
    source = Export(tmp_path / "export.tar")
    untyped: Any = SyncRedis
    other = untyped.from_url(valkey_url)

    def begin_another(_done: int, _total: int | None) -> None:
        other.hset(new.keys.meta, IMPORTING, "the digest of another file")

    with pytest.raises(UserError, match="another import into this log"):
        await import_(
            new, new_blobs, source, await check(source, accept_damage=True), progress=begin_another
        )

    assert await redis.xlen(new.keys.log(0)) == AT_ONCE
    source.close()
    other.close()


async def test_a_log_with_events_takes_no_import(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    await exported(log, blobs, tmp_path / "export.tar")
    new = await Log.open(redis, prefix=f"{prefix}-new")
    await fill(new, 1)

    with pytest.raises(UserError, match="has a log with events already"):
        await imported(new, new_blobs, tmp_path / "export.tar")

    assert len([each async for each in new.scan(0)]) == 2


async def test_a_log_with_workers_takes_no_import(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await exported(log, blobs, tmp_path / "export.tar")
    new = await Log.open(redis, prefix=f"{prefix}-new")
    await Lanes(new, "w1", (ROOT,)).prepare(0)
    await liveness.report(new, "w1")

    with pytest.raises(UserError, match="workers run on this log"):
        await imported(new, new_blobs, tmp_path / "export.tar")


async def test_a_damaged_export_is_named(
    log: Log, redis: Client, prefix: str, blobs: Blobs, new_blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    path = tmp_path / "export.tar"
    await exported(log, blobs, path)
    with tarfile.open(path) as tar:
        member = next(m for m in tar.getmembers() if m.name.startswith("log/segments/"))
    data = bytearray(path.read_bytes())
    data[member.offset_data + member.size // 2] ^= 1
    path.write_bytes(bytes(data))
    new = await Log.open(redis, prefix=f"{prefix}-new")

    with pytest.raises(Corrupt, match=f"{member.name} of the export: its bytes differ"):
        await imported(new, new_blobs, path)


async def test_a_part_of_a_log_can_be_exported_but_not_imported(
    log: Log, blobs: Blobs, tmp_path: Path
) -> None:
    await worked(log, blobs)
    ends = {p: await log.last_entry(p) for p in range(3)}
    await worked(log, blobs)
    path = tmp_path / "export.tar"

    with path.open("wb") as file:
        found = await export(log, Archive(blobs, log.log_id), file, begin=ends)

    with tarfile.open(path) as tar:
        member = tar.extractfile(MANIFEST)
        assert member is not None
        manifest = json.load(member)
    assert found.events == (await audit(log)).events // 2
    assert manifest["complete"] is False
    with pytest.raises(UserError, match="only a part of a log"):
        Export(path)


def test_another_file_is_not_an_export(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")

    with pytest.raises(UserError, match="is not an export of a log"):
        Export(tmp_path / "a.tar")
