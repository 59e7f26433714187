import os
import time
import uuid
from pathlib import Path

import msgspec
import pytest

from domain.commands import (
    BackfillStage,
    DeletePhoto,
    PhotoCommand,
    RecordErased,
    RecordStageCompleted,
    RequestProcessing,
    UploadPhoto,
)
from domain.pipeline import TREE
from domain.results import Rendition
from ops.reconciling import compare, record_removed, remove, settle
from projections import losses
from store.blobs import PROBES, original_key, rendition_key
from store.folder_blobs import FolderBlobs
from store.guarantee import Guarantee
from store.log import Log
from tests.conftest import CONTEXT

HOUR_S = 3600.0


async def _execute(log: Log, command: PhotoCommand) -> None:
    await log.execute(command, client_id="alice", context=CONTEXT)


async def _photo(log: Log, blobs: FolderBlobs, data: bytes = b"original") -> UploadPhoto:
    """A photo whose original is stored and recorded."""
    photo_id = str(uuid.uuid4())
    command = UploadPhoto(
        photo_id=photo_id,
        job_id=str(uuid.uuid4()),
        client_id="alice",
        session_id=None,
        original_filename="a.jpg",
        mime_type="image/jpeg",
        file_size=len(data),
        sha256=uuid.uuid4().hex * 2,
        bucket=blobs.bucket,
        key=original_key(photo_id),
        pipeline="full_processing",
        priority=5,
    )
    await blobs.put(command.key, data)
    await _execute(log, command)
    return command


MADE = {
    "thumbnails": ("thumbnail-150", "thumbnail-300", "thumbnail-600"),
    "optimization": ("optimized",),
}


async def _run(
    log: Log, blobs: FolderBlobs, photo: UploadPhoto, job_id: str, *stages: str
) -> dict[str, str]:
    """Those stages of the job, each with its files; their keys, by name."""
    keys: dict[str, str] = {}
    for stage in stages:
        renditions: list[Rendition] = []
        for name in MADE.get(stage, ()):
            keys[name] = rendition_key(photo.photo_id, job_id, name, "ab")
            await blobs.put(keys[name], b"webp")
            renditions.append(
                Rendition(
                    name=name,
                    key=keys[name],
                    width=1,
                    height=1,
                    file_size=4,
                    mime_type="image/webp",
                    sha256="",
                )
            )
        done = RecordStageCompleted(
            photo_id=photo.photo_id,
            job_id=job_id,
            stage=stage,
            attempt=1,
            duration_ms=1,
            result={},
            renditions=tuple(renditions),
        )
        await _execute(log, done)
    return keys


async def _reprocess(log: Log, photo: UploadPhoto) -> str:
    """The id of the new job."""
    job_id = str(uuid.uuid4())
    await _execute(
        log,
        RequestProcessing(
            photo_id=photo.photo_id, job_id=job_id, pipeline="full_processing", priority=5
        ),
    )
    return job_id


async def _keys(blobs: FolderBlobs) -> set[str]:
    return {blob.key for blob in await blobs.keys("")}


def _age(blobs: FolderBlobs, key: str) -> None:
    then = time.time() - 2 * HOUR_S
    os.utime(blobs.root / key, (then, then))


