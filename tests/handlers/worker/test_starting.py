"""Decoders that do not start are started again; meanwhile, photos wait without using an attempt."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from handlers.decoder import slot
from handlers.decoder.pool import DecoderPool
from handlers.decoder.report import reporting
from handlers.worker.worker import Worker
from ops.telemetry import gauges
from store.background import Background
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.queue import decoder_outages
from tests.handlers.interpreters import SWITCHING, WAYS, Interpreter, installed
from tests.handlers.pictures import encoded, gradient
from tests.handlers.workers import Scripted, Working, data_of, types_when_ended, uploaded
from tests.system.processes import decoders_of

DEADLINE_S = 40.0
REPORT_EVERY_S = 60.0
"""Longer than a test: changes are reported at once."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(slot, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    return installed(tmp_path, monkeypatch)


@pytest.fixture
def others(working: Working) -> set[int]:  # the decoders of ``working`` itself come first
    """The decoders of other pools in this process."""
    return decoders()


def decoders() -> set[int]:
    return set(decoders_of(os.getpid()))


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.sleep(0.01)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not await condition():
            await anyio.sleep(0.02)


def picture(number: int) -> bytes:
    return encoded(gradient(200 + number, 100), "JPEG")


async def assert_all_completed_at_once(log: Log, *photos: str) -> None:
    """Check that each photo completes, and that no stage needed a second attempt."""
    for photo in photos:
        types = await types_when_ended(log, photo)
        assert types[-1] == "photo.processing.completed"
        assert "photo.processing.stage.failed" not in types
        done = await data_of(log, photo, "photo.processing.stage.completed")
        assert {each["attempt"] for each in done} == {1}


@asynccontextmanager
async def reported(log: Log, pool: DecoderPool) -> AsyncGenerator[None]:
    async with reporting(log, pool, "one", Background(), REPORT_EVERY_S):
        yield


async def reasons(log: Log) -> dict[str, str]:
    return await decoder_outages.reported(log, within_ms=60_000)


def running(worker: Worker, pool: DecoderPool) -> object:
    """Return what the metric shows."""
    return gauges.of_worker(worker, pool, ())["photolog_decoders_running"][()]


