"""An archiver, import or recovery that is killed at any step loses and doubles no event.

``PHOTOLOG_TEST_KILLS`` is how often the process of each test is killed, and ``PHOTOLOG_TEST_SEED``
repeats the seed of a run.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.maintenance.audit import audit
from ops.maintenance.log_export import export
from ops.maintenance.settling import settle
from store.archive.archive import FOLDER, Archive
from store.blobs.folder import FolderBlobs
from store.log import identity
from store.log.log import Log
from store.queue.dispatch import Dispatch
from store.redis.connection import connect
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.forked import kills, seeded
from tests.ops.maintenance.recoveries import lose, lose_partition, project, reopened, worked
from tests.store.archive.segments import archive_all, fill, rest
from tests.store.commands import upload

KILLS = kills(8)


def run_until(calls: int, url: str, prefix: str, folder: str, *of: str) -> int | None:
    """Run the process; return how many calls it made, or None if it was killed at that one."""
    words = url, prefix, folder, str(calls), *of
    run = subprocess.run(
        [sys.executable, "-m", "tests.store.archive.killed_process", *words],
        capture_output=True,
        text=True,
    )
    if run.returncode == 0:
        return int(run.stdout)
    assert run.returncode == -signal.SIGKILL, run.stderr
    return None


async def test_kills_at_any_step_lose_and_double_nothing(
    valkey_url: str, prefix: str, tmp_path: Path
) -> None:
    chance = seeded()
    redis = connect(valkey_url)
    log = await Log.open(redis, prefix=prefix)
    dispatch = Dispatch(log, "w1")
    await dispatch.prepare(0)
    blobs = FolderBlobs(tmp_path, "reader")
    killed, calls = 0, 1_000
    expected: list[str] = []
    resting: dict[str, int] = {}

    for attempt in range(KILLS + 1):
        at = 0 if attempt in (0, KILLS) else chance.randint(1, calls)
        await fill(log, 5)
        for command in await rest(log, 2):
            resting[command.photo_id] = (await log.load(command.photo_id, "alice")).version
        while events := await dispatch.read(0, count=100, block_ms=1):
            expected += [str(each.position) for each in events]
            await dispatch.commit([(each.position, ()) for each in events])
        made = run_until(at, valkey_url, prefix, str(tmp_path))
        if made is None:
            killed += 1
        else:
            calls = made
        log.archive = Archive(blobs, log.log_id, group=3)
        assert [str(each.position) async for each in log.scan(0)] == expected, f"killed at {at}"
        for photo_id, version in resting.items():
            assert (await log.load(photo_id, "alice")).version == version, f"killed at {at}"

    assert killed > 0
    evicted = await log.eviction.evicted(0)
    left = [each for each in resting if await redis.exists(log.keys.photo(0, each))]
    ends = [(await log.load(each, "alice")).position for each in left]
    assert all(end is not None and end > evicted for end in ends)
    assert len(left) < len(resting)
    archive = Archive(blobs, log.log_id)
    places = await archive.places(0)
    entries = [e for at in range(len(places)) for e in await archive.entries(places, at)]
    await archive.chain(places)
    assert [f"0:{entry.entry_id.decode()}" for entry in entries] == expected
    assert len(await blobs.keys(FOLDER)) == len(places)
    await settle(log, FolderBlobs(tmp_path, "archiver"))
    assert list((tmp_path / "drafts").iterdir()) == []
    await redis.aclose()


async def test_an_import_that_is_killed_at_any_step_goes_on(
    valkey_url: str, prefix: str, tmp_path: Path
) -> None:
    chance = seeded()
    redis = connect(valkey_url)
    log = await Log.open(redis, prefix=prefix, partitions=3)
    blobs = FolderBlobs(tmp_path / "blobs")
    for client_id in ("alice", "bob", "carol"):
        command = upload(client_id, client_id=client_id)
        await blobs.put(command.key, client_id.encode())
        await log.execute(command, client_id=client_id, context=CONTEXT)
        await fill(log, 100, client_id=client_id)
    path, elsewhere = tmp_path / "export.tar", tmp_path / "elsewhere"
    with path.open("wb") as file:
        await export(log, Archive(blobs, log.log_id), file, blobs=blobs)
    # Another log, so that the first run says how many calls there are.
    await Log.open(redis, prefix=f"{prefix}-whole", partitions=2)
    words = str(tmp_path / "whole"), str(path)
    calls = run_until(0, valkey_url, f"{prefix}-whole", *words)
    assert calls is not None
    new = await Log.open(redis, prefix=f"{prefix}-new", partitions=2)

    for at in sorted(chance.sample(range(1, calls), KILLS)):
        run_until(at, valkey_url, f"{prefix}-new", str(elsewhere), str(path))
    assert run_until(0, valkey_url, f"{prefix}-new", str(elsewhere), str(path)) is not None

    assert (await audit(new)).anchor == (await audit(log)).anchor
    assert (await audit(new)).events == 603
    originals = [blob.key for blob in await blobs.keys("originals")]
    assert [b.key for b in await FolderBlobs(elsewhere).keys("originals")] == originals
    await redis.aclose()


async def test_a_recovery_that_is_killed_at_any_step_goes_on(
    valkey_url: str, prefix: str, tmp_path: Path
) -> None:
    chance = seeded()
    redis = connect(valkey_url)
    log = await Log.open(redis, prefix=prefix, partitions=3)
    blobs = FolderBlobs(tmp_path / "blobs")
    await worked(log, blobs, photos=20)
    await archive_all(log, blobs)
    segment = (await blobs.keys(f"{FOLDER}/{log.partition_of('alice'):02d}"))[1].key
    await fill(log, 20)
    model = await project(log, Generations(tmp_path / "read-model"))
    before, ends = await audit(log), {p: await log.last_entry(p) for p in range(3)}
    data = b"".join([chunk async for chunk in blobs.read(segment)])
    await blobs.put(segment, data[:-1])  # so segments are set aside
    shutil.copytree(tmp_path / "blobs", tmp_path / "whole")
    calls = run_until(0, valkey_url, f"{prefix}-whole", str(tmp_path / "whole"), str(model))
    assert calls is not None
    words = prefix, str(tmp_path / "blobs")
    await lose(redis, prefix)

    killed = 0
    for at in sorted(chance.sample(range(1, calls), KILLS)):
        killed += run_until(at, valkey_url, *words, str(model)) is None
    assert run_until(0, valkey_url, *words, str(model)) is not None

    assert killed >= KILLS / 2
    new = await reopened(redis, prefix, blobs)
    assert (await audit(new, upto=ends)).anchor == before.anchor
    found = await audit(new)
    assert (found.events, found.breaks) == (before.events + 1, [])
    assert await identity.epoch(redis, new.keys) == 2
    await archive_all(new, blobs)
    await Archive(blobs, new.log_id).chain(await Archive(blobs, new.log_id).places(0))
    await redis.aclose()


@pytest.mark.parametrize("lost", ["alice", "bob"])
async def test_a_recovery_of_one_partition_that_is_killed_at_any_step_goes_on(
    valkey_url: str, prefix: str, tmp_path: Path, lost: str
) -> None:
    """The partition of alice, or that of bob, which is also that of the controls."""
    chance = seeded()
    redis = connect(valkey_url)
    log = await Log.open(redis, prefix=prefix, partitions=4)
    partition = log.partition_of(lost)
    other = {"alice": "bob", "bob": "alice"}[lost]
    blobs = FolderBlobs(tmp_path / "blobs")
    generations = Generations(tmp_path / "read-model")
    await worked(log, blobs, photos=20)
    words = prefix, str(tmp_path / "blobs"), str(await project(log, generations))
    await lose_partition(redis, log.keys, partition)
    calls = run_until(0, valkey_url, *words)  # the first run says how many calls there are
    assert calls is not None
    new = await reopened(redis, prefix, blobs)
    await archive_all(new, blobs)
    segment = (await blobs.keys(f"{FOLDER}/{partition:02d}"))[1].key
    await fill(new, 20, client_id=lost)
    await project(new, generations)
    before, ends = await audit(new), {p: await new.last_entry(p) for p in range(4)}
    data = b"".join([chunk async for chunk in blobs.read(segment)])
    await blobs.put(segment, data[:-1])  # so segments are set aside
    await lose_partition(redis, new.keys, partition)

    killed = 0
    for at in sorted(chance.sample(range(1, calls), KILLS)):
        killed += run_until(at, valkey_url, *words) is None
        await fill(log, 1, client_id=other)  # the others may still be used
    assert run_until(0, valkey_url, *words) is not None

    assert killed >= KILLS / 2
    new = await reopened(redis, prefix, blobs)
    assert (await audit(new, upto=ends)).anchor == before.anchor
    found = await audit(new)
    assert (found.events, found.breaks) == (before.events + 2 * KILLS + 1, [])
    assert await identity.epoch(redis, new.keys) == 3
    await archive_all(new, blobs)
    archive = Archive(blobs, new.log_id)
    for each in range(4):
        await archive.chain(await archive.places(each))
    await redis.aclose()
