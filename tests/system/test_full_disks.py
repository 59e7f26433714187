"""One disk is full during uploads: nothing is lost or duplicated."""

import os
import signal
from pathlib import Path

import pytest

from tests.ops.systems import System
from tests.system.clients import client_of
from tests.system.disks import fill, small_disk
from tests.system.hosts import host, settings_of, until
from tests.system.processes import decoders_of
from tests.system.quiescence import reconcile, settled, settled_at, stale_tables_of
from tests.system.stories import STORY, ask_once, assert_all_completed, stories, upload_all


async def test_a_full_disk_under_the_blobs_refuses_uploads_and_keeps_the_tasks(
    prefix: str, tmp_path: Path, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "blobs", 4 << 20) as disk:
        settings = settings_of(tmp_path / "host", valkey_url)
        async with host(settings, prefix) as running, running.client_of("alice") as http:
            [decoder] = decoders_of(os.getpid())
            os.kill(decoder, signal.SIGSTOP)
            photos = await upload_all(http, range(5))
            ballast = fill(disk)
            os.kill(decoder, signal.SIGCONT)
            refused = await ask_once(http, "refused")
            await until(lambda: "is waiting: the disk of the blobs is full" in caplog.text)
            ballast.unlink()
            await upload_all(http, ["refused"], photos)
            found = await settled_at(running.log, tmp_path / "blobs")
            told = await stories(running.log)

    assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
    assert_all_completed(found, photos)
    assert told == {STORY}


async def test_a_full_disk_under_the_read_model_holds_up_no_photo(
    prefix: str, tmp_path: Path, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "host"
    with small_disk(data / "read-model", 2 << 20) as disk:
        settings = settings_of(data, valkey_url)
        async with host(settings, prefix) as running, running.client_of("alice") as http:
            ballast = fill(disk)
            photos = await upload_all(http, range(20))
            await until(lambda: "waits: the disk of the read model is full" in caplog.text)
            found = await settled_at(running.log, tmp_path / "blobs")
            ballast.unlink()
            stale = await stale_tables_of(running.log, data)
            told = await stories(running.log)

    assert_all_completed(found, photos)
    assert stale == []
    assert told == {STORY}


async def test_a_full_disk_under_the_log_loses_nothing_that_was_accepted(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled server ends when it cannot write, and the supervisor restarts it."""
    monkeypatch.setenv("PHOTOLOG_DECODERS", "1")
    monkeypatch.setenv("PHOTOLOG_APPEND_PATIENCE_S", "1")
    with small_disk(data / "valkey", 4 << 20) as disk, System(data, "--workers", "1"):
        async with client_of(data, "alice") as http:
            photos = await upload_all(http, range(5))
            ballast = fill(disk)
            # The last page of the log's file still has some space.
            answers = [await ask_once(http, f"{number}") for number in range(5, 10)]
            ballast.unlink()
            await upload_all(http, range(5, 10), photos)
        await settled(data)
        reconcile(data)
        found = await settled(data)

    assert {answer.status_code for answer in answers} & {503, 507}
    assert_all_completed(found, photos)
