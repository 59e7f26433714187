"""One part is gone or frozen during uploads: nothing is lost or duplicated."""

import os
import signal
from collections.abc import AsyncGenerator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from redis.exceptions import ResponseError

from store.log.log import Log
from tests.ops.systems import System
from tests.servers import process_of, valkey
from tests.system.clients import client_of
from tests.system.hosts import LOOK_EVERY_S, host, settings_of, until
from tests.system.processes import decoders_of
from tests.system.quiescence import log_of, reconcile_at, settled, settled_at
from tests.system.stories import STORY, ask_once, assert_all_completed, stories, upload_all

DEADLINE_S = 30.0

SOCKET_TIMEOUT_S = 3.0
"""How long clients of Redis wait for an answer here, longer than their blocking reads take."""

REDIS_GONE_S = 1.1 * SOCKET_TIMEOUT_S


async def test_redis_that_does_not_answer_costs_no_photo_and_no_attempt(
    own_folder: Path, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.redis.connection.SOCKET_TIMEOUT_S", SOCKET_TIMEOUT_S)
    with valkey(own_folder) as url:
        settings = settings_of(tmp_path / "host", url, append_patience_s=1.0)
        server = process_of(own_folder)
        async with host(settings, prefix) as running, running.client_of("alice") as http:
            photos = await upload_all(http, range(10))
            async with _uploading(http, range(10, 15), photos):
                server.send_signal(signal.SIGSTOP)
                try:
                    thaw_at = anyio.current_time() + REDIS_GONE_S
                    refused = await ask_once(http, "refused")
                    listed = await http.get("/api/photos")
                    await anyio.sleep_until(thaw_at)
                finally:
                    server.send_signal(signal.SIGCONT)
            await upload_all(http, ["refused"], photos)
            await settled_at(running.log, tmp_path / "blobs")
            await reconcile_at(running.log, settings)
            found = await settled_at(running.log, tmp_path / "blobs")
            told = await stories(running.log)

    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    assert listed.is_success
    assert_all_completed(found, photos)
    assert told == {STORY}


async def test_redis_that_starts_again_has_kept_every_accepted_photo(
    own_folder: Path, prefix: str, tmp_path: Path
) -> None:
    with ExitStack() as servers:
        settings = settings_of(tmp_path / "host", servers.enter_context(valkey(own_folder)))
        async with host(settings, prefix) as running, running.client_of("alice") as http:
            photos = set[str]()
            async with _uploading(http, range(40), photos):
                ends = {10: signal.SIGKILL, 20: signal.SIGTERM, 30: signal.SIGKILL}
                for enough, number in ends.items():
                    await until(lambda: len(photos) >= enough)  # noqa: B023 # awaited at once
                    process_of(own_folder).send_signal(number)
                    process_of(own_folder).wait()
                    servers.enter_context(valkey(own_folder))
            found = await settled_at(running.log, tmp_path / "blobs")
            told = await stories(running.log)

    assert_all_completed(found, photos)
    assert told == {STORY}


async def test_four_workers_and_their_dispatchers_do_everything_once(
    prefix: str, tmp_path: Path, valkey_url: str
) -> None:
    settings = settings_of(tmp_path / "host", valkey_url)
    async with host(settings, prefix, workers=4) as running, running.client_of("alice") as http:
        photos: set[str] = set()
        await _at_work(running.log, 4)
        async with anyio.create_task_group() as tasks:
            for first in range(0, 24, 6):
                tasks.start_soon(upload_all, http, range(first, first + 6), photos)
        found = await settled_at(running.log, tmp_path / "blobs")
        told = await stories(running.log)

    assert_all_completed(found, photos)
    assert told == {STORY}


async def test_what_a_frozen_worker_brings_too_late_is_dropped(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"STALLED_AFTER_S": "3", "DECODERS": "1", "LOG_LEVEL": "info"}.items():
        monkeypatch.setenv(f"PHOTOLOG_{name}", value)
    with System(data, "--workers", "2") as system:

        def dropped() -> int:
            return system.log.read_text().count("was taken over by another worker")

        async with log_of(data) as log, client_of(data, "alice") as http:
            await _at_work(log, 2)
            worker = system.pid_of("worker-1")
            assert worker is not None
            [decoder] = decoders_of(worker)
            # Freeze its decoder first, so that the worker is frozen with tasks in hand.
            os.kill(decoder, signal.SIGSTOP)
            photos: set[str] = set()
            with anyio.fail_after(DEADLINE_S):
                while not await _held_in_slot(log, 1):
                    await upload_all(http, range(len(photos), len(photos) + 3), photos)
            os.kill(worker, signal.SIGSTOP)
            found = await settled(data)
            before = dropped()
            os.kill(worker, signal.SIGCONT)
            os.kill(decoder, signal.SIGCONT)
            await until(lambda: dropped() > before)
            found_later = await settled(data)
            told = await stories(log)

    assert_all_completed(found, photos)
    assert found_later == found
    assert told == {STORY}


@asynccontextmanager
async def _uploading(
    http: httpx.AsyncClient, names: Iterable[object], photos: set[str]
) -> AsyncGenerator[None]:
    """Upload while the block runs; end when both have ended."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload_all, http, names, photos)
        yield


async def _at_work(log: Log, workers: int) -> None:
    """Wait until this many workers dispatch, each with ready decoders."""
    with anyio.fail_after(DEADLINE_S):
        while len(await _consumers(log, log.keys.log(0), "dispatch")) < workers:
            await anyio.sleep(LOOK_EVERY_S)


async def _held_in_slot(log: Log, slot: int) -> int:
    """Return how many tasks the worker of this slot holds."""
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
