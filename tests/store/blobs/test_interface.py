"""The contract of both blob stores; each test runs on a folder and on a bucket."""

import hashlib

import anyio
import pytest

from store.blobs.interface import Leftover, original_key, rendition_key
from store.errors import Exists, Missing
from tests.store.blob_stores import Keeper, content

KEY = "originals/ab/abc"
MORE_THAN_A_PART = bytes(range(256)) * 25_000


async def test_a_blob_is_read_as_it_was_written(keeper: Keeper) -> None:
    blobs, data = await keeper.blobs(), MORE_THAN_A_PART
    async with blobs.draft(KEY) as draft:
        for at in range(0, len(data), 70_001):
            await draft.write(data[at : at + 70_001])
        await draft.commit()

    assert await content(blobs, KEY) == data
    assert (draft.size, draft.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await blobs.size(KEY) == len(data)
    assert await content(blobs, KEY, 1_048_570, 20) == data[1_048_570:1_048_590]
    assert await content(blobs, KEY, len(data) - 5, 20) == data[-5:]
    assert await content(blobs, KEY, len(data)) == b""


@pytest.mark.parametrize("data", [b"", b"small", bytes(5 << 20), bytes((5 << 20) + 1)])
async def test_a_blob_may_have_any_size(keeper: Keeper, data: bytes) -> None:
    blobs = await keeper.blobs()
    async with blobs.draft(KEY) as draft:
        await draft.write(data)
        await draft.commit()

    assert await content(blobs, KEY) == data
    assert draft.sha256 == hashlib.sha256(data).hexdigest()
    async with blobs.local(KEY) as path:
        assert path.read_bytes() == data


async def test_the_digest_is_available_while_writing(keeper: Keeper) -> None:
    blobs, data = await keeper.blobs(), MORE_THAN_A_PART
    async with blobs.draft(KEY) as draft:
        for part in (data[:1_000], data[1_000:]):
            await draft.write(part)
            await draft.flush()
        first = draft.sha256
        await draft.write(b"the end")
        await draft.commit()

    assert first == hashlib.sha256(data).hexdigest()
    assert draft.sha256 == hashlib.sha256(data + b"the end").hexdigest()


@pytest.mark.parametrize("data", [b"x" * 3_000_000, MORE_THAN_A_PART])
async def test_the_key_stays_empty_until_the_blob_is_complete(keeper: Keeper, data: bytes) -> None:
    blobs = await keeper.blobs()
    async with blobs.draft(KEY) as draft:
        await draft.write(data)

        assert await blobs.keys("originals") == []
        assert len(await blobs.keys("drafts")) == 1
        with pytest.raises(Missing):
            await blobs.size(KEY)

    assert await keeper.everything() == []


async def test_a_draft_that_is_cancelled_leaves_nothing(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    with anyio.CancelScope() as scope:
        async with blobs.draft(KEY) as draft:
            await draft.write(MORE_THAN_A_PART)
            scope.cancel()
            await draft.write(MORE_THAN_A_PART)
            await draft.commit()

    assert await keeper.everything() in ([], [KEY])


async def test_writing_again_replaces_the_blob(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    await blobs.put(KEY, b"first")
    await blobs.put(KEY, b"second")

    assert await content(blobs, KEY) == b"second"
    assert await keeper.everything() == [KEY]


@pytest.mark.parametrize("data", [b"second", MORE_THAN_A_PART])
async def test_a_draft_replaces_nothing(keeper: Keeper, data: bytes) -> None:
    blobs = await keeper.blobs()
    await blobs.put(KEY, b"first")

    async with blobs.draft(KEY) as draft:
        await draft.write(data)
        with pytest.raises(Exists, match=KEY):
            await draft.commit()

    assert await content(blobs, KEY) == b"first"
    assert await keeper.everything() == [KEY]


@pytest.mark.parametrize("data", [b"second", MORE_THAN_A_PART])
async def test_a_draft_that_may_replace_does_so_whole_and_only_when_it_is_committed(
    keeper: Keeper, data: bytes
) -> None:
    blobs = await keeper.blobs()
    await blobs.put(KEY, b"first")

    async with blobs.draft(KEY, replace=True) as dropped:
        await dropped.write(data)
    assert await content(blobs, KEY) == b"first"
    async with blobs.draft(KEY, replace=True) as draft:
        await draft.write(data)
        await draft.commit()

    assert await content(blobs, KEY) == data
    assert await keeper.everything() == [KEY]


async def test_the_error_for_a_missing_blob_names_it(keeper: Keeper) -> None:
    blobs = await keeper.blobs()

    with pytest.raises(Missing, match=KEY):
        await content(blobs, KEY)
    with pytest.raises(Missing, match=KEY):
        await blobs.size(KEY)
    with pytest.raises(Missing, match=KEY):
        async with blobs.local(KEY):
            pass


async def test_deleting_twice_is_no_error(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    await blobs.put(KEY, b"x")
    await blobs.delete(KEY)
    await blobs.delete(KEY)

    assert await keeper.everything() == []


async def test_keys_lists_the_blobs_under_a_folder(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    await blobs.put(original_key("abc"), b"1")
    await blobs.put(rendition_key("abc", "job", "optimized", "cd"), b"22")
    await blobs.put(rendition_key("abcd", "job", "optimized", "cd"), b"333")

    first, second = await blobs.keys("renditions")
    (found,) = await blobs.keys("renditions/ab/abc")

    assert (first.key, second.size) == ("renditions/ab/abc/job/optimized-cd", 3)
    assert found == first
    assert len(await blobs.keys("")) == 3


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a//b", "a/../b", "", "a/", "A", "a b", "a\0"]
)
async def test_a_key_that_could_leave_the_root_is_rejected(keeper: Keeper, key: str) -> None:
    blobs = await keeper.blobs()

    with pytest.raises(ValueError, match="is not a valid blob key"):
        await blobs.put(key, b"x")
    with pytest.raises(ValueError, match="is not a valid blob key"):
        blobs.draft(key)
    with pytest.raises(ValueError, match="is not a valid blob key"):
        await blobs.size(key)

    assert await keeper.everything() == []


async def test_a_writer_finds_what_its_predecessor_left(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    draft, stored = blobs.draft(original_key("gone")), blobs.draft(KEY)
    await (await draft.__aenter__()).write(MORE_THAN_A_PART)
    await (await stored.__aenter__()).commit()

    left = await (await keeper.blobs()).leftovers()
    other = await (await keeper.blobs("other")).leftovers()

    assert sorted((each.key for each in left), key=str) == [None, KEY]
    assert other == []
    for each in left:
        await blobs.clear(each)
    assert await keeper.everything() == [KEY]
    await draft.__aexit__(None, None, None)
    await stored.__aexit__(None, None, None)
    assert await keeper.everything() == [KEY]


async def test_a_blob_stored_again_by_another_writer_is_not_a_leftover(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    stored = blobs.draft(KEY)
    await (await stored.__aenter__()).commit()
    await (await keeper.blobs("other")).put(KEY, b"theirs")

    (left,) = await blobs.leftovers()

    assert left.key is None
    await stored.__aexit__(None, None, None)


async def test_a_draft_in_progress_can_be_cleared_as_a_leftover(keeper: Keeper) -> None:
    blobs = await keeper.blobs()
    draft = blobs.draft(KEY)
    await (await draft.__aenter__()).write(MORE_THAN_A_PART)

    (listed,) = await blobs.keys("drafts")
    other = await keeper.blobs("other")
    await other.clear(Leftover(draft=listed.key.removeprefix("drafts/"), key=None))

    assert await keeper.everything() == []
    await draft.__aexit__(None, None, None)


async def test_concurrent_writes_and_deletions_do_not_interfere(keeper: Keeper) -> None:
    blobs = await keeper.blobs()

    async def store_and_delete(name: str) -> None:
        for _ in range(keeper.rounds):
            await blobs.put(f"originals/ab/{name}", b"x")
            await blobs.delete(f"originals/ab/{name}")

    async with anyio.create_task_group() as tasks:
        for name in "wxyz":
            tasks.start_soon(store_and_delete, name)

    assert await keeper.everything() == []
