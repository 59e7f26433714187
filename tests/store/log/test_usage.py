"""Quotas: the log accepts exactly what a client may have, and knows its usage."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import msgspec
import pytest

from domain.clients.quotas import NO_QUOTA, Quota
from domain.clients.usage import Usage
from domain.photo import commands as c
from domain.rejections import (
    QuotaBytes,
    QuotaIdempotencyKeys,
    QuotaJobs,
    QuotaPhotos,
    Rejected,
)
from store.log import append
from store.log.client_fold import MOST
from store.log.log import Log
from store.log.outcome import Duplicate, Outcome, Repeated, Unchanged
from store.redis.connection import Client, connect
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload

FIVE = Quota(photos=5)


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    """A log on each server in turn."""
    return await Log.open(redis, prefix=prefix)


@pytest.fixture
async def other(redis_url: str, prefix: str, log: Log) -> AsyncGenerator[Log]:
    """The same log, opened by another process."""
    redis = connect(redis_url)
    yield await Log.open(redis, prefix=prefix)
    await redis.aclose()


async def send(
    log: Log, command: c.PhotoCommand, quota: Quota = NO_QUOTA, key: str | None = None
) -> Outcome:
    return await log.execute(
        command, client_id="alice", context=CONTEXT, quota=quota, idempotency_key=key
    )


async def used(log: Log) -> Usage:
    return (await log.usage("alice")).usage


async def finish(log: Log, photo: c.UploadPhoto) -> None:
    for stage in ("validation", "thumbnails"):
        await send(log, completed(photo, stage))


async def test_concurrent_uploads_do_not_exceed_the_quota(log: Log, other: Log) -> None:
    accepted: list[str] = []
    refused: list[Rejected] = []

    async def try_one(gateway: Log) -> None:
        photo = upload()
        try:
            await send(gateway, photo, FIVE)
        except QuotaPhotos as error:
            refused.append(error)
        else:
            accepted.append(photo.photo_id)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(try_one, (log, other)[number % 2])

    assert (len(accepted), len(refused)) == (5, 15)
    assert await used(log) == Usage(photos=5, bytes=15, jobs=5)
    assert len([each async for each in log.scan(0)]) == 5
    assert str(refused[0]) == "5 of at most 5 photos are stored."


async def test_bytes_may_reach_the_quota_and_not_exceed_it(log: Log) -> None:
    await send(log, upload(), Quota(bytes=6))
    await send(log, upload(), Quota(bytes=6))

    with pytest.raises(QuotaBytes):
        await send(log, upload(), Quota(bytes=8))
    await send(log, upload(), Quota(bytes=9))
    assert (await used(log)).bytes == 9


async def test_a_deleted_photo_frees_its_slot_and_an_erased_one_its_bytes(log: Log) -> None:
    photo = upload()
    await send(log, photo)
    await send(log, c.DeletePhoto(photo_id=photo.photo_id))

    assert await used(log) == Usage(bytes=3)
    with pytest.raises(QuotaBytes):
        await send(log, upload(), Quota(bytes=3))
    await send(log, c.RecordErased(photo_id=photo.photo_id))
    await send(log, upload(), Quota(bytes=3, photos=1, jobs=1))


async def test_jobs_count_until_they_end(log: Log) -> None:
    photo = msgspec.structs.replace(upload(), pipeline="quick_processing")
    await send(log, photo, Quota(jobs=1))

    with pytest.raises(QuotaJobs):
        await send(log, upload(), Quota(jobs=1))
    await finish(log, photo)
    again = c.RequestProcessing(
        photo_id=photo.photo_id, job_id="again", pipeline="quick_processing", priority=5
    )
    await send(log, again, Quota(jobs=1))
    with pytest.raises(QuotaJobs):
        await send(log, upload(), Quota(jobs=1))


async def test_reprocessing_is_rejected_when_no_byte_is_left(log: Log) -> None:
    photo = msgspec.structs.replace(upload(), pipeline="quick_processing")
    await send(log, photo)
    await finish(log, photo)
    again = c.RequestProcessing(
        photo_id=photo.photo_id, job_id="again", pipeline="quick_processing", priority=5
    )

    with pytest.raises(QuotaBytes):
        await send(log, again, Quota(bytes=3))
    await send(log, again, Quota(bytes=4))


async def test_jobs_in_progress_reserve_room_for_what_they_may_make(log: Log) -> None:
    quota = Quota(bytes=100, job_bytes=40)
    first = msgspec.structs.replace(upload(), pipeline="quick_processing")
    await send(log, first, quota)
    await send(log, upload(), quota)

    with pytest.raises(QuotaBytes) as refused:
        await send(log, upload(), quota)
    words = "6 of 100 bytes are used; jobs, with this one, reserve 120 more."
    assert str(refused.value) == words
    assert "Wait for jobs to end" in refused.value.advice
    await finish(log, first)
    await send(log, upload(), quota)
    await send(log, c.DeletePhoto(photo_id=first.photo_id))  # whose job has ended
    with pytest.raises(QuotaBytes):
        await send(log, upload(), quota)


async def test_a_backfill_takes_none_of_the_clients_jobs(log: Log) -> None:
    photo = msgspec.structs.replace(upload(), pipeline="quick_processing")
    await send(log, photo)
    await finish(log, photo)

    await send(log, c.BackfillStage(photo_id=photo.photo_id, job_id="run", stage="metadata"))

    assert (await used(log)).jobs == 0


async def test_duplicates_and_repeats_are_never_rejected(log: Log) -> None:
    full = Quota(photos=1, bytes=3, jobs=1, idempotency_keys=1)
    photo = upload("a")
    await send(log, photo, full, "key")

    repeat = await send(log, upload("a"), full, "key")
    duplicate = await send(log, upload("a"), full)
    lost_reply = await send(log, photo, full)

    assert isinstance(repeat, Repeated)
    assert repeat.photo_id == photo.photo_id
    assert isinstance(duplicate, Duplicate)
    assert duplicate.photo.photo_id == photo.photo_id
    assert isinstance(lost_reply, Unchanged)
    assert await used(log) == Usage(photos=1, bytes=3, jobs=1)


async def test_idempotency_keys_are_counted_until_they_expire(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "IDEMPOTENCY_TTL_S", 1)
    two = Quota(idempotency_keys=2)
    await send(log, upload("a"), two, "one")
    await send(log, upload("a"), two, "two")  # which finds a duplicate

    with pytest.raises(QuotaIdempotencyKeys) as refused:
        await send(log, upload(), two, "three")
    assert (await log.usage("alice")).idempotency_keys == 2
    await send(log, upload(), two)  # without a key

    assert refused.value.retry_after_s is not None
    assert 0 < refused.value.retry_after_s <= 1
    with anyio.fail_after(10):
        while (await log.usage("alice")).idempotency_keys:
            await anyio.sleep(0.02)
    await send(log, upload(), two, "three")
    assert await log.redis.zcard(log.keys.commands(0, "alice")) == 1


async def _delete(log: Log, key: str) -> None:
    await log.redis.delete(key)


async def _retype(log: Log, key: str) -> None:
    await log.redis.set(key, "something else")


async def _spoil(log: Log, key: str) -> None:
    await log.redis.hset(key, "photos", "many")


async def _unmark(log: Log, key: str) -> None:
    await log.redis.hdel(key, "")


@pytest.mark.parametrize("damage", [_delete, _retype, _spoil, _unmark])
async def test_a_lost_usage_is_folded_again_and_never_counts_as_zero(
    log: Log, damage: Callable[[Log, str], Awaitable[None]]
) -> None:
    for _ in range(5):
        await send(log, upload(), FIVE)
    await damage(log, log.keys.usage(0, "alice"))

    with pytest.raises(QuotaPhotos):
        await send(log, upload(), FIVE)

    await damage(log, log.keys.usage(0, "alice"))
    assert await used(log) == Usage(photos=5, bytes=15, jobs=5)


@pytest.mark.parametrize("size", [10**15 - 3, 2**53 - 3, 2**53 + 1, 10**18 - 4])
async def test_totals_are_exact_however_large(log: Log, size: int) -> None:
    large = msgspec.structs.replace(upload(), file_size=size)
    await send(log, large)
    await send(log, upload(), Quota(photos=5))

    with anyio.fail_after(20):
        assert await used(log) == Usage(photos=2, bytes=size + 3, jobs=2)
    await send(log, upload(), Quota(bytes=10**18))
    await log.redis.delete(log.keys.usage(0, "alice"))
    with anyio.fail_after(20):
        assert (await used(log)).bytes == min(size + 6, MOST)


@pytest.mark.parametrize("size", [10**15 - 3, 2**53 - 3, 2**53 + 1, 10**18 - 4])
async def test_totals_are_exact_when_a_large_photo_goes(log: Log, size: int) -> None:
    large = msgspec.structs.replace(upload(), file_size=size)
    await send(log, large)
    await send(log, upload())

    await send(log, c.DeletePhoto(photo_id=large.photo_id))
    await send(log, c.RecordErased(photo_id=large.photo_id))

    assert await used(log) == Usage(photos=1, bytes=3, jobs=1)


async def test_a_total_beyond_the_largest_is_the_largest(log: Log) -> None:
    for _ in range(2):
        await send(log, msgspec.structs.replace(upload(), file_size=10**18))

    with anyio.fail_after(20):
        assert await used(log) == Usage(photos=2, bytes=MOST, jobs=2)
    with pytest.raises(QuotaBytes):
        await send(log, upload(), Quota(bytes=10**15))
    await send(log, upload(), Quota(photos=5))


async def test_changes_made_while_the_usage_is_lost_are_counted(log: Log) -> None:
    photo = upload()
    await send(log, photo, FIVE)
    await log.redis.delete(log.keys.usage(0, "alice"))
    await send(log, upload())  # without a quota, so nothing is folded for it
    assert not await log.redis.exists(log.keys.usage(0, "alice"))
    await send(log, c.DeletePhoto(photo_id=photo.photo_id))

    assert await used(log) == Usage(photos=1, bytes=6, jobs=1)


async def test_all_keys_beside_the_log_may_be_lost_at_once(log: Log) -> None:
    for _ in range(5):
        await send(log, upload(), FIVE)
    for key in (
        log.keys.usage(0, "alice"),
        log.keys.clients(0),
        log.keys.sha256(0, "alice"),
    ):
        await log.redis.delete(key)

    assert (await log.usage("bob")).usage == Usage()
    with pytest.raises(QuotaPhotos):
        await send(log, upload(), FIVE)


async def test_a_client_whose_usage_was_read_before_its_first_upload_keeps_its_hashes(
    log: Log,
) -> None:
    await send(log, upload("a"))
    await log.redis.delete(log.keys.clients(0))
    assert (await log.usage("bob")).usage == Usage()
    photo = upload("b", "bob")
    await log.execute(photo, client_id="bob", context=CONTEXT)
    await log.redis.delete(log.keys.sha256(0, "bob"))

    twin = await log.execute(upload("b", "bob"), client_id="bob", context=CONTEXT)

    assert isinstance(twin, Duplicate)
    assert twin.photo.photo_id == photo.photo_id


async def test_a_new_client_has_no_usage_and_needs_no_fold(log: Log) -> None:
    await send(log, upload())

    assert (await log.usage("bob")).usage == Usage()
    assert not await log.redis.exists(log.keys.sha256(0, "bob"))
