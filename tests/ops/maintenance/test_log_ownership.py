"""Log, photos and read model that belong to different systems by mistake."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ops.errors import UserError
from ops.maintenance.log_ownership import KEY, check, refuse_others
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.ops.systems import System, jpeg, photolog, run
from tests.servers import url_in, valkey
from tests.store.commands import upload


async def test_blobs_of_no_log_are_assigned_to_a_log_without_events(
    log: Log, tmp_path: Path
) -> None:
    blobs = FolderBlobs(tmp_path)

    await check(log, blobs, setting="PHOTOLOG_DATA")

    assert (tmp_path / KEY).read_text() == log.log_id
    assert await refuse_others(log, blobs, setting="PHOTOLOG_DATA")


async def test_a_log_with_events_rejects_blobs_of_no_log(log: Log, tmp_path: Path) -> None:
    await log.execute(upload(), client_id="alice", context=CONTEXT)

    with pytest.raises(UserError, match=f"belong to no log, but log {log.log_id} has events"):
        await check(log, FolderBlobs(tmp_path), setting="PHOTOLOG_DATA")

    assert not (tmp_path / KEY).exists()


AUDITS = (("reconcile", "--remove", "--older-than", "1s"), ("projections", "rebuild"))
"""Commands that change the folder according to the log."""


@pytest.mark.parametrize("command", [*AUDITS, ("verify",), ("projections", "list")])
def test_a_server_without_a_log_does_not_count_as_an_empty_log(
    shared_system: System, own_folder: Path, command: tuple[str, ...]
) -> None:
    with valkey(own_folder):
        url = url_in(own_folder)
        done = run("--data", str(shared_system.data), *command, PHOTOLOG_REDIS_URL=url)
        keys = asyncio.run(_keys(url))

    assert done.exit_code == 1
    assert "PHOTOLOG_REDIS_URL: there is no log at" in done.stderr
    assert keys == 0


@pytest.mark.parametrize("command", [*AUDITS, ("projections", "list")])
def test_another_systems_log_changes_nothing_in_the_folder(
    shared_system: System, own_folder: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    _uploaded(shared_system, tmp_path)
    blobs = shared_system.data / "blobs"
    originals = set(blobs.glob("originals/*/*"))
    model = (shared_system.data / "read-model" / "current").read_text()
    with valkey(own_folder):
        url = url_in(own_folder)
        asyncio.run(_another_log(url))
        done = run("--data", str(shared_system.data), *command, PHOTOLOG_REDIS_URL=url)

    assert done.exit_code == 1
    assert "belong to two systems" in done.stderr
    assert set(blobs.glob("originals/*/*")) == originals != set()
    assert (shared_system.data / "read-model" / "current").read_text() == model


def test_up_reports_once_that_log_and_folder_belong_to_two_systems_and_ends(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "data" / "blobs" / KEY
    pictures.parent.mkdir(parents=True)
    pictures.write_text("another log")
    with valkey(own_folder) as url:
        monkeypatch.setenv("PHOTOLOG_REDIS_URL", url)
        up = photolog("up", "--data", str(tmp_path / "data"), "--port", "0")

    assert up.returncode == 1
    assert up.stderr.count("belong to two systems") == 1
    assert up.stderr.startswith("Error: PHOTOLOG_DATA and PHOTOLOG_REDIS_URL")
    assert "started again" not in up.stderr


def test_up_reports_an_unsuitable_server_once(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey(own_folder, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as url:
        monkeypatch.setenv("PHOTOLOG_REDIS_URL", url)
        up = photolog("up", "--data", str(tmp_path / "data"), "--port", "0")

    assert up.returncode == 1
    assert up.stderr.count("PHOTOLOG_REDIS_URL") == 1
    assert "started again" not in up.stderr


def _uploaded(system: System, folder: Path) -> str:
    """Upload a photo, wait until it is completed, and return its id."""
    picture = folder / "a.jpg"
    picture.write_bytes(jpeg())
    done = run("--data", str(system.data), "upload", "--wait", "--json", str(picture))
    return json.loads(done.stdout.splitlines()[0])["photoId"]


async def _keys(url: str) -> int:
    redis: Any = connect(url)
    found = await redis.dbsize()
    await redis.aclose()
    return found


async def _another_log(url: str) -> None:
    redis = connect(url)
    await Log.open(redis)
    await redis.aclose()