async def test_where_all_is_well_nothing_is_found(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    made = await _run(log, blobs, photo, photo.job_id, "optimization")
    for each in (photo.key, *made.values()):
        _age(blobs, each)

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert (found.named, found.missing, found.unnamed, found.drafts) == (2, [], [], [])


async def test_a_named_file_of_another_size_is_damaged(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    whole = await _photo(log, blobs)
    await blobs.put(photo.key, b"orig")

    found = await compare(log, blobs, older_than_s=HOUR_S)

    [damaged] = found.damaged
    assert (damaged.key, damaged.photo_id) == (photo.key, photo.photo_id)
    assert (damaged.size, damaged.recorded) == (4, whole.file_size)
    assert (found.named, found.missing) == (2, [])


async def test_a_named_file_that_is_gone_is_missing(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    await blobs.delete(photo.key)

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert [(each.key, each.photo_id) for each in found.missing] == [(photo.key, photo.photo_id)]


async def test_old_files_without_an_event_are_removed_and_young_ones_left(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old, young = (rendition_key(photo.photo_id, "job", name, "0" * 64) for name in ("a", "b"))
    await blobs.put(old, b"old")
    await blobs.put(young, b"young")
    _age(blobs, old)
    (tmp_path / "drafts" / "gateway-gone~1").write_bytes(b"half")
    _age(blobs, "drafts/gateway-gone~1")

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert [blob.key for blob in found.unnamed] == [old]
    assert [blob.key for blob in found.drafts] == ["drafts/gateway-gone~1"]
    left = {blob.key for blob in await blobs.keys("")}
    assert left == {photo.key, young}


async def test_an_original_without_an_event_is_kept_until_an_operator_decides(
    log: Log, tmp_path: Path
) -> None:
    """Its event was lost, and whoever knew of it is gone: no alert names it."""
    blobs = FolderBlobs(tmp_path)
    await _photo(log, blobs)
    lost = await _photo(log, blobs)
    await log.redis.xdel(log.keys.log(0), (await log.end(0)).entry_id)
    await _photo(log, blobs)
    _age(blobs, lost.key)

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
    await _photo(log, blobs)
    keys = [original_key(str(uuid.uuid4())) for _ in range(2)]
    for key, owner in zip(keys, ("gateway", "gone"), strict=True):
        await blobs.put(key, b"whole")
        _age(blobs, key)
        os.link(tmp_path / key, tmp_path / "drafts" / f"{owner}~1~{key.replace('/', '~')}")

    await settle(log, FolderBlobs(tmp_path, "gateway"))
    await remove(
        blobs, await compare(log, blobs, older_than_s=HOUR_S), orphans=False, superseded=False
    )

    left = {blob.key for blob in await blobs.keys("originals")} & set(keys)
    assert left == (set(keys) if can_fail_over else set())


async def test_an_original_that_an_erasure_has_left_is_removed(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    _age(blobs, photo.key)
    await _execute(log, DeletePhoto(photo_id=photo.photo_id))
    await _execute(log, RecordErased(photo_id=photo.photo_id))

    found = await compare(log, blobs, older_than_s=HOUR_S)

    assert ([blob.key for blob in found.unnamed], found.orphaned) == ([photo.key], [])


async def test_originals_whose_events_the_log_has_lost_are_kept(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await _photo(log, blobs)
    before, after = await _photo(log, blobs), original_key(str(uuid.uuid4()))
    await log.redis.xdel(log.keys.log(0), (await log.end(0)).entry_id)
    loss = await losses.measure(log, await log.end(0), ())
    await losses.tell(log, [loss])
    await blobs.put(after, b"newer than the log")
    _age(blobs, before.key)
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
    photo = await _photo(log, blobs)
    _age(blobs, photo.key)
    await _execute(log, DeletePhoto(photo_id=photo.photo_id))

    deleted = await compare(log, blobs, older_than_s=HOUR_S)
    await _execute(log, RecordErased(photo_id=photo.photo_id))
    erased = await compare(log, blobs, older_than_s=HOUR_S)

    assert (deleted.named, deleted.missing, deleted.unnamed) == (0, [], [])
    assert [blob.key for blob in erased.unnamed] == [photo.key]


async def test_files_that_a_later_job_has_replaced_are_superseded_and_removed_if_asked(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old = await _run(log, blobs, photo, photo.job_id, *TREE)
    new = await _run(log, blobs, photo, await _reprocess(log, photo), *TREE)
    current = {photo.key, *new.values()}

    found = await compare(log, blobs, older_than_s=-HOUR_S)
    await remove(blobs, found, orphans=True, superseded=False)
    kept = await _keys(blobs)
    await remove(blobs, found, orphans=False, superseded=True)
    await remove(blobs, found, orphans=False, superseded=True)  # as after a kill in the middle
    after = await compare(log, blobs, older_than_s=-HOUR_S)

    assert {(blob.key, blob.size) for blob in found.superseded} == {
        (key, 4) for key in old.values()
    }
    assert (found.named, found.missing, found.damaged, found.unnamed) == (5, [], [], [])
    assert kept == current | set(old.values())
    assert await _keys(blobs) == current
    assert (after.named, after.missing, after.unnamed, after.superseded) == (5, [], [], [])


async def test_a_file_that_was_replaced_a_moment_ago_may_still_be_being_read(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old = await _run(log, blobs, photo, photo.job_id, *TREE)
    for key in old.values():
        _age(blobs, key)
    await _run(log, blobs, photo, await _reprocess(log, photo), *TREE)

    young = await compare(log, blobs, older_than_s=HOUR_S)
    linked = await compare(log, blobs, older_than_s=-HOUR_S, links_s=2 * HOUR_S)

    assert (young.superseded, young.unnamed) == ([], [])
    assert (linked.superseded, linked.unnamed) == ([], [])


async def test_files_of_earlier_jobs_that_no_later_one_has_made_again_are_kept(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old = await _run(log, blobs, photo, photo.job_id, *TREE)
    backfill = BackfillStage(
        photo_id=photo.photo_id, job_id=str(uuid.uuid4()), stage="optimization"
    )
    await _execute(log, backfill)
    await _run(log, blobs, photo, backfill.job_id, "optimization")
    running = await _reprocess(log, photo)
    await _run(log, blobs, photo, running, "validation")

    found = await compare(log, blobs, older_than_s=-HOUR_S)
    await remove(blobs, found, orphans=False, superseded=True)

    assert [blob.key for blob in found.superseded] == [old["optimized"]]
    now = (await log.load(photo.photo_id, "alice")).photo
    assert now is not None
    assert await _keys(blobs) == set(now.keys.values())


async def test_superseded_files_that_are_gone_are_recorded_and_count_no_more(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old = await _run(log, blobs, photo, photo.job_id, *TREE)
    await _run(log, blobs, photo, await _reprocess(log, photo), *TREE)
    doomed = await _photo(log, blobs)
    await _execute(log, DeletePhoto(photo_id=doomed.photo_id))
    assert await record_removed(log, blobs, CONTEXT) == 0
    before = (await log.usage("alice")).usage.bytes
    await blobs.delete(old["optimized"])  # by a call that was killed before it could record it

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


async def test_files_of_earlier_jobs_go_with_their_photo(log: Log, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    photo = await _photo(log, blobs)
    old = await _run(log, blobs, photo, photo.job_id, *TREE)
    await _run(log, blobs, photo, await _reprocess(log, photo), *TREE)
    await _execute(log, DeletePhoto(photo_id=photo.photo_id))

    deleted = await compare(log, blobs, older_than_s=-HOUR_S)
    await _execute(log, RecordErased(photo_id=photo.photo_id))
    erased = await compare(log, blobs, older_than_s=-HOUR_S)

    assert (deleted.missing, deleted.unnamed, deleted.superseded) == ([], [], [])
    assert set(old.values()) < {blob.key for blob in erased.unnamed}
    assert erased.superseded == []


async def test_what_a_killed_process_left_is_kept_if_it_was_recorded_and_removed_if_not(
    log: Log, tmp_path: Path
) -> None:
    killed = FolderBlobs(tmp_path, "gateway")
    recorded = await _photo(log, killed)
    drafts = tmp_path / "drafts"
    unrecorded = original_key(str(uuid.uuid4()))
    await killed.put(unrecorded, b"nobody knows")
    for number, key in enumerate((recorded.key, unrecorded)):
        # As ``Draft.commit`` leaves it until the append is known to have happened.
        os.link(tmp_path / key, drafts / f"gateway~{number}~{key.replace('/', '~')}")
    (drafts / "gateway~9").write_bytes(b"half")
    (drafts / "worker-1~1").write_bytes(b"of another process, which runs")

    await settle(log, FolderBlobs(tmp_path, "gateway"))

    left = {blob.key for blob in await killed.keys("")}
    assert left == {recorded.key, "drafts/worker-1~1"}


async def test_what_a_health_check_left_that_was_killed_is_removed_at_the_next_start(
    log: Log, tmp_path: Path
) -> None:
    killed = FolderBlobs(tmp_path, "gateway")
    await killed.put(f"{PROBES}/1", b"probe")
    os.link(tmp_path / PROBES / "1", tmp_path / "drafts" / f"gateway~1~{PROBES}~1")

    await settle(log, FolderBlobs(tmp_path, "gateway"))

    assert await killed.keys("") == []


async def test_what_a_health_check_left_that_never_comes_back_is_found(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(f"{PROBES}/1", b"probe")
    _age(blobs, f"{PROBES}/1")

    found = await compare(log, blobs, older_than_s=HOUR_S)
    await remove(blobs, found, orphans=False, superseded=False)

    assert [blob.key for blob in found.unnamed] == [f"{PROBES}/1"]
    assert await blobs.keys("") == []


async def test_the_report_is_json(log: Log, tmp_path: Path) -> None:
    found = await compare(log, FolderBlobs(tmp_path), older_than_s=0)

    assert msgspec.json.encode(found) == (
        b'{"named":0,"missing":[],"damaged":[],"unnamed":[],"orphaned":[],"superseded":[],'
        b'"drafts":[]}'
    )
