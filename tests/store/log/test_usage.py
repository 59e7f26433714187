"""Quotas: the log accepts exactly what a client may have, and knows its usage."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.clients.quotas import NO_QUOTA, Quota
from domain.clients.usage import Usage
from domain.photo import commands as c
from domain.photo.results import Rendition
from domain.pipeline.failures import Category
from domain.rejections import (
    QuotaBytes,
    QuotaIdempotencyKeys,
    QuotaJobs,
    QuotaPhotos,
    Rejected,
)
from store.log import append
from store.log.log import Log
from store.log.outcome import Appended, Duplicate, Outcome, Repeated, Unchanged
from store.redis.connection import Client, connect
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload
from tests.tally import Total, totals

FIVE = Quota(photos=5)
LATER = "2026-11-23T11:00:00.000Z"


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


def made(photo: c.UploadPhoto, job_id: str, name: str, size: int) -> Rendition:
    return Rendition(
        name=name,
        key=f"renditions/{photo.photo_id}/{job_id}/{name}",
        width=1,
        height=1,
        file_size=size,
        mime_type="image/webp",
        sha256="",
    )


KEY_BYTES = 36
"""Sizes of files that an earlier job may have named; each key has one size."""

BOUNDED = {"bob": Quota(bytes=400, job_bytes=3 * KEY_BYTES)}
"""A job makes at most three files here."""

MADE = {"thumbnails": ("thumbnail-150", "thumbnail-300"), "optimization": ("optimized",)}


class Story(RuleBasedStateMachine):
    """The totals match the events after any operations in any order."""

    photos = Bundle("photos")
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = connect(self.url)
        prefix = f"test-{uuid.uuid4().hex}"
        self.log = self.runner.run(Log.open(self.redis, partitions=2, prefix=prefix))
        self.jobs: dict[str, str] = {}

    def teardown(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()

    def execute(self, command: c.PhotoCommand, client_id: str, quota: Quota = NO_QUOTA) -> bool:
        try:
            outcome = self.runner.run(
                self.log.execute(command, client_id=client_id, context=CONTEXT, quota=quota)
            )
        except Rejected:
            return False
        return isinstance(outcome, Appended)

    @rule(
        target=photos,
        client_id=st.sampled_from(("alice", "bob")),
        content=st.sampled_from("abcd"),
        most=st.integers(0, 3),
    )
    def send(self, client_id: str, content: str, most: int) -> c.UploadPhoto:
        photo = upload(content, client_id)
        before = self.runner.run(self.log.usage(client_id)).usage.photos
        quota = msgspec.structs.replace(BOUNDED.get(client_id, NO_QUOTA), photos=most)
        if self.execute(photo, client_id, quota):
            assert not most or before < most
            self.jobs[photo.photo_id] = photo.job_id
        return photo

    @rule(photo=photos, pipeline=st.sampled_from(("quick_processing", "full_processing")))
    def reprocess(self, photo: c.UploadPhoto, pipeline: str) -> None:
        job_id = str(uuid.uuid4())
        command = c.RequestProcessing(
            photo_id=photo.photo_id, job_id=job_id, pipeline=pipeline, priority=5
        )
        if self.execute(command, photo.client_id, BOUNDED.get(photo.client_id, NO_QUOTA)):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos)
    def backfill(self, photo: c.UploadPhoto) -> None:
        if photo.client_id in BOUNDED:  # operators' jobs reserve nothing
            return
        job_id = str(uuid.uuid4())
        command = c.BackfillStage(photo_id=photo.photo_id, job_id=job_id, stage="optimization")
        if self.execute(command, photo.client_id):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos)
    def retry(self, photo: c.UploadPhoto) -> None:
        job_id = str(uuid.uuid4())
        command = c.RetryProcessing(photo_id=photo.photo_id, job_id=job_id)
        if self.execute(command, photo.client_id, BOUNDED.get(photo.client_id, NO_QUOTA)):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos, size=st.integers(1, 9), same_key=st.booleans())
    def process(self, photo: c.UploadPhoto, size: int, *, same_key: bool) -> None:
        job_id = self.jobs.get(photo.photo_id, "")
        of = photo.job_id if same_key else job_id
        for stage in ("validation", "metadata", "thumbnails", "optimization", "placeholder"):
            self.execute(
                c.RecordStageCompleted(
                    photo_id=photo.photo_id,
                    job_id=job_id,
                    stage=stage,
                    attempt=1,
                    duration_ms=1,
                    result={},
                    renditions=tuple(
                        made(photo, of, name, len(of) if same_key else size)
                        for name in MADE.get(stage, ())
                    ),
                    remove_at=LATER,
                ),
                photo.client_id,
            )

    @rule(photo=photos)
    def fail(self, photo: c.UploadPhoto) -> None:
        command = c.RecordStageFailed(
            photo_id=photo.photo_id,
            job_id=self.jobs.get(photo.photo_id, ""),
            stage="metadata",
            attempt=1,
            category=Category.DATA,
            code="x",
            error="why",
        )
        self.execute(command, photo.client_id)

    @rule(photo=photos)
    def remove_superseded(self, photo: c.UploadPhoto) -> None:
        loaded = self.runner.run(self.log.load(photo.photo_id, photo.client_id)).photo
        if loaded is not None:
            keys = (*loaded.holding.superseded, *loaded.keys.values(), "nothing")
            command = c.RecordRenditionsRemoved(photo_id=photo.photo_id, keys=keys)
            self.execute(command, photo.client_id)
            self.execute(command, photo.client_id)

    @rule(photo=photos)
    def delete(self, photo: c.UploadPhoto) -> None:
        self.execute(c.DeletePhoto(photo_id=photo.photo_id), photo.client_id)

    @rule(photo=photos)
    def erase(self, photo: c.UploadPhoto) -> None:
        self.execute(c.RecordErased(photo_id=photo.photo_id), photo.client_id)

    @rule(client_id=st.sampled_from(("alice", "bob")), what=st.sampled_from((0, 1, 2)))
    def lose(self, client_id: str, what: int) -> None:
        keys, partition = self.log.keys, self.log.partition_of(client_id)
        names = (
            keys.usage(partition, client_id),
            keys.sha256(partition, client_id),
            keys.clients(partition),
        )
        self.runner.run(_delete(self.log, names[what]))

    @rule(photo=photos)
    def lose_state(self, photo: c.UploadPhoto) -> None:
        partition = self.log.partition_of(photo.client_id)
        self.runner.run(_delete(self.log, self.log.keys.photo(partition, photo.photo_id)))

    @invariant()
    def the_totals_are_those_of_the_events(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        recorded = [each for n in range(2) async for each in self.log.scan(n)]
        expected = totals(recorded)
        for client_id in ("alice", "bob"):
            key = self.log.keys.usage(self.log.partition_of(client_id), client_id)
            total = expected.get(client_id, Total(0, 0, 0))
            if await self.redis.exists(key):  # or it was lost, and nobody has asked since
                assert Total.of((await self.log.usage(client_id)).usage) == total
            quota = BOUNDED.get(client_id, NO_QUOTA)
            reserved = quota.job_bytes * total.jobs
            assert not quota.bytes or total.bytes + reserved <= quota.bytes


def test_the_totals_always_match_the_events(valkey_url: str) -> None:
    Story.url = valkey_url
    run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
        Story, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
