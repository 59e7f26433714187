"""The page by axe, which checks contrast, names, roles and the order of headings."""

from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import (  # pyright: ignore[reportMissingTypeStubs]
    Axe,
)
from playwright.async_api import Page, expect

from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera


async def violations(page: Page) -> list[str]:
    axe: Any = Axe()  # its types are incomplete
    found: list[dict[str, Any]] = (await axe.run(page)).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_to_mend_in_any_view(
    stranger: Visitor, theme: Literal["light", "dark"], width: int
) -> None:
    page = stranger.page
    stranger.tolerated = ("status of 415",)
    await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    await page.set_viewport_size({"width": width, "height": 800})
    await stranger.page.goto(stranger.url)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await violations(page) == []
    await stranger.sign_in()
    assert await violations(page) == []

    await stranger.upload("now.jpg", jpeg())
    await stranger.upload("then.jpg", taken_with_a_camera())
    await stranger.drop({"notes.jpg": b"these are only words"})
    await expect(stranger.waiting("notes.jpg")).to_be_visible()
    await expect(page.locator('.card[data-status="completed"] .shown')).to_have_count(2)
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await stranger.card("now.jpg").get_by_role("link").press("Space")
    assert await violations(page) == []
    await page.keyboard.press("Escape")

    await stranger.card("then.jpg").get_by_role("link").press("Enter")
    await expect(page.locator('.large[data-kind="optimized"]')).to_be_visible()
    if width < 860:
        await page.get_by_role("button", name="Information").press("Enter")
    await expect(page.locator(".story li").first).to_be_visible()
    assert await violations(page) == []
