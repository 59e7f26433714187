"""Renditions that a later job has replaced can be removed without harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from ops.config.settings import Settings
from ops.maintenance.audit import audit
from ops.maintenance.reconcile import compare, record_removed, remove
from ops.runtime.blobs import open_store
from tests.conftest import CONTEXT, bucket_of
from tests.ops.systems import System, photolog, wait_until
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server
from tests.store.blob_stores import files, inside
from tests.system.clients import client_of, upload
from tests.system.hosts import (
    DEADLINE_S,
    LOOK_EVERY_S,
    Host,
    completed,
    host,
    settings_of,
    until,
)
from tests.system.hosts import upload as upload_to
from tests.system.photos import jpeg

SHOWN = ("thumbnails/150", "thumbnails/300", "thumbnails/600", "optimized", "original")

Look = Callable[[], set[str]]
"""The keys of the renditions that are stored."""


@pytest.mark.usefixtures("one_decoder")
async def test_the_command_line_removes_those_that_are_old_enough(data: Path) -> None:
    folder = data / "blobs" / "renditions"
    with System(data, "--workers", "1"):
        async with client_of(data, "alice") as http:
            photo_id = await upload(http, jpeg("one"))
            await completed(http, photo_id)
            first = set(files(folder))
            await reprocessed(http, photo_id)
        young = photolog("reconcile", "--data", str(data), "--remove", "--superseded")
        both = set(files(folder))

        def removed() -> bool:
            again = ("--remove", "--superseded", "--older-than", "1s")
            assert photolog("reconcile", "--data", str(data), *again).returncode == 0
            return len(files(folder)) == len(both) - len(first)

        wait_until(removed, "what was replaced is removed")
        compared = photolog("reconcile", "--data", str(data), "--json", "--older-than", "1s")

    found = msgspec.json.decode(compared.stdout)
    assert (young.returncode, compared.returncode) == (0, 0)
    assert len(first) == 4
    assert first < both
    assert set(files(folder)) == both - first
    assert (found["missing"], found["unnamed"], found["superseded"]) == ([], [], [])


async def test_a_folder_keeps_what_is_shown(prefix: str, tmp_path: Path, valkey_url: str) -> None:
    settings = settings_of(tmp_path / "host", valkey_url)
    folder = tmp_path / "blobs" / "renditions"

    async with host(settings, prefix) as running:
        await removed_without_harm(running, settings, lambda: set(files(folder)))


async def test_a_bucket_keeps_what_is_shown(
    prefix: str, tmp_path: Path, valkey_url: str, s3: S3Server
) -> None:
    bucket = bucket_of(s3.url, prefix)
    settings = settings_of(
        tmp_path / "host",
        valkey_url,
        s3_endpoint=s3.url,
        s3_access_key=ACCESS_KEY,
        s3_secret_key=SECRET_KEY,
        s3_bucket=prefix,
    )

    def look() -> set[str]:
        return {key for key in inside(bucket) if key.startswith("renditions/")}

    async with host(settings, prefix) as running:
        await removed_without_harm(running, settings, look)


async def removed_without_harm(running: Host, settings: Settings, renditions: Look) -> None:
    async with running.client_of("alice") as http:
        photo_id = (await upload_to(http, "one"))["photoId"]
        await completed(http, photo_id)
        first = renditions()
        await reprocessed(http, photo_id)
        both = renditions()

        async with open_store(settings, "reconcile") as blobs:
            found = await compare(running.log, blobs, older_than_s=0)
            await remove(blobs, found, orphans=False, superseded=True)
            await record_removed(running.log, blobs, CONTEXT)
            left = await compare(running.log, blobs, older_than_s=0)
        shown = [(await http.get(f"/api/photos/{photo_id}/{name}")).status_code for name in SHOWN]

    assert len(first) == 4
    assert first < both
    assert renditions() == both - first
    assert shown == [200] * len(SHOWN)
    assert (left.missing, left.unnamed, left.superseded) == ([], [], [])
    assert (await audit(running.log)).breaks == []


async def test_workers_remove_them_after_the_grace_period(
    prefix: str, tmp_path: Path, valkey_url: str
) -> None:
    settings = settings_of(tmp_path / "host", valkey_url, superseded_grace_s=1.0)
    blobs = tmp_path / "blobs"
    async with host(settings, prefix) as running, running.client_of("alice") as http:
        photo_id = (await upload_to(http, "one"))["photoId"]
        await completed(http, photo_id)
        first = set(files(blobs / "renditions"))
        await reprocessed(http, photo_id)
        await until(lambda: not first & set(files(blobs / "renditions")))
        with anyio.fail_after(DEADLINE_S):
            while (await history(http, photo_id)).count("photo.renditions.removed") < 2:
                await anyio.sleep(LOOK_EVERY_S)  # each stage's removal is recorded by itself
        used = (await http.get("/api/me")).json()["quota"]["bytes"]["used"]
        async with open_store(settings, "reconcile") as store:
            compared = await compare(running.log, store, older_than_s=3600)

    stored = [*(blobs / "renditions").rglob("*"), *(blobs / "originals").rglob("*")]
    assert used == sum(file.stat().st_size for file in stored if file.is_file())
    assert (compared.missing, compared.superseded) == ([], [])


async def reprocessed(http: httpx.AsyncClient, photo_id: str) -> None:
    """Process the photo again, and wait until it is completed."""
    answer = await http.post(f"/api/photos/{photo_id}/reprocess")
    job_id = answer.raise_for_status().json()["jobId"]
    await completed(http, photo_id, job_id)


async def history(http: httpx.AsyncClient, photo_id: str) -> list[str]:
    """Return the types of the photo's events."""
    answer: Any = (await http.get(f"/api/photos/{photo_id}/history")).json()
    return [each["type"] for each in answer["items"]]
