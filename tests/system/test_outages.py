"""One part is gone, full or frozen during uploads: nothing is lost or duplicated."""

import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from redis.exceptions import ResponseError

from store.log.log import Log
from tests.ops.systems import System
from tests.system.checker import Findings
from tests.system.clients import client_of, upload
from tests.system.disks import fill, small_disk
from tests.system.photos import jpeg
from tests.system.quiescence import log_of, reconcile, settled, stale_tables

DEADLINE_S = 30.0
PAUSE_S = 0.05

REDIS_GONE_S = 11.0
"""Longer than clients of Redis wait for its answer, see ``store.redis.connection``."""

STORY = (
    "photo.uploaded",
    "photo.processing.started",
    "photo.processing.stage.completed",
    "photo.thumbnail.generated",
    "photo.thumbnail.generated",
    "photo.thumbnail.generated",
    "photo.processing.stage.completed",
    "photo.processing.completed",
)
"""The events of a photo in ``quick_processing`` without failures."""


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] # pytest calls it
    monkeypatch.setenv("PHOTOLOG_DECODERS", "1")
    monkeypatch.setenv("PHOTOLOG_LOG_LEVEL", "info")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have uploads rejected soon after the log becomes unavailable."""
    monkeypatch.setenv("PHOTOLOG_APPEND_PATIENCE_S", "1")


@pytest.mark.usefixtures("impatient")
async def test_redis_that_does_not_answer_costs_no_photo_and_no_attempt(data: Path) -> None:
    with System(data) as system:
        photos = await _upload(data, range(10))
        async with _uploading(data, range(10, 15), photos):
            with _frozen(system.pid_of("valkey")):
                thaw_at = anyio.current_time() + REDIS_GONE_S
                refused = await _ask_once(data, "refused")
                async with client_of(data, "alice") as http:
                    listed = await http.get("/api/photos")
                await anyio.sleep_until(thaw_at)
        await _upload(data, ["refused"], photos)
        await settled(data)
        reconcile(data)
        found = await settled(data)
        stories = await _stories(data)

    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    assert listed.is_success
    _assert_all_completed(found, photos)
    assert set(stories.values()) == {STORY}


async def test_redis_that_starts_again_has_kept_every_accepted_photo(data: Path) -> None:
    with System(data) as system:
        photos = set[str]()
        async with _uploading(data, range(40), photos):
            ends = {10: signal.SIGKILL, 20: signal.SIGTERM, 30: signal.SIGKILL}
            for enough, number in ends.items():
                await _until(lambda: len(photos) >= enough)  # noqa: B023 # awaited at once
                _send(await _pid_of_valkey(system), number)
        found = await settled(data)
        stories = await _stories(data)

    _assert_all_completed(found, photos)
    assert set(stories.values()) == {STORY}


async def test_a_full_disk_under_the_blobs_refuses_uploads_and_keeps_the_tasks(data: Path) -> None:
    with small_disk(data / "blobs", 4 << 20) as disk, System(data) as system:
        worker = system.pid_of("worker-1")
        _send(worker, signal.SIGSTOP)
        photos = await _upload(data, range(5))
        ballast = fill(disk)
        _send(worker, signal.SIGCONT)
        refused = await _ask_once(data, "refused")
        await _until(lambda: _count_in_log(system, "is waiting: the disk of the blobs is full"))
        ballast.unlink()
        await _upload(data, ["refused"], photos)
        found = await settled(data)
        stories = await _stories(data)

    assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
    _assert_all_completed(found, photos)
    assert set(stories.values()) == {STORY}


async def test_a_full_disk_under_the_read_model_holds_up_no_photo(data: Path) -> None:
    with small_disk(data / "read-model", 2 << 20) as disk, System(data) as system:
        ballast = fill(disk)
        photos = await _upload(data, range(20))
        await _until(lambda: _count_in_log(system, "waits: the disk of the read model is full"))
        found = await settled(data)
        ballast.unlink()
        stale = await stale_tables(data)
        stories = await _stories(data)

    _assert_all_completed(found, photos)
    assert stale == []
    assert set(stories.values()) == {STORY}


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_under_the_log_loses_nothing_that_was_accepted(data: Path) -> None:
    with small_disk(data / "valkey", 4 << 20) as disk, System(data):
        photos = await _upload(data, range(5))
        ballast = fill(disk)
        # The last page of the log's file still has some space.
        answers = [await _ask_once(data, f"{number}") for number in range(5, 10)]
        ballast.unlink()
        await _upload(data, range(5, 10), photos)
        await settled(data)
        reconcile(data)
        found = await settled(data)

    assert {answer.status_code for answer in answers} & {503, 507}
    _assert_all_completed(found, photos)


async def test_four_workers_and_their_dispatchers_do_everything_once(data: Path) -> None:
    with System(data, "--workers", "4"):
        photos: set[str] = set()
        await _at_work(data, 4)
        async with anyio.create_task_group() as tasks:
            for first in range(0, 24, 6):
                tasks.start_soon(_upload, data, range(first, first + 6), photos)
        found = await settled(data)
        stories = await _stories(data)

    _assert_all_completed(found, photos)
    assert set(stories.values()) == {STORY}


async def test_what_a_frozen_worker_brings_too_late_is_dropped(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_STALLED_AFTER_S", "3")
    with System(data, "--workers", "2") as system:
        await _at_work(data, 2)
        worker = system.pid_of("worker-1")
        decoder = _children(worker)[0]
        # Freeze its decoder first, so that the worker is frozen with tasks in hand.
        _send(decoder, signal.SIGSTOP)
        photos: set[str] = set()
        with anyio.fail_after(DEADLINE_S):
            while not await _held_in_slot(data, 1):
                await _upload(data, range(len(photos), len(photos) + 3), photos)
        _send(worker, signal.SIGSTOP)
        found = await settled(data)
        dropped = _count_in_log(system, "was taken over by another worker")
        _send(worker, signal.SIGCONT)
        _send(decoder, signal.SIGCONT)
        await _until(lambda: _count_in_log(system, "was taken over by another worker") > dropped)
        found_later = await settled(data)
        stories = await _stories(data)

    _assert_all_completed(found, photos)
    assert found_later == found
    assert set(stories.values()) == {STORY}


def _assert_all_completed(found: Findings, photos: set[str]) -> None:
    assert found.wrong == []
    assert found.failed == {}
    assert found.completed == photos


async def _upload(data: Path, names: Iterable[object], photos: set[str] | None = None) -> set[str]:
    """Upload photos one after the other, and note those that were accepted."""
    photos = set[str]() if photos is None else photos
    async with client_of(data, "alice") as http:
        for name in names:
            photos.add(await _upload_one(http, f"{name}"))
    return photos


async def _upload_one(http: httpx.AsyncClient, name: str) -> str:
    return await upload(http, jpeg(name), pipeline="quick_processing", key=name)


async def _ask_once(data: Path, name: str) -> httpx.Response:
    """Return the first answer to an upload, however long it takes."""
    async with client_of(data, "alice") as http:
        return await http.post(
            "/api/photos/upload",
            headers={"Idempotency-Key": name},
            files={"file": ("a.jpg", jpeg(name))},
            data={"pipeline": "quick_processing"},
            timeout=DEADLINE_S,
        )


async def _stories(data: Path) -> dict[str, tuple[str, ...]]:
    """Return the types of each photo's events, in order."""
    found: dict[str, tuple[str, ...]] = {}
    async with log_of(data) as log:
        entries: Any = await log.redis.xrange(log.keys.log(0))
    for _, fields in entries:
        event = msgspec.msgpack.decode(fields[b"b"])
        photo_id = event["data"].get("photoId")
        if photo_id is not None:
            found[photo_id] = (*found.get(photo_id, ()), event["type"])
    return found


