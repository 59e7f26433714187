"""Backfills that the console runs, and continues after its page was left."""

import asyncio

from playwright.async_api import Route, expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import confirm, console, ended


async def test_a_backfill_shows_its_progress_to_the_end(stranger: Visitor, system: System) -> None:
    photo = await stranger.upload("old.jpg", jpeg())
    await ended(stranger, photo)
    page = await console(stranger, system, "controls")

    await page.get_by_role("button", name="Backfill placeholder").click()
    await expect(page.get_by_role("dialog")).to_contain_text("stored")
    await confirm(page, "Backfill", "a better placeholder")

    await expect(page.locator(".progress-line")).to_contain_text("requested")
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)


async def test_a_backfill_that_ended_with_its_page_is_shown_on_return_and_continued(
    stranger: Visitor, system: System
) -> None:
    photo = await stranger.upload("old.jpg", jpeg())
    await ended(stranger, photo)
    page = await console(stranger, system, "controls")
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    asked = asyncio.Event()

    async def never_answer(_: Route) -> None:
        asked.set()

    await page.route("**/api/ops/backfill", never_answer)
    await page.get_by_role("button", name="Backfill placeholder").click()
    await confirm(page, "Backfill", "a better placeholder")
    await asked.wait()
    line = page.locator(".progress-line")
    await page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    await expect(line).to_have_count(0)
    await page.get_by_role("navigation").get_by_role("link", name="Controls").click()
    await expect(line.get_by_role("button", name="Stop placeholder")).to_be_visible()

    await page.goto(system.url)
    await page.unroute("**/api/ops/backfill")
    await page.goto(f"{system.url}/console#controls")

    await expect(line).to_contain_text("This run ended when you left the page.")
    await line.get_by_role("button", name="Continue placeholder").click()
    await expect(line).to_contain_text("All are requested")
    await page.reload()
    await expect(page.get_by_role("button", name="Backfill placeholder")).to_be_visible()
    await expect(line).to_have_count(0)


async def test_a_backfill_says_why_it_does_not_go_on(stranger: Visitor, system: System) -> None:
    stranger.tolerated = ("status of 503",)
    photo = await stranger.upload("old.jpg", jpeg())
    await ended(stranger, photo)
    page = await console(stranger, system, "controls")
    problem = {"code": "log-unavailable", "detail": "The log does not answer.", "advice": ""}
    await page.route("**/api/ops/backfill", lambda route: route.fulfill(status=503, json=problem))

    await page.get_by_role("button", name="Backfill placeholder").click()
    await confirm(page, "Backfill", "a better placeholder")

    line = page.locator(".progress-line")
    await expect(line).to_contain_text("The log does not answer.")
    await page.unroute("**/api/ops/backfill")
    await line.get_by_role("button", name="Continue placeholder").click()
    await expect(line).to_contain_text("All are requested")
