"""Content hashes of large clients move into buckets, and keep every promise there."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo.commands import DeletePhoto, UploadPhoto
from domain.rejections import QuotaPhotos
from store.log import content_hashes, hash_splitting
from store.log.content_hashes import ContentHashes, place_of
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.log.outcome import Appended, Duplicate, Outcome
from store.log.stream import Stream
from store.redis.connection import MAX_CONNECTIONS, Client, connect
from tests.conftest import CONTEXT
from tests.store.commands import upload
from tests.store.log.earlier import earlier


@pytest.fixture
async def log(redis: Client, prefix: str) -> Log:
    """A log on each server in turn."""
    return await Log.open(redis, prefix=prefix)


async def send(log: Log, command: UploadPhoto | DeletePhoto, quota: Quota = NO_QUOTA) -> Outcome:
    return await log.execute(command, client_id="alice", context=CONTEXT, quota=quota)


async def add(log: Log, *contents: str) -> list[UploadPhoto]:
    photos = [upload(each) for each in contents]
    for each in photos:
        assert isinstance(await send(log, each), Appended)
    return photos


async def split(log: Log) -> int:
    return await HashSplitter(log, most=0).split(0)


async def root(log: Log) -> dict[bytes, bytes]:
    redis: Any = log.redis
    return await redis.hgetall(log.keys.sha256(0, "alice"))


async def buckets(log: Log) -> dict[str, dict[bytes, bytes]]:
    redis: Any = log.redis
    pattern = f"{log.keys.prefix}:{{00}}:hashes:alice:*"
    names = [each.decode() async for each in redis.scan_iter(match=pattern)]
    return {name: await redis.hgetall(name) for name in names}


async def memory_of(log: Log, *keys: str) -> int:
    redis: Any = log.redis
    return sum([await redis.memory_usage(each, samples=0) for each in keys])


def bucket(log: Log, photo: UploadPhoto) -> str:
    return log.keys.hashes(0, "alice", place_of(photo.sha256).bucket)


def beside(content: str) -> str:
    """Return a content whose hash is in the same bucket."""
    number = place_of(upload(content).sha256).bucket
    others = (f"{content}{each}" for each in range(10**6))
    return next(each for each in others if place_of(upload(each).sha256).bucket == number)


async def check_each_hash_once(log: Log, *photos: UploadPhoto) -> None:
    """Check that root and live buckets have exactly the photos, each in one place."""
    kept = await root(log)
    name = None if b"" in kept else kept.get(b"split")
    found = [(k.decode(), v) for k, v in kept.items() if k not in (b"", b"split", b"buckets")]
    for each in (await buckets(log)).values() if name else ():
        if each[b""] == name:
            found += [(key.hex(), value) for key, value in each.items() if key]
    assert sorted(found) == sorted((each.sha256, each.photo_id.encode()) for each in photos)


async def check_duplicates(log: Log, **photos: UploadPhoto) -> None:
    for content, photo in photos.items():
        outcome = await send(log, upload(content))
        assert isinstance(outcome, Duplicate)
        assert outcome.photo.photo_id == photo.photo_id


async def test_the_hashes_of_a_small_client_stay_in_one_key(log: Log) -> None:
    photos = await add(log, "a", "b")

    assert await HashSplitter(log, most=2).split(0) == 0

    assert set(await root(log)) == {b"", *(each.sha256.encode() for each in photos)}
    assert await buckets(log) == {}


async def test_more_clients_than_there_are_connections_are_looked_at(log: Log) -> None:
    photos = await add(log, "a", "b")
    redis: Any = log.redis
    others = [log.keys.sha256(0, f"client-{number}") for number in range(MAX_CONNECTIONS + 1)]
    await redis.hset(log.keys.clients(0), mapping=dict.fromkeys(others, ""))

    assert await split(log) == 2

    await check_each_hash_once(log, *photos)


async def test_a_large_key_of_the_earlier_version_is_moved_and_still_read(log: Log) -> None:
    old, _ = earlier(log)
    photos = await add(old, *(f"{each}" for each in range(20)))
    assert set(await root(log)) == {b"", *(each.sha256.encode() for each in photos)}

    assert await HashSplitter(log, most=19).split(0) == 20

    assert set(await root(log)) == {b"split", b"buckets"}
    await check_each_hash_once(log, *photos)
    held = await log.holders_of([*(each.sha256 for each in photos), "ab" * 32], "alice")
    assert held == {each.sha256: each.photo_id for each in photos}
    await check_duplicates(log, **{f"{each}": photos[each] for each in range(20)})


async def test_no_client_takes_more_memory_in_buckets(log: Log) -> None:
    await add(log, "a")
    ghosts = {upload().sha256: str(uuid.uuid4()) for _ in range(hash_splitting.MOST)}
    redis: Any = log.redis
    await redis.hset(log.keys.sha256(0, "alice"), mapping=ghosts)
    in_root = await memory_of(log, log.keys.sha256(0, "alice"))

    assert await HashSplitter(log).split(0) == len(ghosts) + 1

    assert await memory_of(log, *await buckets(log)) <= in_root


async def test_hashes_are_claimed_and_released_in_buckets(log: Log) -> None:
    [first] = await add(log, "a")
    await split(log)

    [second] = await add(log, "b")
    await send(log, DeletePhoto(photo_id=first.photo_id))

    await check_each_hash_once(log, second)
    [third] = await add(log, "a")
    await check_duplicates(log, a=third, b=second)
    assert (await log.usage("alice")).usage.photos == 2


async def test_another_gateway_learns_of_the_split(log: Log, redis_url: str) -> None:
    redis = connect(redis_url)
    other, third = [await Log.open(redis, prefix=log.keys.prefix) for _ in range(2)]
    first, second = await add(other, "a", "b")
    await split(log)

    await check_duplicates(other, a=first)
    await send(third, DeletePhoto(photo_id=first.photo_id))

    await check_each_hash_once(log, second)
    assert await other.holder_of(first.sha256, "alice") is None
    await redis.aclose()


async def test_hashes_that_are_not_moved_yet_count_too(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{each}" for each in range(2_000)]
    redis: Any = log.redis
    photos = await add(log, *names[:20])
    ghosts = {upload(each).sha256: "ghost" for each in names[20:]}
    await redis.hset(log.keys.sha256(0, "alice"), mapping=ghosts)  # more than a listpack has
    monkeypatch.setattr(hash_splitting, "STEPS", 1)

    splitter = HashSplitter(log, most=0)
    moved = [await splitter.split(0)]

    assert 0 < moved[0] < 2_000
    await check_duplicates(log, **{name: photos[int(name)] for name in names[:20]})
    for each in photos[:10]:
        await send(log, DeletePhoto(photo_id=each.photo_id))
    again = await add(log, *names[:10])
    await check_duplicates(log, **{name: again[int(name)] for name in names[:10]})
    while await splitter.split(0):
        pass
    assert set(await root(log)) == {b"split", b"buckets"}
    await check_duplicates(log, **{name: again[int(name)] for name in names[:10]})


async def test_uploads_go_on_and_no_duplicate_is_accepted_while_hashes_move(
    log: Log, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_splitting, "TOGETHER", 1)
    redis = connect(redis_url)
    other = await Log.open(redis, prefix=log.keys.prefix)
    accepted: list[str] = []

    async def upload_all(gateway: Log) -> None:
        for each in range(60):
            outcome = await send(gateway, upload(f"{each}"))
            if isinstance(outcome, Appended):
                accepted.append(f"{each}")

    async def split_often() -> None:
        for _ in range(20):
            await split(log)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload_all, log)
        tasks.start_soon(upload_all, other)
        tasks.start_soon(split_often)

    assert sorted(accepted) == sorted(f"{each}" for each in range(60))
    await redis.aclose()


async def _delete(log: Log, key: str) -> None:
    await log.redis.delete(key)


async def _retype(log: Log, key: str) -> None:
    await log.redis.set(key, "something else")


async def _unmark(log: Log, key: str) -> None:
    await log.redis.hdel(key, "")


async def _of_an_earlier_split(log: Log, key: str) -> None:
    await log.redis.hset(key, "", "another")


@pytest.mark.parametrize("damage", [_delete, _retype, _unmark, _of_an_earlier_split])
async def test_a_lost_bucket_alone_is_folded_again(
    log: Log, damage: Callable[[Log, str], Awaitable[None]]
) -> None:
    photos = await add(log, "a", "b", "c")
    await split(log)
    before = await root(log)
    await damage(log, bucket(log, photos[0]))

    await check_duplicates(log, a=photos[0])

    assert await root(log) == before
    await check_each_hash_once(log, *photos)


async def test_many_lost_buckets_are_folded_together(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{each}" for each in range(20)]
    photos = dict(zip(names, await add(log, *names), strict=True))
    await split(log)
    for each in await buckets(log):
        await log.redis.delete(each)
    restore, folds = ContentHashes.restore, list[str | None]()

    async def counted(self: ContentHashes, *args: Any) -> None:
        folds.append(args[-1])
        await restore(self, *args)

    monkeypatch.setattr(ContentHashes, "restore", counted)

    await check_duplicates(log, **photos)

    assert len(folds) == 1
    await check_each_hash_once(log, *photos.values())
    await split(log)
    await check_each_hash_once(log, *photos.values())
    await check_duplicates(log, **photos)


async def test_a_lost_bucket_is_folded_without_what_is_still_in_the_root(log: Log) -> None:
    moved, kept = await add(log, "a", "b")
    await split(log)
    redis: Any = log.redis
    # As if the step that moves it had not come, into the bucket that is lost.
    key, field = bucket(log, kept), place_of(kept.sha256).field
    await redis.hdel(key, field)
    await redis.hset(log.keys.sha256(0, "alice"), kept.sha256, kept.photo_id)
    await redis.delete(key)

    [same] = await add(log, beside("b"))

    await check_each_hash_once(log, moved, kept, same)


@pytest.mark.parametrize("field", ["split", "buckets"])
async def test_a_split_root_without_its_marks_is_folded_again(log: Log, field: str) -> None:
    photos = await add(log, "a", "b")
    await split(log)
    await log.redis.hdel(log.keys.sha256(0, "alice"), field)

    await check_duplicates(log, a=photos[0])

    assert b"" in await root(log)
    await split(log)
    await check_each_hash_once(log, *photos)
    await check_duplicates(log, a=photos[0], b=photos[1])


@pytest.mark.parametrize("content", ["b", beside("a")])
async def test_buckets_of_an_earlier_split_do_not_count(log: Log, content: str) -> None:
    kept, deleted = await add(log, "a", content)
    await split(log)
    await log.redis.delete(log.keys.sha256(0, "alice"))
    await check_duplicates(log, a=kept)
    await send(log, DeletePhoto(photo_id=deleted.photo_id))  # from the root, not the old bucket

    await split(log)

    await check_each_hash_once(log, kept)
    assert await log.holder_of(deleted.sha256, "alice") is None
    [again] = await add(log, content)
    await check_each_hash_once(log, kept, again)


async def test_a_bucket_of_an_earlier_split_is_emptied_by_the_first_upload(log: Log) -> None:
    kept, deleted = await add(log, "a", "b")
    await split(log)
    await log.redis.delete(log.keys.sha256(0, "alice"))
    await check_duplicates(log, a=kept)
    await send(log, DeletePhoto(photo_id=deleted.photo_id))
    await split(log)

    [new] = await add(log, beside("b"))

    await check_each_hash_once(log, kept, new)


async def test_a_damaged_hash_that_is_not_moved_yet_is_folded_again(log: Log) -> None:
    photos = await add(log, "a", "b")
    await split(log)
    await log.redis.hset(log.keys.sha256(0, "alice"), photos[0].sha256, "no such photo")

    await check_duplicates(log, a=photos[0])

    await check_each_hash_once(log, *photos)


async def test_a_root_is_written_in_steps_and_only_replaced_when_complete(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_hashes, "TOGETHER", 2)
    photos = await add(log, *"abcde")
    await send(log, DeletePhoto(photo_id=photos[4].photo_id))
    await log.redis.delete(log.keys.sha256(0, "alice"))

    await check_duplicates(log, a=photos[0])

    await check_each_hash_once(log, *photos[:4])
    redis: Any = log.redis
    assert await redis.ttl(log.keys.sha256(0, "alice")) == -1
    assert not [each async for each in redis.scan_iter(match=f"{log.keys.prefix}:*refolded*")]


async def test_what_comes_while_a_root_is_written_is_in_it(
    log: Log, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = await add(log, *"abc")
    redis = connect(redis_url)
    other = await Log.open(redis, prefix=log.keys.prefix)
    await log.redis.delete(log.keys.sha256(0, "alice"))
    scan, waiting = Stream.scan, [True]

    async def scan_and_be_late(self: Stream, *args: Any, **kwargs: Any) -> Any:
        async for each in scan(self, *args, **kwargs):
            yield each
        if self is log and waiting:
            waiting.pop()
            await send(other, DeletePhoto(photo_id=photos[2].photo_id))

    monkeypatch.setattr(Stream, "scan", scan_and_be_late)

    await check_duplicates(log, a=photos[0])

    assert not waiting
    await check_each_hash_once(log, *photos[:2])
    await redis.aclose()


class TestBesideTheEarlierVersion:
    """A gateway that knows no buckets is still at work when an archiver splits a client."""

    async def test_both_find_the_duplicates_of_the_other(self, log: Log) -> None:
        old, hashes = earlier(log)
        photos = await add(log, "a", "b")
        await split(log)

        await check_duplicates(old, a=photos[0])
        assert hashes.folds == 1
        photos += await add(old, "c")
        photos += await add(log, "d")

        assert hashes.folds == 1  # the client is as before, until it is split again
        await check_duplicates(old, d=photos[3])
        await check_duplicates(log, c=photos[2])
        await split(log)
        await check_each_hash_once(log, *photos)
        await check_duplicates(log, a=photos[0], c=photos[2], d=photos[3])

    async def test_bytes_that_it_deletes_can_be_uploaded_again(self, log: Log) -> None:
        old, _ = earlier(log)
        [photo] = await add(log, "a")
        await split(log)
        await send(old, DeletePhoto(photo_id=photo.photo_id))

        [again] = await add(log, "a")

        await check_each_hash_once(log, again)

    async def test_before_a_split_it_shares_the_key(self, log: Log) -> None:
        old, hashes = earlier(log)
        [first] = await add(old, "a")
        [second] = await add(log, "b")

        await check_duplicates(old, b=second)
        await check_duplicates(log, a=first)

        assert hashes.folds == 0


async def test_a_lost_usage_is_folded_again_without_the_hashes(log: Log) -> None:
    await add(log, "a", "b")
    await split(log)
    before = await root(log)
    await log.redis.delete(log.keys.usage(0, "alice"))

    assert (await log.usage("alice")).usage.photos == 2
    await log.redis.delete(log.keys.usage(0, "alice"))
    with pytest.raises(QuotaPhotos):
        await send(log, upload(), Quota(photos=2))

    assert await root(log) == before


async def test_a_bucket_and_the_usage_may_be_lost_at_once(log: Log) -> None:
    photos = await add(log, "a", "b")
    await split(log)
    before, new = await root(log), upload(beside("a"))
    await log.redis.delete(log.keys.usage(0, "alice"), bucket(log, photos[0]))

    with pytest.raises(QuotaPhotos):
        await send(log, new, Quota(photos=2))
    assert isinstance(await send(log, new, Quota(photos=3)), Appended)

    assert await root(log) == before
    await check_each_hash_once(log, *photos, new)