@pytest.mark.parametrize("reason", WAYS)
async def test_photos_wait_while_no_decoder_can_be_started(
    log: Log,
    blobs: FolderBlobs,
    working: Working,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    interpreter = installed(tmp_path, monkeypatch, WAYS[reason])
    interpreter.switch_off()
    async with DecoderPool(count=2) as pool, working(pool=pool) as worker, reported(log, pool):
        assert pool.outage is not None
        assert pool.outage.reason == reason
        photos = [(await uploaded(log, blobs, picture(n))).photo_id for n in range(5)]
        await until_true(lambda: _equals(reasons(log), {"one": reason}))
        await until(lambda: pool.restarts["decoder-does-not-start"] > 6)
        assert (running(worker, pool), worker.in_hand) == (0, 0)

        interpreter.switch_on()

        await assert_all_completed_at_once(log, *photos)
        await until(lambda: running(worker, pool) == 2)
        await until_true(lambda: _equals(reasons(log), {}))


async def _equals(found: Awaitable[dict[str, str]], expected: dict[str, str]) -> bool:
    return await found == expected


@pytest.mark.skipif(not SWITCHING, reason="needs root and setpriv")
async def test_a_sandbox_that_cannot_be_entered_is_not_the_photos_fault(
    log: Log,
    blobs: FolderBlobs,
    working: Working,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The decoder may not become the user that it has to become."""
    without = f'exec setpriv --bounding-set -setuid,-setgid {sys.executable} "$@"'
    interpreter = installed(tmp_path, monkeypatch, without)
    interpreter.switch_off()
    async with DecoderPool(count=1) as pool, working(pool=pool):
        photo = (await uploaded(log, blobs, picture(0))).photo_id
        await until(lambda: pool.restarts["decoder-does-not-start"] > 2)
        assert pool.outage is not None
        assert pool.outage.reason == "ends-at-start"

        interpreter.switch_on()

        await assert_all_completed_at_once(log, photo)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
async def test_too_little_memory_for_a_start_is_not_the_photos_fault(
    log: Log,
    blobs: FolderBlobs,
    working: Working,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interpreter = installed(tmp_path, monkeypatch, "ulimit -v 60000")
    interpreter.switch_off()
    async with DecoderPool(count=1) as pool, working(pool=pool):
        photo = (await uploaded(log, blobs, picture(0))).photo_id
        await until(lambda: pool.restarts["decoder-does-not-start"] > 2)

        interpreter.switch_on()

        await assert_all_completed_at_once(log, photo)


async def test_tasks_that_wait_for_a_decoder_go_back_to_their_lanes(
    log: Log, blobs: FolderBlobs, working: Working, others: set[int], interpreter: Interpreter
) -> None:
    async with DecoderPool(count=1) as pool, working(pool=pool) as worker:
        await types_when_ended(log, (await uploaded(log, blobs, picture(0))).photo_id)
        [decoder] = decoders() - others
        os.kill(decoder, signal.SIGSTOP)
        photos = [(await uploaded(log, blobs, picture(n))).photo_id for n in range(1, 4)]
        await until(lambda: worker.in_hand == 3 and pool.busy == 1)
        interpreter.switch_off()
        os.kill(decoder, signal.SIGKILL)
        await until(lambda: pool.outage is not None and worker.in_hand == 0)

        interpreter.switch_on()

        await assert_all_completed_at_once(log, *photos)


async def test_a_photo_goes_on_if_its_decoder_ended_before_it_had_read_the_request(
    log: Log, blobs: FolderBlobs, working: Working, others: set[int], interpreter: Interpreter
) -> None:
    async with DecoderPool(count=1) as pool, working(pool=pool):
        await types_when_ended(log, (await uploaded(log, blobs, picture(0))).photo_id)
        [decoder] = decoders() - others
        os.kill(decoder, signal.SIGSTOP)
        photo = (await uploaded(log, blobs, picture(1))).photo_id
        await until(lambda: pool.busy == 1)

        os.kill(decoder, signal.SIGKILL)

        await assert_all_completed_at_once(log, photo)
        assert pool.restarts == {"decoder-died": 1}


async def test_one_decoder_goes_on_while_the_other_cannot_be_started(
    log: Log, blobs: FolderBlobs, working: Working, others: set[int], interpreter: Interpreter
) -> None:
    async with DecoderPool(count=2) as pool, working(pool=pool) as worker, reported(log, pool):
        interpreter.switch_off()
        os.kill((decoders() - others).pop(), signal.SIGKILL)
        await until(lambda: pool.restarts["decoder-does-not-start"] > 2)

        photos = [(await uploaded(log, blobs, picture(n))).photo_id for n in range(3)]

        await assert_all_completed_at_once(log, *photos)
        assert (pool.outage, running(worker, pool)) == (None, 1)
        assert await reasons(log) == {}
        interpreter.switch_on()
        await until(lambda: running(worker, pool) == 2)


async def test_decoders_that_are_killed_now_and_then_while_they_start_cost_no_attempt(
    log: Log,
    blobs: FolderBlobs,
    working: Working,
    others: set[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_second = 'rmdir "$0.last" 2>/dev/null || { mkdir "$0.last"; kill -9 $$; }'
    interpreter = installed(tmp_path, monkeypatch, every_second)
    interpreter.switch_off()
    photos: list[str] = []
    async with DecoderPool(count=1) as pool, working(pool=pool):
        for number in range(3):
            photos.append((await uploaded(log, blobs, picture(number))).photo_id)
            await types_when_ended(log, photos[-1])
            os.kill((decoders() - others).pop(), signal.SIGKILL)
            await until(lambda: pool.running == 0)

        await assert_all_completed_at_once(log, *photos)
        assert pool.restarts["decoder-does-not-start"] >= len(photos)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        MemoryError(),
        OSError(24, "Too many open files"),
        ExceptionGroup("", [RuntimeError("can't start new thread")]),
    ],
)
async def test_what_the_machine_lacks_is_no_bug_of_a_stage(
    log: Log, blobs: FolderBlobs, working: Working, error: Exception
) -> None:
    photo = (await uploaded(log, blobs, b"x")).photo_id

    async with working(pool=Scripted(validation=[error], thumbnails=[error])):
        await assert_all_completed_at_once(log, photo)
