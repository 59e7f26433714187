"""How the page loads: what the browser requests, and when."""

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from tests.gateway.visitor import Visitor, jpeg

REQUESTED = """() => performance.getEntriesByType("resource")
  .map(({ name }) => new URL(name).pathname).filter(path => path.endsWith(".js"))"""

TRANSFERRED = """() => performance.getEntriesByType("resource")
  .filter(({ name, transferSize }) => /\\.(js|css)$/.test(name) && transferSize > 0)
  .map(({ name }) => name)"""

ASKED = """path => performance.getEntriesByType("resource")
  .filter(({ name }) => new URL(name).pathname === path)"""

PRELOADED = """() => [...document.querySelectorAll("link[rel=modulepreload], script[src]")]
  .map(element => new URL(element.href ?? element.src).pathname)"""


LATER = ("viewer", "uploads", "tray", "scrubber", "login", "actions")
"""Modules that the first view does not need."""


async def hold_back(visitor: Visitor, module: str) -> asyncio.Event:
    """Let the browser wait for the module until the event is set."""
    released = asyncio.Event()

    async def wait(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await visitor.page.route(f"**/{module}.js", wait)
    return released


async def test_the_page_names_each_module_that_its_first_view_needs(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.upload("one.jpg", jpeg())
    held = [await hold_back(visitor, module) for module in LATER]

    await page.reload()

    await expect(visitor.card("one.jpg")).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("Live")
    preloaded = await page.evaluate(PRELOADED)
    assert sorted(await page.evaluate(REQUESTED)) == sorted(preloaded)
    assert not any(path.endswith(f"/{module}.js") for path in preloaded for module in LATER)
    for released in held:
        released.set()
    await page.wait_for_function(f"() => ({REQUESTED})().some(path => path.endsWith('/login.js'))")
    loaded = {path.rpartition("/")[2] for path in await page.evaluate(REQUESTED)}
    assert {f"{module}.js" for module in LATER} <= loaded


async def test_a_photo_opens_that_was_clicked_before_the_viewer_was_there(
    visitor: Visitor,
) -> None:
    page = visitor.page
    await visitor.upload("early.jpg", jpeg())
    released = await hold_back(visitor, "viewer")
    await page.reload()
    await visitor.card("early.jpg").get_by_role("link").click()
    await expect(page).to_have_url(re.compile("#photo/"))

    released.set()

    await expect(page.get_by_role("dialog", name="early.jpg")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(visitor.card("early.jpg").get_by_role("link")).to_be_focused()


async def test_files_are_uploaded_that_came_before_what_uploads_them(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("net::ERR_FAILED",)
    attempted = asyncio.Event()

    async def fail(route: Route) -> None:
        await route.abort()
        attempted.set()

    await page.route("**/uploads.js", fail)
    await page.reload()
    await expect(page.locator("#connection")).to_have_text("Live")
    await visitor.drop({"early.jpg": jpeg()})
    await attempted.wait()
    assert await page.evaluate("!dispatchEvent(new Event('beforeunload', { cancelable: true }))"), (
        "a reload would lose the file, and says so"
    )

    await page.unroute("**/uploads.js")

    await expect(visitor.card("early.jpg")).to_have_attribute("data-status", "completed")


async def test_a_sign_out_before_the_viewer_is_there_opens_nothing(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.upload("private.jpg", jpeg())
    released = await hold_back(visitor, "viewer")
    await page.reload()
    await visitor.card("private.jpg").get_by_role("link").click()
    await expect(page).to_have_url(re.compile("#photo/"))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    async with page.expect_response("**/viewer.js"):
        released.set()

    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.locator("dialog[open]")).to_have_count(0)


async def test_a_second_visit_requests_no_module_again(visitor: Visitor) -> None:
    await visitor.until_all_is_loaded()

    await visitor.page.goto(visitor.url)

    await expect(visitor.page.locator("#connection")).to_have_text("Live")
    assert await visitor.page.evaluate(TRANSFERRED) == []


async def test_photos_are_shown_before_the_event_stream_is_open(visitor: Visitor) -> None:
    await visitor.upload("before.jpg", jpeg())
    opening: list[Route] = []

    async def keep_waiting(route: Route) -> None:
        opening.append(route)

    await visitor.page.route("**/api/events?*", keep_waiting)

    await visitor.page.reload()

    await expect(visitor.card("before.jpg")).to_be_visible()
    await expect(visitor.page.locator("#connection")).to_have_text("Connecting…")

    later = await visitor.upload("meanwhile.jpg", jpeg())
    await visitor.get(f"{later}?after={(await visitor.history(later))[-1]}")
    assert opening
    for route in opening:
        await route.continue_()
    await expect(visitor.card("meanwhile.jpg")).to_be_visible()
    await expect(visitor.cards).to_have_count(2)


async def test_a_visit_asks_once_who_is_signed_in_and_twice_for_the_first_photos(
    visitor: Visitor,
) -> None:
    await visitor.page.goto(visitor.url)
    await expect(visitor.page.locator("#connection")).to_have_text("Live")

    await visitor.page.wait_for_function(f"() => ({ASKED})('/api/photos/timeline').length === 1")
    assert len(await visitor.page.evaluate(ASKED, "/api/login/current")) == 1
    assert len(await visitor.page.evaluate(ASKED, "/api/photos")) == 2


@pytest.mark.parametrize("listed", ["/api/photos?", "/api/photos/timeline?"])
@pytest.mark.parametrize("before", [0, 1])
async def test_a_photo_is_shown_whose_events_come_while_a_list_of_before_is_on_its_way(
    visitor: Visitor, listed: str, before: int
) -> None:
    for _ in range(before):
        await visitor.upload("before.jpg", jpeg())
    answered, released = asyncio.Event(), asyncio.Event()

    async def be_late(route: Route) -> None:
        answer = await route.fetch()
        answered.set()
        await released.wait()
        await route.fulfill(response=answer)

    await visitor.page.route(lambda url: listed in url, be_late)
    await visitor.page.reload()
    await expect(visitor.page.locator("#connection")).to_have_text("Live")
    await answered.wait()

    await visitor.upload("meanwhile.jpg", jpeg())
    await expect(visitor.page.locator("#announcer")).to_contain_text("meanwhile.jpg is ready")
    released.set()
    await visitor.page.unroute_all(behavior="wait")

    await expect(visitor.card("meanwhile.jpg")).to_have_attribute("data-status", "completed")
    assert await visitor.cards.count() == before + 1