async def _at_work(data: Path, workers: int) -> None:
    """Wait until this many workers dispatch, each with ready decoders."""
    async with log_of(data) as log:
        with anyio.fail_after(DEADLINE_S):
            while len(await _consumers(log, log.keys.log(0), "dispatch")) < workers:
                await anyio.sleep(PAUSE_S)


async def _held_in_slot(data: Path, slot: int) -> int:
    """Return how many tasks the worker of this slot holds."""
    async with log_of(data) as log:
        lanes = log.keys.lanes(0, ("validation", "thumbnails"))
        found = [consumer for key, stage in lanes for consumer in await _consumers(log, key, stage)]
    return sum(held for name, held in found if f":{slot}:" in name)


async def _consumers(log: Log, key: str, group: str) -> list[tuple[str, int]]:
    """Return the pending entries of each consumer; empty if the group does not exist."""
    try:
        found: Any = await log.redis.xinfo_consumers(key, group)
    except ResponseError:
        return []
    return [(consumer["name"].decode(), consumer["pending"]) for consumer in found]


@asynccontextmanager
async def _uploading(data: Path, names: Iterable[object], photos: set[str]) -> AsyncGenerator[None]:
    """Upload while the block runs; end when both have ended."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_upload, data, names, photos)
        yield


@contextmanager
def _frozen(pid: int | None) -> Generator[None]:
    _send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pid, signal.SIGCONT)


async def _pid_of_valkey(system: System) -> int:
    """Return the server's process id once it runs: it may be restarting."""
    with anyio.fail_after(DEADLINE_S):
        while (pid := system.pid_of("valkey")) is None:
            await anyio.sleep(PAUSE_S)
    return pid


def _send(pid: int | None, number: signal.Signals) -> None:
    assert pid is not None, "the process does not run"
    os.kill(pid, number)


def _children(pid: int | None) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def _count_in_log(system: System, words: str) -> int:
    """Return how often the system's log contains the words."""
    return system.log.read_text().count(words)


async def _until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(PAUSE_S)
