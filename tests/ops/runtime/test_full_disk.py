"""Uploads fill the disk that holds all of Photolog's data."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from store.breaker import FAILURES
from tests.ops.systems import System, jpeg, photolog, wait_until
from tests.servers import unavailable
from tests.system.disks import fill

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

DISK_BYTES = 64 << 20
PHOTO_BYTES = 4_000_000


@pytest.fixture
def data(data: Path) -> Generator[Path]:
    """A data folder on a small disk of its own."""
    disk = data.parent / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)],
        capture_output=True,
    )
    if mounted.returncode != 0:
        unavailable("mounting a small file system needs root")
    yield disk / "data"
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_uploads_stop_before_the_disk_is_full_and_continue_after_a_deletion(system: System) -> None:
    with httpx.Client(base_url=system.url, headers=system.login(), timeout=30) as client:

        def upload() -> httpx.Response:
            large = jpeg() + os.urandom(PHOTO_BYTES)
            return client.post("/api/photos/upload", files={"file": ("a.jpg", large)})

        def status(photo: dict[str, str]) -> str:
            return client.get(f"/api/photos/{photo['photoId']}").json()["processingStatus"]

        uploaded: list[dict[str, str]] = []
        free = [shutil.disk_usage(system.data).free]
        while (answer := upload()).status_code == 201:
            uploaded.append(answer.json())
            free.append(shutil.disk_usage(system.data).free)

        refused = [answer, *(upload() for _ in range(2 * FAILURES))]
        codes = {(each.status_code, each.json()["code"]) for each in refused}
        assert codes == {(507, "storage-full")}
        # What was there before the last accepted upload; the rest is for tasks and read models.
        assert free[-2] >= 0.1 * DISK_BYTES + PHOTO_BYTES
        for photo in uploaded:
            wait_until(lambda photo=photo: status(photo) == "completed", "it is processed")

        for photo in uploaded[:3]:
            path = f"/api/photos/{photo['photoId']}"
            assert client.delete(path).status_code == 204

        wait_until(lambda: upload().status_code == 201, "there is room again")


@pytest.mark.parametrize("free_bytes", [0, 8_192, 20_480, 40_960, 204_800])
def test_a_first_start_on_a_full_disk_says_so_without_a_traceback(
    data: Path, free_bytes: int
) -> None:
    ballast = fill(data.parent)
    os.truncate(ballast, ballast.stat().st_size - free_bytes)

    started = photolog("up", "--port", "0", "--workers", "1", "--data", str(data))

    assert started.returncode == 1
    assert re.search("No space left on device|is full", started.stderr.splitlines()[-1])
    assert "Traceback" not in started.stderr
