"""The page under tight rate limits: it waits, and continues."""

from collections.abc import Generator

import pytest
from playwright.async_api import expect

from ops.bench.system import System, running
from tests.gateway.visitor import Visitor, jpeg

COUNT = 9


@pytest.fixture(scope="module")
def system() -> Generator[System]:
    limits = {"PHOTOLOG_RATE_UPLOADS": "3/3s", "PHOTOLOG_RATE_REQUESTS": "45/4s"}
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
