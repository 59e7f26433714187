"""The checker finds what must not be in the log, in its lanes and among the files."""

from pathlib import Path

import pytest

from store.log.log import Log
from store.redis.connection import Client
from tests.system.ledger import Ledger


@pytest.fixture
async def wide_ledger(redis: Client, prefix: str, tmp_path: Path) -> Ledger:
    """A log of two partitions; alice's photos are in partition 1."""
    await Log.open(redis, prefix=prefix, partitions=2)
    return Ledger(redis, prefix, tmp_path)


async def test_events_of_the_pipeline_itself_are_a_chain_of_their_own(ledger: Ledger) -> None:
    await ledger.tell("pipeline.paused", "", {"stage": "metadata"})
    photo_id = await ledger.upload()
    await ledger.tell("pipeline.resumed", "", {"stage": "metadata"})
    await ledger.process(photo_id)

    found = await ledger.examined()

    assert found.wrong == []
    assert found.uploaded == {photo_id}


async def test_a_broken_chain_of_the_pipeline_is_found(ledger: Ledger) -> None:
    await ledger.tell("pipeline.paused")
    await ledger.tell("pipeline.resumed", metadata={"photoVersion": 3})

    problem = f"{ledger.last}: the pipeline's chain breaks at version 2"
    assert (await ledger.examined()).wrong == [problem]


async def test_an_event_of_the_pipeline_in_another_partition_is_found(wide_ledger: Ledger) -> None:
    await wide_ledger.tell("pipeline.paused", partition=1)

    problem = "partition 1 has events of the pipeline itself"
    assert (await wide_ledger.examined()).wrong == [problem]


async def test_a_photo_outside_the_partition_of_its_client_is_found(wide_ledger: Ledger) -> None:
    await wide_ledger.fail(await wide_ledger.upload(partition=1), "validation", partition=1)
    astray = await wide_ledger.upload(partition=0)
    await wide_ledger.fail(astray, "validation", partition=0)

    problem = f"{astray}: in partition 0, not its client's"
    assert (await wide_ledger.examined()).wrong == [problem]


async def test_a_photo_in_two_partitions_is_found(wide_ledger: Ledger) -> None:
    photo_id = await wide_ledger.upload(partition=1)
    await wide_ledger.fail(photo_id, "validation", partition=0)

    assert f"{photo_id}: in 2 partitions" in (await wide_ledger.examined()).problems


async def test_an_entry_filed_under_another_photo_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.misfile(3)

    problems = (await ledger.examined()).wrong

    assert len(problems) == 1
    assert problems[0].startswith(f"{photo_id}: ")
    assert "is filed as ('photo.processing.stage.completed', 'other', '4')" in problems[0]


@pytest.mark.parametrize("name", ["actor", "traceId", "source"])
async def test_an_event_without_an_actor_is_found(ledger: Ledger, name: str) -> None:
    photo_id = await ledger.upload(metadata={name: ""})
    problem = f"{ledger.last}: it names no actor"
    await ledger.fail(photo_id, "validation")

    assert (await ledger.examined()).wrong == [problem]


async def test_a_cause_after_its_event_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload(metadata={"cause": "0:99999999999999-0"})
    problem = f"{ledger.last}: its cause 0:99999999999999-0 did not come before it"
    await ledger.fail(photo_id, "validation")

    assert (await ledger.examined()).wrong == [problem]


@pytest.mark.parametrize("key", ["originals/left", "renditions/ab/left", "drafts/gateway~1"])
async def test_a_stray_blob_is_found(ledger: Ledger, key: str) -> None:
    ledger.file(key, b"left behind")

    assert (await ledger.examined()).wrong == [f"{key}: no event names it"]


async def test_a_missing_blob_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    (ledger.root / f"renditions/{photo_id}/optimized").unlink()

    problem = f"renditions/{photo_id}/optimized: named, but not stored"
    assert (await ledger.examined()).wrong == [problem]


@pytest.mark.parametrize("data", [b"OPTIMIZED", b"optimize", b""])
async def test_a_blob_of_other_bytes_is_found(ledger: Ledger, data: bytes) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    key = f"renditions/{photo_id}/optimized"
    (ledger.root / key).write_bytes(data)

    problem = f"{key}: its {len(data)} bytes differ from those recorded"
    assert (await ledger.examined()).wrong == [problem]


async def test_a_file_that_a_later_job_has_replaced_may_be_there_or_not(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.process(photo_id)
    await ledger.request(photo_id, "validation", "metadata", "thumbnails", "placeholder")
    made = ledger.file(f"renditions/{photo_id}/job-2/optimized", b"again")
    await ledger.stage(photo_id, "optimization", "job-2", made)
    await ledger.complete(photo_id, "job-2")
    replaced = ledger.root / f"renditions/{photo_id}/optimized"

    there = await ledger.examined()
    replaced.write_bytes(b"OPTIMIZED")
    changed = await ledger.examined()
    replaced.unlink()
    gone = await ledger.examined()
    (ledger.root / made["key"]).unlink()
    lost = await ledger.examined()

    assert (there.wrong, gone.wrong) == ([], [])
    assert len(changed.wrong) == 1
    assert lost.wrong == [f"{made['key']}: named, but not stored"]


async def test_a_file_of_an_erased_photo_is_found(ledger: Ledger) -> None:
    photo_id = await ledger.upload()
    await ledger.tell("photo.deleted", photo_id)
    await ledger.tell("photo.erased", photo_id)

    problem = f"originals/{photo_id}: stored, but its photo was erased"
    assert (await ledger.examined()).wrong == [problem]


async def test_two_photos_of_the_same_bytes_are_found(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.process(await ledger.upload(content="the same"))

    problems = (await ledger.examined()).wrong

    assert len(problems) == 1
    assert problems[0].startswith("alice has 2 photos of the same bytes ")


async def test_bytes_may_come_again_after_their_photo_was_deleted(ledger: Ledger) -> None:
    deleted = await ledger.upload(content="the same")
    await ledger.tell("photo.deleted", deleted)
    await ledger.tell("photo.erased", deleted)
    ledger.remove_files(deleted)
    await ledger.process(await ledger.upload(content="the same"))

    assert (await ledger.examined()).wrong == []


async def test_a_remaining_task_is_found(ledger: Ledger) -> None:
    key = f"{ledger.prefix}:{{00}}:stage:metadata:low"
    await ledger.redis.xadd(key, {"b": b"a task"})

    assert (await ledger.examined()).wrong == [f"{key} (1): tasks are left"]


async def test_a_remaining_timer_is_found(ledger: Ledger) -> None:
    key = f"{ledger.prefix}:{{00}}:timers"
    await ledger.redis.zadd(key, {b"a task": 1_795_300_000_000.0})

    assert (await ledger.examined()).wrong == [f"{key} (1): tasks are left"]
