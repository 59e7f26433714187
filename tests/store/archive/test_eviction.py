"""States of photos at rest leave Redis, and come back from the archive."""

import anyio
import msgspec
import pytest

from domain.photo.commands import DeletePhoto, RequestProcessing
from domain.photo.events import FIRST_PREV
from domain.rejections import PhotoIsDeleted
from store.archive.archive import FOLDER
from store.blobs.interface import Blobs
from store.errors import Corrupt
from store.log import codec
from store.log.log import Log
from store.log.outcome import Appended, Duplicate, Loaded, Repeated
from store.log.position import Position
from tests.conftest import CONTEXT, one_and_three
from tests.store.archive.segments import (
    archiver_of,
    dispatch_all,
    everything,
    fill,
    rest,
    states,
    trim_all,
)
from tests.store.blob_stores import Keeper
from tests.store.commands import completed, upload

ROUNDS = 20


def reprocess(photo_id: str, job_id: str = "again") -> RequestProcessing:
    return RequestProcessing(
        photo_id=photo_id, job_id=job_id, pipeline="quick_processing", priority=5
    )


async def check_chains(log: Log) -> None:
    """Check the hash chain of every photo, and its loaded state against its events."""
    last: dict[str, tuple[str, int]] = {}
    clients: dict[str, str] = {}
    for partition in range(log.partitions):
        for each in await everything(log, partition):
            photo_id = each.event.data.photo_id
            digest, version = last.get(photo_id, (FIRST_PREV, 0))
            metadata = each.event.metadata
            assert (metadata.prev, metadata.photo_version) == (digest, version + 1)
            last[photo_id] = codec.digest(each.body), version + 1
            clients[photo_id] = metadata.client_id
    for photo_id, (digest, version) in last.items():
        loaded = await log.load(photo_id, clients[photo_id])
        assert (loaded.digest, loaded.version) == (digest, version)


def known(loaded: Loaded) -> Loaded:
    """Leave out where the state is."""
    return msgspec.structs.replace(loaded, evicted=False)


@one_and_three
async def test_states_of_photos_at_rest_leave_and_are_read_from_the_archive(
    log: Log, blobs: Blobs
) -> None:
    partition = log.partition_of("alice")
    photos = await rest(log, 5)
    before = [await log.load(each.photo_id, "alice") for each in photos]
    busy = await fill(log, 3)

    passed = await trim_all(log, blobs, keep_states_s=0.0)

    assert sum(each.evicted for each in passed) == 5
    assert await states(log, partition) == 4  # the busy ones, and that of the last segment
    after = [await log.load(each.photo_id, "alice") for each in photos]
    assert [known(each) for each in after] == before
    assert all(each.evicted for each in after)
    assert not (await log.load(busy[0], "alice")).evicted
    assert await states(log, partition) == 4  # reading puts nothing back
    await check_chains(log)


async def test_states_stay_without_the_setting_and_before_their_time(
    log: Log, blobs: Blobs
) -> None:
    await rest(log, 3)

    await trim_all(log, blobs)
    assert await states(log) == 4

    await trim_all(log, blobs, keep_states_s=3_600.0)
    assert await states(log) == 5


async def test_a_command_puts_the_state_back_and_continues_the_chain(
    log: Log, blobs: Blobs
) -> None:
    photos = await rest(log, 3)
    erased, whole = photos[0], photos[1]
    await trim_all(log, blobs, keep_states_s=0.0)

    outcome = await log.execute(reprocess(whole.photo_id), client_id="alice", context=CONTEXT)

    assert isinstance(outcome, Appended)
    assert outcome.after == await log.load(whole.photo_id, "alice")
    with pytest.raises(PhotoIsDeleted):
        await log.execute(reprocess(erased.photo_id), client_id="alice", context=CONTEXT)
    await check_chains(log)

    gone = await log.execute(
        DeletePhoto(photo_id=whole.photo_id), client_id="alice", context=CONTEXT
    )
    assert isinstance(gone, Appended)
    passed = await trim_all(log, blobs, keep_states_s=0.0)
    assert passed[0].evicted == 0  # it awaits its erasure
    await check_chains(log)


