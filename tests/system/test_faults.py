"""Everything fails at random while photos are uploaded; afterwards the checker audits the system.

The test prints the seed. To repeat the same faults, and for a long run::

    PHOTOLOG_FAULTS_SEED=1234 uv run pytest tests/system/test_faults.py -n 0 -s
    PHOTOLOG_FAULTS_PHOTOS=1000 uv run pytest tests/system/test_faults.py -n 0 -s

A thousand photos take several minutes. ``-s`` shows every fault, and the logs of the processes.
``LONG_TESTS=1`` adds a run in which processes alone fail, and
``PHOTOLOG_FAULTS_TASKS=1`` one in which the tasks are deleted as well.
"""

import os
import random
from collections import Counter
from functools import partial
from pathlib import Path

import anyio
import pytest

from ops.bench.system import System, running
from ops.process.embedded_valkey import url_in
from store.archive.archive import Archive
from store.archive.raw import RawStream
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.servers import LONG
from tests.system.clients import Accepted, client_of, use
from tests.system.faults import (
    CACHES,
    PROCESSES,
    STAGE_TIMEOUT_S,
    STALLED_AFTER_S,
    TASKS,
    Fault,
    torment,
)
from tests.system.quiescence import reconcile, settled, stale_tables

CLIENTS = 3
UPLOAD_EVERY_S = 0.3
FAULT_EVERY_S = 1.5
SEGMENT_ENTRIES = 16

SETTINGS = {
    "PHOTOLOG_STALLED_AFTER_S": str(STALLED_AFTER_S),
    "PHOTOLOG_STAGE_TIMEOUT_S": str(STAGE_TIMEOUT_S),
    "PHOTOLOG_PARTITIONS": "2",
    "PHOTOLOG_DECODERS": "1",
    "PHOTOLOG_SUPERSEDED_GRACE_S": "1",  # no removal is pending when the system is at rest
    # Seal all the time; the checker reads the streams, so nothing is trimmed.
    "PHOTOLOG_ARCHIVE_SEGMENT_ENTRIES": str(SEGMENT_ENTRIES),
    "PHOTOLOG_ARCHIVE_SETTLE_S": "0.1",
    "PHOTOLOG_ARCHIVE_EVERY_S": "0.5",
    "PHOTOLOG_LOG_LEVEL": "info",
}

MAY_STAY = ("originals/", "renditions/")
"""Prefixes of files that only `photolog reconcile` removes: files of an upload that may or may not
have been recorded, and those of a stage that was interrupted before its result was recorded.
"""

CASES = {"processes-and-caches": PROCESSES + CACHES}
if LONG:  # so that no other fault hides what these cause
    CASES["processes"] = PROCESSES
if os.environ.get("PHOTOLOG_FAULTS_TASKS"):
    CASES["tasks-too"] = PROCESSES + CACHES + 4 * TASKS


@pytest.mark.parametrize("faults", CASES.values(), ids=CASES)
async def test_every_accepted_photo_has_its_end_whatever_fails(
    faults: tuple[Fault, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("PHOTOLOG_FAULTS_SEED") or random.randrange(2**32))
    photos = int(os.environ.get("PHOTOLOG_FAULTS_PHOTOS") or 60)
    print(f"PHOTOLOG_FAULTS_SEED={seed} PHOTOLOG_FAULTS_PHOTOS={photos}")
    for name in ("SEED", "PHOTOS", "TASKS"):
        monkeypatch.delenv(f"PHOTOLOG_FAULTS_{name}", raising=False)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)

    with running("--workers", "2") as system:
        accepted = await _use_and_torment(system, random.Random(seed), faults, photos)
        left = (await settled(system.data)).stray
        reconcile(system.data)
        found = await settled(system.data)
        stale = await stale_tables(system.data)
        sealed = await sealed_as_stored(system.data)
    ends = Counter(why["code"] for why in found.failed.values())
    print(f"{len(found.completed)} completed, {len(found.erased)} erased, failed: {dict(ends)}")
    print(f"unnamed until they were reconciled: {left}")

    assert [key for key in left if not key.startswith(MAY_STAY)] == []
    assert found.wrong == []
    assert found.uploaded == accepted.photos
    assert found.erased == accepted.deleted
    assert found.failed.keys() >= accepted.broken - accepted.deleted
    assert {each for each, why in found.failed.items() if why["category"] == "data"} <= (
        accepted.broken
    )
    assert {why["category"] for why in found.failed.values()} <= {"data", "resource"}
    assert stale == []
    assert sealed > 0


async def sealed_as_stored(data: Path) -> int:
    """Check that the segments are one chain of what the streams have; return how many there are."""
    redis = connect(url_in(data / "valkey"))
    log = await Log.find(redis)
    assert log is not None
    archive, segments = Archive(FolderBlobs(data / "blobs", "checker"), log.log_id), 0
    for partition in range(log.partitions):
        places = await archive.places(partition)
        segments += len(places)
        for at, facts in enumerate(await archive.chain(places)):
            head = facts.head
            stored = await RawStream(log).all(head.first_position, head.last_position)
            assert await archive.entries(places, at) == stored
            assert head.entries == SEGMENT_ENTRIES
    await redis.aclose()
    return segments


async def _use_and_torment(
    system: System, chance: random.Random, faults: tuple[Fault, ...], photos: int
) -> Accepted:
    faulty, sober = random.Random(chance.random()), random.Random(chance.random())
    accepted = Accepted()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: torment(system, faulty, faults, pause_s=FAULT_EVERY_S))
        await use(
            partial(client_of, system.data),
            sober,
            accepted,
            numbers=iter(range(photos)),
            clients=CLIENTS,
            pause_s=CLIENTS * UPLOAD_EVERY_S,
        )
        tasks.cancel_scope.cancel()
    return accepted
