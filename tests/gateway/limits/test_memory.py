"""Large photos pass through without filling the memory of the process."""

import hashlib
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.gateway.conftest import Gateway, picture

SIZE = 90_000_000
CHUNK = bytes(60_000)
GROWTH_MAX = 32_000_000

CLEAR_REFS = Path("/proc/self/clear_refs")


def peak_bytes() -> int:
    """Return the peak memory of this process (client and server) since ``forget_peak``."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) * 1024


def forget_peak() -> None:
    CLEAR_REFS.write_text("5")


async def large_form() -> AsyncGenerator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    yield picture()
    for _ in range(SIZE // len(CHUNK)):
        yield CHUNK
    yield b"\r\n--x--\r\n"


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="measured through Linux's /proc")
async def test_ninety_megabytes_are_uploaded_and_downloaded_in_little_memory(
    gateway: Gateway,
) -> None:
    await gateway.get("/api/photos", after=(await gateway.upload()).json()["position"])
    forget_peak()
    before = peak_bytes()

    answer = await gateway.client.post(
        "/api/photos/upload",
        content=large_form(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    photo = answer.json()
    uploading = peak_bytes() - before
    await gateway.get("/api/photos", after=photo["position"])
    path, came = f"/api/photos/{photo['photoId']}/original", hashlib.sha256()
    async with gateway.client.stream("GET", path) as original:
        async for chunk in original.aiter_bytes():
            came.update(chunk)

    assert uploading < GROWTH_MAX
    assert peak_bytes() - before < GROWTH_MAX
    assert f'"{came.hexdigest()}"' == original.headers["ETag"]