async def test_a_command_on_what_was_loaded_before_the_state_left_is_not_lost(
    log: Log, blobs: Blobs
) -> None:
    photos = await rest(log, 2)
    loaded = await log.load(photos[1].photo_id, "alice")
    await trim_all(log, blobs, keep_states_s=0.0)

    outcome = await log.execute(
        reprocess(photos[1].photo_id), client_id="alice", context=CONTEXT, loaded=loaded
    )

    assert isinstance(outcome, Appended)
    assert outcome.after.version == loaded.version + 1
    await check_chains(log)


async def test_two_commands_at_once_on_an_evicted_photo_are_both_done(
    log: Log, blobs: Blobs
) -> None:
    photos = await rest(log, 2)
    photo_id = photos[1].photo_id
    await trim_all(log, blobs, keep_states_s=0.0)

    async def delete() -> None:
        await log.execute(DeletePhoto(photo_id=photo_id), client_id="alice", context=CONTEXT)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(delete)

    own = [
        each.event.type for each in await everything(log) if each.event.data.photo_id == photo_id
    ]
    assert own.count("photo.deleted") == 1
    await check_chains(log)


async def test_duplicates_and_repeated_commands_are_known_of_evicted_photos(
    log: Log, blobs: Blobs
) -> None:
    await rest(log, 1)
    (_, kept, *_) = await rest(log, 2)
    first = upload("the same bytes")
    await log.execute(first, client_id="alice", context=CONTEXT, idempotency_key="k")
    await trim_all(log, blobs, keep_states_s=0.0)
    left = await states(log)
    again = msgspec.structs.replace(upload(), sha256=kept.sha256)

    outcome = await log.execute(again, client_id="alice", context=CONTEXT)
    repeated = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")

    assert isinstance(outcome, Duplicate)
    assert outcome.photo.photo_id == kept.photo_id
    assert isinstance(repeated, Repeated)
    assert await states(log) == left


async def test_a_missing_archive_never_makes_an_evicted_photo_unknown(
    log: Log, blobs: Blobs
) -> None:
    photos = await rest(log, 3)
    await trim_all(log, blobs, keep_states_s=0.0)
    for blob in await blobs.keys(FOLDER):
        await blobs.delete(blob.key)

    with pytest.raises(Corrupt):
        await log.load(photos[1].photo_id, "alice")


async def test_a_lost_record_of_what_was_evicted_only_repeats_the_work(
    log: Log, blobs: Blobs
) -> None:
    photos = await rest(log, 4)
    await trim_all(log, blobs, keep_states_s=0.0)
    done = await log.eviction.evicted(0)
    assert done > Position.start(0)
    await log.redis.delete(log.keys.evicted(0))

    loaded = await log.load(photos[1].photo_id, "alice")  # it is put back: who knows
    await trim_all(log, blobs, keep_states_s=0.0)

    assert not loaded.evicted
    assert await log.eviction.evicted(0) > done
    assert (await log.load(photos[1].photo_id, "alice")).evicted
    await check_chains(log)


async def test_two_archivers_and_commands_at_once_keep_every_chain(
    log: Log, keeper: Keeper
) -> None:
    archivers = [
        archiver_of(log, await keeper.blobs(f"archiver-{n}"), keep_s=0.0, keep_states_s=0.0)
        for n in range(2)
    ]
    photos = await rest(log, 4)
    done = anyio.Event()

    async def archive(number: int) -> None:
        while not done.is_set():
            await archivers[number].archive(0, now=True)

    async def change() -> None:
        for number in range(ROUNDS):
            photo = msgspec.structs.replace(photos[1 + number % 2], job_id=f"job-{number}")
            await log.execute(
                reprocess(photo.photo_id, photo.job_id), client_id="alice", context=CONTEXT
            )
            for stage in ("validation", "thumbnails"):
                await log.execute(completed(photo, stage), client_id="alice", context=CONTEXT)
            await rest(log, 1)
            await dispatch_all(log)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(archive, 0)
        tasks.start_soon(archive, 1)
        tasks.start_soon(change)

    await check_chains(log)
    assert await states(log) < ROUNDS
