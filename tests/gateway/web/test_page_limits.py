"""The page under tight rate limits: it waits, and continues."""

import asyncio
import zipfile
from collections.abc import Generator

import pytest
from playwright.async_api import Download, expect

from gateway.routes.archive import LIST
from ops.bench.system import System, running
from tests.gateway.visitor import Visitor, jpeg

COUNT = 9


@pytest.fixture(scope="module")
def system() -> Generator[System]:
    limits = {
        "PHOTOLOG_RATE_UPLOADS": "3/3s",
        "PHOTOLOG_RATE_REQUESTS": "45/4s",
        "PHOTOLOG_ARCHIVE_BYTES": "6000",
    }
    with running(**limits) as system:
        yield system


async def test_all_photos_are_uploaded_and_shown_despite_rate_limits(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("429", "Failed to load resource")
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))

    await visitor.drop({f"{number}.jpg": jpeg() for number in range(COUNT)})

    shown = page.locator('.card[data-status="completed"] .thumbnail.shown')
    await expect(shown).to_have_count(COUNT, timeout=60_000)
    assert statuses.count(429) > 0
    await page.reload()
    await expect(shown).to_have_count(COUNT, timeout=60_000)
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_photos_too_large_for_one_archive_are_downloaded_in_several(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("429", "413", "Failed to load resource")
    names = [f"{number}.jpg" for number in range(3)]
    await visitor.drop({name: jpeg() for name in names})
    await expect(page.locator('.card[data-status="completed"]')).to_have_count(3, timeout=60_000)
    await page.get_by_role("button", name="Select all photos of this day: Today").click()
    await expect(page.locator(".selection-count")).to_have_text("3 selected")
    downloads: asyncio.Queue[Download] = asyncio.Queue()
    page.on("download", lambda each: downloads.put_nowait(each))  # noqa: PLW0108 # cannot be a builtin

    await page.locator("#selection").get_by_role("button", name="Download").click()

    found: list[str] = []
    for _ in range(2):
        async with asyncio.timeout(60):
            download = await downloads.get()
        with zipfile.ZipFile(await download.path()) as archive:
            found += [name for name in archive.namelist() if name != LIST]
    assert sorted(found) == names
