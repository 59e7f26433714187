"""Whom the console lets in, how one leaves it, and what its dialogs say before a change."""

import httpx
from playwright.async_api import Route, expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import console, ended, row, sign_in, token_of


async def test_a_client_is_told_that_the_console_is_for_operators(
    stranger: Visitor, system: System
) -> None:
    await sign_in(stranger.page, system, "client")

    await expect(stranger.page.locator("#to-console")).to_be_hidden()
    await stranger.page.goto(f"{system.url}/console")

    await expect(stranger.page.get_by_role("status")).to_contain_text("for operators and auditors")
    command = stranger.page.get_by_role("status").get_by_role("code")
    await expect(command).to_have_text("photolog link --role operator")
    await expect(stranger.page.get_by_role("link", name="Overview")).to_have_count(0)


async def test_the_console_offers_languages_and_signs_out(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "overview")
    stranger.tolerated = ("status of 401",)

    await page.get_by_label("Language").select_option("de")
    await expect(page.get_by_role("heading", name="Übersicht")).to_be_visible()
    await page.evaluate("sessionStorage.setItem('photolog-backfills', '[{\"run\": \"theirs\"}]')")
    await page.get_by_role("button", name="Abmelden").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert await page.evaluate("sessionStorage.getItem('photolog-backfills')") == "[]"
    await page.goto(f"{system.url}/console")
    await expect(page.get_by_role("status")).to_contain_text("Melde dich zuerst")


async def test_a_sign_out_in_another_tab_leaves_nothing_to_read_in_the_console(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "controls")
    stranger.tolerated = ("status of 401",)
    await page.get_by_role("button", name="Pause erasure").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    other = await page.context.new_page()
    await other.goto(system.url)

    await other.get_by_role("button", name="Sign out").click()

    await expect(page.get_by_role("status")).to_have_text("You have signed out in another tab.")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("table")).to_have_count(0)
    await page.evaluate("location.hash = '#jobs'")
    await expect(page.get_by_role("link", name="Go to the photo page")).to_be_visible()


async def test_a_view_does_not_wait_for_the_one_before(stranger: Visitor, system: System) -> None:
    page = await console(stranger, system, "overview")
    await expect(row(page, "Stages", "validation")).to_be_visible()
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/api/ops/jobs?*", hold)
    await page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    await expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()

    await page.get_by_role("navigation").get_by_role("link", name="Clients").click()

    await expect(page.get_by_role("heading", name="Clients", level=2)).to_be_visible()
    for route in held:
        await route.continue_()
    await expect(page.get_by_role("heading", name="Clients", level=2)).to_be_visible()


async def test_only_what_can_be_cancelled_is_counted_and_waiting_means_one_thing(
    stranger: Visitor, system: System
) -> None:
    photo = await stranger.upload("twice.jpg", jpeg())
    await ended(stranger, photo)
    # The pictures that another job replaces are removed later: an erasure waits for its time.
    (await stranger.api.post(f"/api/photos/{photo}/reprocess")).raise_for_status()
    await ended(stranger, photo)
    page = await console(stranger, system, "overview")
    overview = row(page, "Stages", "erasure").get_by_role("cell")
    await expect(overview.nth(2)).to_have_text("0")
    await expect(overview.nth(4)).not_to_have_text("0")

    await page.goto(f"{system.url}/console#controls")
    controls = row(page, "Stages", "erasure").get_by_role("cell")
    await expect(controls.nth(3)).to_have_text("0")
    await expect(controls.nth(4)).not_to_have_text("0")
    await page.get_by_role("button", name="Cancel waiting all stages").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("0 tasks are waiting and 0 are delayed")
    await expect(dialog).to_contain_text("Erasures cannot be cancelled")


async def test_an_operator_reads_that_revoking_ends_keys_and_their_own_session(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "clients")
    headers = {"Authorization": f"Bearer {token_of(system, 'operator')}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, trust_env=False) as client:
        sent = await client.post("/api/photos/upload", files={"file": ("own.jpg", jpeg())})
        seen = {"after": sent.raise_for_status().headers["X-Log-Position"]}
        (await client.get("/api/photos", params=seen)).raise_for_status()
    await page.goto(f"{system.url}/console#clients?prefix=operator-of-console")
    button = page.get_by_role("button", name="Revoke access operator-of-console")
    await button.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("all API keys created up to now")
    await expect(dialog).to_contain_text("This is you: you are signed out, too")
    await page.keyboard.press("Escape")
