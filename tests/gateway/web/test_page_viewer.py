"""The large view of one photo: zoom, swipes, slide show, information."""

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera

BOTH_WIDTHS = pytest.mark.parametrize("width", [1280, 390])


async def opened(visitor: Visitor, width: int) -> Locator:
    """Upload three photos, open the second, and return the viewer."""
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 800})
    for name, data in (
        ("old.jpg", taken_with_a_camera()),
        ("mid.jpg", jpeg((1200, 900))),
        ("new.jpg", jpeg()),
    ):
        await visitor.upload(name, data)
        await expect(visitor.card(name)).to_have_attribute("data-status", "completed")
    await visitor.card("mid.jpg").get_by_role("link").click()
    await expect(page.locator('.large[data-kind="optimized"]')).to_be_visible()
    return page.get_by_role("dialog")


@BOTH_WIDTHS
async def test_a_photo_is_zoomed_panned_and_swiped(visitor: Visitor, width: int) -> None:
    viewer, mouse = await opened(visitor, width), visitor.page.mouse
    wall, picture = viewer.locator(".wall"), viewer.locator(".wall-picture")
    box = await wall.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 200

    await mouse.move(x, y)
    await mouse.wheel(0, -500)
    await expect(wall).to_have_class("wall zoomed")
    before = await picture.get_attribute("style")
    await mouse.down()
    await mouse.move(x - 90, y, steps=4)
    await mouse.up()
    assert await picture.get_attribute("style") != before
    await visitor.page.keyboard.press("0")
    await expect(wall).to_have_class("wall")
    await mouse.dblclick(x, y)
    await expect(wall).to_have_class("wall zoomed")
    await mouse.dblclick(x, y)
    await expect(wall).to_have_class("wall")

    await mouse.down()
    await mouse.move(x - 120, y, steps=4)
    await mouse.up()
    await expect(viewer.locator("#viewer-name")).to_have_text("old.jpg")


@BOTH_WIDTHS
async def test_information_is_shown_on_demand_with_a_link_to_a_map(
    visitor: Visitor, width: int
) -> None:
    page = visitor.page
    viewer = await opened(visitor, width)
    await page.keyboard.press("ArrowRight")
    await expect(viewer.locator("#viewer-name")).to_have_text("old.jpg")
    panel = viewer.locator(".panel")
    if width == 390:
        await expect(panel).to_be_hidden()
        await viewer.get_by_role("button", name="Information").click()
    await expect(panel).to_be_visible()

    place = viewer.locator('[data-detail="place"] a')
    assert (await place.get_attribute("href") or "").startswith("https://www.openstreetmap.org/")
    assert "noreferrer" in (await place.get_attribute("rel") or "")
    await viewer.get_by_text("More", exact=True).click()
    async with page.expect_download() as download:
        await viewer.get_by_role("link", name="Download a smaller copy").click()
    assert (await download.value).suggested_filename == "old-optimized.webp"
    await page.keyboard.press("i")
    await expect(panel).to_be_hidden()


async def test_the_slide_show_goes_on_by_itself_and_ends_with_the_last_photo(
    stranger: Visitor,
) -> None:
    page = stranger.page
    await page.clock.install()
    await stranger.sign_in()
    viewer = await opened(stranger, 1280)

    await viewer.get_by_role("button", name="Slide show").click()
    await expect(viewer.locator(".panel")).to_be_hidden()
    await page.clock.fast_forward(5_100)
    await expect(viewer.locator("#viewer-name")).to_have_text("old.jpg")
    await page.clock.fast_forward(5_100)
    await expect(viewer.get_by_role("button", name="Slide show")).to_be_visible()


async def test_two_fingers_zoom_in_and_out_around_the_point_between_them(visitor: Visitor) -> None:
    viewer = await opened(visitor, 390)
    wall, picture = viewer.locator(".wall"), viewer.locator(".wall-picture")
    session: Any = await visitor.page.context.new_cdp_session(visitor.page)
    await session.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    async def pinch(*distances: int) -> None:
        for number, distance in enumerate(distances):
            points = [{"x": 195 + side * distance, "y": 300, "id": side} for side in (-1, 1)]
            kind = "touchMove" if number else "touchStart"
            await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    await pinch(30, 45, 60, 90)
    await expect(wall).to_have_class("wall zoomed")
    assert "scale(3)" in (await picture.get_attribute("style") or "")
    await expect(viewer.locator("#viewer-name")).to_have_text("mid.jpg")

    await pinch(90, 60, 45, 20)
    await expect(wall).to_have_class("wall")
    await expect(viewer.locator("#viewer-name")).to_have_text("mid.jpg")
