import os
import time
import uuid
from pathlib import Path

import msgspec
import pytest

from domain.photo.commands import (
    BackfillStage,
    DeletePhoto,
    RecordErased,
)
from domain.pipeline.stages import TREE
from ops.maintenance.reconcile import compare, record_removed, remove
from ops.maintenance.settling import settle
from projections import data_loss
from store.blobs.folder import FolderBlobs
from store.blobs.interface import PROBES, original_key, rendition_key
from store.log.log import Log
from store.redis.guarantee import Guarantee
from tests.conftest import CONTEXT
from tests.ops.stored_photos import (
    HOUR_S,
    age,
    execute,
    keys_in,
    reprocess,
    run_stages,
    stored_photo,
)
from tests.store.archive.segments import trim_all


async def test_an_intact_system_has_no_findings(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    made = await run_stages(log, blobs, photo, photo.job_id, "optimization")
    for each in (photo.key, *made.values()):
        age(blobs, each)

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert (found.named, found.missing, found.unnamed, found.drafts) == (2, [], [], [])


async def test_a_named_file_of_another_size_is_damaged(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    whole = await stored_photo(log, blobs)
    await blobs.put(photo.key, b"orig")

    found = await compare(log, blobs, older_than_s=HOUR_S)

    [damaged] = found.damaged
    assert (damaged.key, damaged.photo_id) == (photo.key, photo.photo_id)
    assert (damaged.size, damaged.recorded) == (4, whole.file_size)
    assert (found.named, found.missing) == (2, [])


async def test_a_named_file_that_is_gone_is_missing(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    await blobs.delete(photo.key)

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert [(each.key, each.photo_id) for each in found.missing] == [(photo.key, photo.photo_id)]


async def test_old_files_without_an_event_are_removed_and_young_ones_left(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old, young = (rendition_key(photo.photo_id, "job", name, "0" * 64) for name in ("a", "b"))
    await blobs.put(old, b"old")
    await blobs.put(young, b"young")
    age(blobs, old)
    (tmp_path / "drafts" / "gateway-gone~1").write_bytes(b"half")
    age(blobs, "drafts/gateway-gone~1")

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert [blob.key for blob in found.unnamed] == [old]
    assert [blob.key for blob in found.drafts] == ["drafts/gateway-gone~1"]
    left = {blob.key for blob in await blobs.keys("")}
    assert left == {photo.key, young}


async def test_an_original_without_an_event_is_kept_until_an_operator_decides(
    log: Log, tmp_path: Path
) -> None:
    """Its event was lost, and the process that knew it has ended: no alert names it."""
    blobs = FolderBlobs(tmp_path)
    await stored_photo(log, blobs)
    lost = await stored_photo(log, blobs)
    await log.redis.xdel(log.keys.log(0), (await log.end(0)).entry_id)
    await stored_photo(log, blobs)
    age(blobs, lost.key)

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert ([blob.key for blob in found.orphaned], found.unnamed) == ([lost.key], [])
    assert lost.key in {blob.key for blob in await blobs.keys("")}
    await remove(blobs, found, orphans=True, superseded=False)
    assert lost.key not in {blob.key for blob in await blobs.keys("")}


@pytest.mark.parametrize("can_fail_over", [False, True])
async def test_an_original_whose_gateway_was_killed_is_kept_only_where_a_failover_loses_answers(
    log: Log, tmp_path: Path, *, can_fail_over: bool
) -> None:
    log.guarantee = Guarantee(can_fail_over=can_fail_over)
    blobs = FolderBlobs(tmp_path)
    await stored_photo(log, blobs)
    keys = [original_key(str(uuid.uuid4())) for _ in range(2)]
    for key, owner in zip(keys, ("gateway", "gone"), strict=True):
        await blobs.put(key, b"whole")
        age(blobs, key)
        os.link(tmp_path / key, tmp_path / "drafts" / f"{owner}~1~{key.replace('/', '~')}")

    await settle(log, FolderBlobs(tmp_path, "gateway"))
    await remove(
        blobs, await compare(log, blobs, older_than_s=HOUR_S), orphans=False, superseded=False
    )

    left = {blob.key for blob in await blobs.keys("originals")} & set(keys)
    assert left == (set(keys) if can_fail_over else set())


async def test_an_original_left_by_an_erasure_is_removed(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    age(blobs, photo.key)
    await execute(log, DeletePhoto(photo_id=photo.photo_id))
    await execute(log, RecordErased(photo_id=photo.photo_id))

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert ([blob.key for blob in found.unnamed], found.orphaned) == ([photo.key], [])


async def test_originals_whose_events_the_log_has_lost_are_kept(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await stored_photo(log, blobs)
    before, after = await stored_photo(log, blobs), original_key(str(uuid.uuid4()))
    await log.redis.xdel(log.keys.log(0), (await log.end(0)).entry_id)
    loss = await data_loss.measure(log, await log.end(0), ())
    await data_loss.report(log, [loss])
    await blobs.put(after, b"newer than the log")
    age(blobs, before.key)
    os.utime(tmp_path / after, (time.time() + HOUR_S, time.time() + HOUR_S))

    found = await compare(log, blobs, older_than_s=-2 * HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert {blob.key for blob in found.orphaned} == {before.key, after}
    assert {before.key, after} <= {blob.key for blob in await blobs.keys("")}
    await remove(blobs, found, orphans=True, superseded=False)
    assert {before.key, after}.isdisjoint(blob.key for blob in await blobs.keys(""))


async def test_files_of_a_deleted_photo_are_neither_missing_nor_unnamed_until_erased(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    age(blobs, photo.key)
    await execute(log, DeletePhoto(photo_id=photo.photo_id))

    deleted = await compare(log, blobs, older_than_s=HOUR_S)
    await execute(log, RecordErased(photo_id=photo.photo_id))
    erased = await compare(log, blobs, older_than_s=HOUR_S)

    assert (deleted.named, deleted.missing, deleted.unnamed) == (0, [], [])
    assert [blob.key for blob in erased.unnamed] == [photo.key]


async def test_replaced_files_are_superseded_and_removed_on_request(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    new = await run_stages(log, blobs, photo, await reprocess(log, photo), *TREE)
    current = {photo.key, *new.values()}

    found = await compare(log, blobs, older_than_s=-HOUR_S)
    await remove(blobs, found, orphans=True, superseded=False)
    kept = await keys_in(blobs)
    await remove(blobs, found, orphans=False, superseded=True)
    await remove(blobs, found, orphans=False, superseded=True)  # as if killed halfway
    after = await compare(log, blobs, older_than_s=-HOUR_S)

    assert {(blob.key, blob.size) for blob in found.superseded} == {
        (key, 4) for key in old.values()
    }
    assert (found.named, found.missing, found.damaged, found.unnamed) == (5, [], [], [])
    assert kept == current | set(old.values())
    assert await keys_in(blobs) == current
    assert (after.named, after.missing, after.unnamed, after.superseded) == (5, [], [], [])


async def test_a_recently_replaced_file_is_kept_for_its_readers(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    for key in old.values():
        age(blobs, key)
    await run_stages(log, blobs, photo, await reprocess(log, photo), *TREE)

    young = await compare(log, blobs, older_than_s=HOUR_S)
    linked = await compare(log, blobs, older_than_s=-HOUR_S, links_s=2 * HOUR_S)

    assert (young.superseded, young.unnamed) == ([], [])
    assert (linked.superseded, linked.unnamed) == ([], [])


async def test_files_of_earlier_jobs_without_a_replacement_are_kept(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    backfill = BackfillStage(
        photo_id=photo.photo_id, job_id=str(uuid.uuid4()), stage="optimization"
    )
    await execute(log, backfill)
    await run_stages(log, blobs, photo, backfill.job_id, "optimization")
    running = await reprocess(log, photo)
    await run_stages(log, blobs, photo, running, "validation")

    found = await compare(log, blobs, older_than_s=-HOUR_S)
    await remove(blobs, found, orphans=False, superseded=True)

    assert [blob.key for blob in found.superseded] == [old["optimized"]]
    now = (await log.load(photo.photo_id, "alice")).photo
    assert now is not None
    assert await keys_in(blobs) == set(now.keys.values())


async def test_removed_superseded_files_are_recorded_and_no_longer_count(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    await run_stages(log, blobs, photo, await reprocess(log, photo), *TREE)
    doomed = await stored_photo(log, blobs)
    await execute(log, DeletePhoto(photo_id=doomed.photo_id))
    assert await record_removed(log, blobs, CONTEXT) == 0
    before = (await log.usage("alice")).usage.bytes
    await blobs.delete(old["optimized"])  # by a call that was killed before it recorded that

    found = await compare(log, blobs, older_than_s=-HOUR_S)
    await remove(blobs, found, orphans=False, superseded=True)
    assert await record_removed(log, blobs, CONTEXT) == 1
    assert await record_removed(log, blobs, CONTEXT) == 0

    after = await compare(log, blobs, older_than_s=-HOUR_S)
    loaded = (await log.load(photo.photo_id, "alice")).photo
    assert loaded is not None
    assert loaded.holding.superseded == {}
    assert (await log.usage("alice")).usage.bytes == before - 4 * len(old)
    assert (after.missing, after.unnamed, after.superseded) == ([], [], [])


async def test_files_of_earlier_jobs_are_erased_with_their_photo(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await stored_photo(log, blobs)
    old = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    await run_stages(log, blobs, photo, await reprocess(log, photo), *TREE)
    await execute(log, DeletePhoto(photo_id=photo.photo_id))

    deleted = await compare(log, blobs, older_than_s=-HOUR_S)
    await execute(log, RecordErased(photo_id=photo.photo_id))
    erased = await compare(log, blobs, older_than_s=-HOUR_S)

    assert (deleted.missing, deleted.unnamed, deleted.superseded) == ([], [], [])
    assert set(old.values()) < {blob.key for blob in erased.unnamed}
    assert erased.superseded == []


async def test_files_of_a_killed_process_are_kept_if_recorded_and_removed_if_not(
    log: Log, tmp_path: Path
) -> None:
    killed = FolderBlobs(tmp_path, "gateway")
    recorded = await stored_photo(log, killed)
    drafts = tmp_path / "drafts"
    unrecorded = original_key(str(uuid.uuid4()))
    await killed.put(unrecorded, b"nobody knows")
    for number, key in enumerate((recorded.key, unrecorded)):
        # As ``Draft.commit`` leaves it until the append is confirmed.
        os.link(tmp_path / key, drafts / f"gateway~{number}~{key.replace('/', '~')}")
    (drafts / "gateway~9").write_bytes(b"half")
    (drafts / "worker-1~1").write_bytes(b"of another process, which runs")

    await settle(log, FolderBlobs(tmp_path, "gateway"))

    left = {blob.key for blob in await killed.keys("")}
    assert left == {recorded.key, "drafts/worker-1~1"}


async def test_renditions_of_a_killed_worker_are_settled_by_their_photo_alone(
    log: Log, tmp_path: Path
) -> None:
    killed = FolderBlobs(tmp_path, "worker-1")
    photo = await stored_photo(log, killed)
    keys = await run_stages(log, killed, photo, photo.job_id, "thumbnails")
    named = keys["thumbnail-150"]
    unnamed = rendition_key(photo.photo_id, photo.job_id, "optimized", "cd")
    of_nobody = rendition_key(str(uuid.uuid4()), photo.job_id, "optimized", "ef")
    for number, key in enumerate((named, unnamed, of_nobody)):
        if key != named:
            await killed.put(key, b"nobody knows")
        os.link(tmp_path / key, tmp_path / "drafts" / f"worker-1~{number}~{key.replace('/', '~')}")

    await settle(log, FolderBlobs(tmp_path, "worker-1"))

    left = {blob.key for blob in await killed.keys("")}
    assert left == {photo.key, *keys.values()}


async def test_a_rendition_of_an_evicted_photo_is_kept(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, "worker-1")
    photo = await stored_photo(log, blobs)
    keys = await run_stages(log, blobs, photo, photo.job_id, *TREE)
    for number, key in enumerate(keys.values()):
        os.link(tmp_path / key, tmp_path / "drafts" / f"worker-1~{number}~{key.replace('/', '~')}")
    passed = await trim_all(log, blobs, keep_states_s=0.0)

    await settle(log, FolderBlobs(tmp_path, "worker-1"))

    assert sum(each.evicted for each in passed) == 1
    assert {blob.key for blob in await blobs.keys("renditions")} == set(keys.values())


async def test_files_of_a_killed_health_check_are_removed_at_the_next_start(
    log: Log, tmp_path: Path
) -> None:
    killed = FolderBlobs(tmp_path, "gateway")
    await killed.put(f"{PROBES}/1", b"probe")
    os.link(tmp_path / PROBES / "1", tmp_path / "drafts" / f"gateway~1~{PROBES}~1")

    await settle(log, FolderBlobs(tmp_path, "gateway"))

    assert await killed.keys("") == []


async def test_files_of_a_health_check_that_never_returns_are_found(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(f"{PROBES}/1", b"probe")
    age(blobs, f"{PROBES}/1")

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert [blob.key for blob in found.unnamed] == [f"{PROBES}/1"]
    assert await blobs.keys("") == []


async def test_the_report_is_json(log: Log, tmp_path: Path) -> None:
    found = await compare(log, FolderBlobs(tmp_path), older_than_s=0)

    assert msgspec.json.encode(found) == (
        b'{"named":0,"missing":[],"damaged":[],"unnamed":[],"orphaned":[],"superseded":[],'
        b'"drafts":[],"strays":[]}'
    )
