"""The checker finds what must not be in the log, in its lanes and among the files."""

from pathlib import Path

import pytest

from store.log.log import Log
from store.redis.connection import Client
from tests.system.ledger import Book


@pytest.fixture
async def wide_book(redis: Client, prefix: str, tmp_path: Path) -> Book:
    """A log of two partitions; alice's photos are in partition 1."""
    await Log.open(redis, prefix=prefix, partitions=2)
    return Book(redis, prefix, tmp_path)


async def test_events_of_the_pipeline_itself_are_a_chain_of_their_own(book: Book) -> None:
    await book.tell("pipeline.paused", "", {"stage": "metadata"})
    photo_id = await book.upload()
    await book.tell("pipeline.resumed", "", {"stage": "metadata"})
    await book.process(photo_id)

    found = await book.examined()

    assert found.wrong == []
    assert found.uploaded == {photo_id}


async def test_a_broken_chain_of_the_pipeline_is_found(book: Book) -> None:
    await book.tell("pipeline.paused")
    await book.tell("pipeline.resumed", metadata={"photoVersion": 3})

    problem = f"{book.last}: the pipeline's chain breaks at version 2"
    assert (await book.examined()).wrong == [problem]


async def test_an_event_of_the_pipeline_in_another_partition_is_found(wide_book: Book) -> None:
    await wide_book.tell("pipeline.paused", partition=1)

    problem = "partition 1 has events of the pipeline itself"
    assert (await wide_book.examined()).wrong == [problem]


async def test_a_photo_outside_the_partition_of_its_client_is_found(wide_book: Book) -> None:
    await wide_book.fail(await wide_book.upload(partition=1), "validation", partition=1)
    astray = await wide_book.upload(partition=0)
    await wide_book.fail(astray, "validation", partition=0)

    problem = f"{astray}: in partition 0, not its client's"
    assert (await wide_book.examined()).wrong == [problem]


async def test_a_photo_in_two_partitions_is_found(wide_book: Book) -> None:
    photo_id = await wide_book.upload(partition=1)
    await wide_book.fail(photo_id, "validation", partition=0)

    assert f"{photo_id}: in 2 partitions" in (await wide_book.examined()).problems


async def test_an_entry_filed_under_another_photo_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.misfile(3)

    problems = (await book.examined()).wrong

    assert len(problems) == 1
    assert problems[0].startswith(f"{photo_id}: ")
    assert "is filed as ('photo.processing.stage.completed', 'other', '4')" in problems[0]


@pytest.mark.parametrize("name", ["actor", "traceId", "source"])
async def test_an_event_without_an_actor_is_found(book: Book, name: str) -> None:
    photo_id = await book.upload(metadata={name: ""})
    problem = f"{book.last}: it names no actor"
    await book.fail(photo_id, "validation")

    assert (await book.examined()).wrong == [problem]


async def test_a_cause_after_its_event_is_found(book: Book) -> None:
    photo_id = await book.upload(metadata={"cause": "0:99999999999999-0"})
    problem = f"{book.last}: its cause 0:99999999999999-0 did not come before it"
    await book.fail(photo_id, "validation")

    assert (await book.examined()).wrong == [problem]


@pytest.mark.parametrize("key", ["originals/left", "renditions/ab/left", "drafts/gateway~1"])
async def test_a_stray_blob_is_found(book: Book, key: str) -> None:
    book.file(key, b"left behind")

    assert (await book.examined()).wrong == [f"{key}: no event names it"]


async def test_a_missing_blob_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    (book.root / f"renditions/{photo_id}/optimized").unlink()

    problem = f"renditions/{photo_id}/optimized: named, but not stored"
    assert (await book.examined()).wrong == [problem]


@pytest.mark.parametrize("data", [b"OPTIMIZED", b"optimize", b""])
async def test_a_blob_of_other_bytes_is_found(book: Book, data: bytes) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    key = f"renditions/{photo_id}/optimized"
    (book.root / key).write_bytes(data)

    problem = f"{key}: its {len(data)} bytes differ from those recorded"
    assert (await book.examined()).wrong == [problem]


async def test_a_file_that_a_later_job_has_replaced_may_be_there_or_not(book: Book) -> None:
    photo_id = await book.upload()
    await book.process(photo_id)
    await book.request(photo_id, "validation", "metadata", "thumbnails", "placeholder")
    made = book.file(f"renditions/{photo_id}/job-2/optimized", b"again")
    await book.stage(photo_id, "optimization", "job-2", made)
    await book.complete(photo_id, "job-2")
    replaced = book.root / f"renditions/{photo_id}/optimized"

    there = await book.examined()
    replaced.write_bytes(b"OPTIMIZED")
    changed = await book.examined()
    replaced.unlink()
    gone = await book.examined()
    (book.root / made["key"]).unlink()
    lost = await book.examined()

    assert (there.wrong, gone.wrong) == ([], [])
    assert len(changed.wrong) == 1
    assert lost.wrong == [f"{made['key']}: named, but not stored"]


async def test_a_file_of_an_erased_photo_is_found(book: Book) -> None:
    photo_id = await book.upload()
    await book.tell("photo.deleted", photo_id)
    await book.tell("photo.erased", photo_id)

    problem = f"originals/{photo_id}: stored, but its photo was erased"
    assert (await book.examined()).wrong == [problem]


async def test_two_photos_of_the_same_bytes_are_found(book: Book) -> None:
    for _ in range(2):
        await book.process(await book.upload(content="the same"))

    problems = (await book.examined()).wrong

    assert len(problems) == 1
    assert problems[0].startswith("alice has 2 photos of the same bytes ")


async def test_bytes_may_come_again_after_their_photo_was_deleted(book: Book) -> None:
    deleted = await book.upload(content="the same")
    await book.tell("photo.deleted", deleted)
    await book.tell("photo.erased", deleted)
    book.remove_files(deleted)
    await book.process(await book.upload(content="the same"))

    assert (await book.examined()).wrong == []


async def test_a_remaining_task_is_found(book: Book) -> None:
    key = f"{book.prefix}:{{00}}:stage:metadata:low"
    await book.redis.xadd(key, {"b": b"a task"})

    assert (await book.examined()).wrong == [f"{key} (1): tasks are left"]


async def test_a_remaining_timer_is_found(book: Book) -> None:
    key = f"{book.prefix}:{{00}}:timers"
    await book.redis.zadd(key, {b"a task": 1_795_300_000_000.0})

    assert (await book.examined()).wrong == [f"{key} (1): tasks are left"]
