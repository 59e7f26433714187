"""The disk of unfinished uploads fills up while bytes arrive."""

import hashlib
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from gateway.http.rate_limits import RateLimits
from store.blobs.partials import Partials
from store.log.log import Log
from tests.gateway.conftest import Gateway, depending, picture
from tests.gateway.uploads.resumable.requests import append, created, offset_of, problem_of
from tests.gateway.uploads.test_uploads import events
from tests.system.disks import fill, small_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")

DISK_BYTES = 16 << 20
FREE_BYTES = 6 << 20


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
async def deps(
    log: Log, tmp_path: Path, limits: Limits, rates: RateLimits
) -> AsyncGenerator[Dependencies]:
    """Only the unfinished uploads are on the small disk."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        async with depending(log, tmp_path, limits, rates) as built:
            yield msgspec.structs.replace(built, partials=Partials(disk / "uploads"))


async def test_an_upload_that_fills_the_disk_goes_on_once_there_is_room(
    gateway: Gateway, tmp_path: Path
) -> None:
    data = picture() + os.urandom(FREE_BYTES + (4 << 20))
    address = await created(gateway, len(data))
    ballast = fill(tmp_path / "disk")
    os.truncate(ballast, ballast.stat().st_size - FREE_BYTES)

    full = await append(gateway, address, 0, data)
    kept = await offset_of(gateway, address)
    again = await append(gateway, address, kept, data[kept:])
    still = await offset_of(gateway, address)
    ballast.unlink()
    done = await append(gateway, address, still, data[still:])

    assert await problem_of(full) == await problem_of(again) == (507, "storage-full")
    assert 4 << 20 <= kept <= still <= FREE_BYTES
    assert done.status_code == 204, done.text
    [event] = await events(gateway)
    assert event.sha256 == hashlib.sha256(data).hexdigest()
