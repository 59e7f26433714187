"""The console in a real browser: operators act, auditors look, clients are told why not."""

import uuid

import httpx
import pytest
from playwright.async_api import expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import (
    WIDTHS,
    confirm,
    console,
    drain,
    ended,
    failed_photos,
    operations,
    row,
    sign_in,
    token_of,
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("role", ["operator", "auditor"])
async def test_each_view_has_an_address_fits_the_screen_and_goes_back(
    stranger: Visitor, system: System, role: str, width: int
) -> None:
    page = stranger.page
    await page.set_viewport_size({"width": width, "height": 800})
    await sign_in(page, system, role)
    photo = await stranger.upload("one.jpg", jpeg())
    await page.get_by_role("link", name="Console", exact=True).click()
    await expect(row(page, "Stages", "validation")).to_be_visible()

    for view, heading in (
        ("Controls", "Stages"),
        ("Jobs", "Jobs, newest first"),
        ("Dead letters", "Reasons"),
        ("Audit", "What operators did"),
        ("Clients", "Clients"),
        ("Webhooks", "Webhooks"),
        ("System", "Settings of this gateway"),
    ):
        link = page.get_by_role("navigation").get_by_role("link", name=view)
        await link.click()
        await expect(page.get_by_role("heading", name=heading, level=2, exact=True)).to_be_visible()
        await expect(link).to_have_attribute("aria-current", "page")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, view
    await page.go_back()
    await expect(page.get_by_role("heading", name="Webhooks", level=1)).to_be_visible()
    await page.goto(f"{system.url}/console#jobs?photoId={photo}")
    await expect(page.get_by_role("textbox", name="Photo")).to_have_value(photo)
    jobs = page.get_by_role("region", name="Jobs, newest first").get_by_role("row")
    await expect(jobs).to_have_count(2)
    await jobs.get_by_role("link").last.click()
    await expect(page.get_by_role("heading", name="Attempts")).to_be_visible()
    await expect(page.get_by_role("img", name="Waiting and running")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_an_operator_pauses_limits_and_resumes_with_reasons_that_the_audit_shows(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "controls")
    reason = f"the disk is replaced {uuid.uuid4().hex[:6]}"

    await page.get_by_role("button", name="Pause erasure").click()
    await page.get_by_role("dialog").get_by_label("For how long").select_option("60 min")
    await confirm(page, "Pause", reason)
    await expect(row(page, "Stages", "erasure")).to_contain_text("paused until")
    await page.get_by_role("button", name="Limit erasure").click()
    await confirm(page, "Limit", reason, **{"Tasks at once in each worker": "3"})
    await expect(row(page, "Stages", "erasure")).to_contain_text("3 at once")
    await page.get_by_role("button", name="Drain erasure").click()
    await confirm(page, "Drain", reason)
    await expect(page.get_by_text("erasure is paused and idle.")).to_be_visible()
    await page.get_by_role("button", name="Limit erasure").click()
    await confirm(page, "Limit", reason, **{"Tasks at once in each worker": ""})
    await page.get_by_role("button", name="Resume erasure").click()
    await confirm(page, "Resume", reason)

    await page.get_by_role("navigation").get_by_role("link", name="Audit").click()
    done = row(page, "What operators did", reason)
    await expect(done).to_have_count(5)
    await expect(done.first).to_contain_text("Resumed")
    await expect(done.first).to_contain_text("operator:operator-of-console")


async def test_the_audit_list_shows_what_was_set(stranger: Visitor, system: System) -> None:
    client, name = (f"{each}-{uuid.uuid4().hex[:6]}" for each in ("client", "key"))
    async with httpx.AsyncClient(
        base_url=system.url, headers={"Authorization": f"Bearer {token_of(system, 'operator')}"}
    ) as http:
        wish = {"name": name, "clientId": client, "scopes": ["photos.read", "events.read"]}
        key = (await http.post("/api/keys", json=wish)).raise_for_status().json()
        (await http.delete(f"/api/keys/{key['id']}")).raise_for_status()
        quota = {"photos": 7, "bytes": 20_000_000_000, "jobs": 0}
        answer = await http.put(f"/api/ops/clients/{client}/quota", json=quota)
        answer.raise_for_status()
        receiver = "https://example.com/photolog"
        wish = {"url": receiver, "types": ["photo.deleted"], "clientId": client}
        webhook = (await http.post("/api/webhooks", json=wish)).raise_for_status().json()

    page = await console(stranger, system, f"audit?clientId={client}")

    done = row(page, "What operators did", client)
    await expect(done).to_have_count(4)
    for kind, facts in (
        ("Webhook created", [webhook["id"], receiver, "photo.deleted"]),
        ("Quota changed", ["photos: 7", "stored: 20\u00a0GB", "jobs: no limit"]),
        ("API key created", [f"{name} ({key['id']})", "events.read photos.read"]),
        ("API key revoked", [f"{name} ({key['id']})"]),
    ):
        for fact in facts:
            await expect(done.filter(has_text=kind)).to_contain_text(fact)


async def test_a_change_needs_a_reason_and_escape_changes_nothing(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "controls")

    await page.get_by_role("button", name="Pause erasure").click()
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Pause erasure")).to_be_focused()


async def test_an_auditor_has_no_buttons(stranger: Visitor, system: System) -> None:
    await failed_photos(stranger, 1)
    page = await console(stranger, system, "controls", "auditor")

    for view, region in (
        ("controls", "Stages"),
        ("dead-letters", "Photos"),
        ("clients", "Clients"),
        ("overview", "Stages"),
    ):
        await page.goto(f"{system.url}/console#{view}")
        await expect(page.get_by_role("region", name=region)).to_be_visible()
        cells = page.get_by_role("region").get_by_role("cell")
        await expect(cells.get_by_role("button")).to_have_count(0)
        await expect(page.get_by_role("checkbox")).to_have_count(0)


@pytest.mark.parametrize("width", WIDTHS)
async def test_a_click_on_a_heading_sorts_and_a_reload_keeps_filter_and_order(
    stranger: Visitor, system: System, width: int
) -> None:
    await stranger.page.set_viewport_size({"width": width, "height": 800})
    photo = await stranger.upload("one.jpg", jpeg())
    await ended(stranger, photo)
    owner = (await stranger.get(photo))["clientId"]
    page = await console(stranger, system, "overview")
    stages = page.get_by_role("region", name="Stages")
    names = stages.get_by_role("row").get_by_role("cell").first
    heading = stages.get_by_role("columnheader", name="Stage", exact=True)
    await expect(names).to_have_text("validation")

    await heading.get_by_role("button").focus()
    await page.keyboard.press("Enter")
    await expect(heading).to_have_attribute("aria-sort", "ascending")
    await expect(names).to_have_text("erasure")
    await page.reload()
    await expect(names).to_have_text("erasure")
    await heading.get_by_role("button").click()
    await expect(heading).to_have_attribute("aria-sort", "descending")
    await expect(names).to_have_text("validation")

    await page.goto(f"{system.url}/console#jobs?clientId={owner}")
    jobs = page.get_by_role("region", name="Jobs, newest first")
    created = jobs.get_by_role("columnheader", name="Created")
    await expect(created).to_have_attribute("aria-sort", "descending")
    await created.get_by_role("link").click()
    await expect(created).to_have_attribute("aria-sort", "ascending")
    await page.reload()
    await expect(created).to_have_attribute("aria-sort", "ascending")
    await expect(page.get_by_role("textbox", name="Client")).to_have_value(owner)
    await page.go_back()
    await expect(created).to_have_attribute("aria-sort", "descending")


async def test_the_overview_names_breakers_and_leads_from_quotas_to_jobs(
    stranger: Visitor, system: System
) -> None:
    photo = await stranger.upload("one.jpg", jpeg())
    await ended(stranger, photo)
    owner = (await stranger.get(photo))["clientId"]
    headers = {"Authorization": f"Bearer {token_of(system, 'operator')}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, trust_env=False) as client:
        path = f"/api/ops/clients/{owner}/quota"
        (await client.put(path, json={"photos": 1})).raise_for_status()
    page = await console(stranger, system, "overview")

    await expect(row(page, "Circuit breakers", "redis")).to_contain_text("closed")
    await expect(row(page, "Circuit breakers", "blobs")).to_contain_text("closed")
    full = row(page, "Clients closest to a quota", owner)
    await expect(full).to_contain_text("1 of 1")
    await full.get_by_role("link", name=owner).click()
    await expect(page.get_by_role("textbox", name="Client")).to_have_value(owner)


@pytest.mark.parametrize("key", [None, "Space"])
async def test_what_is_pressed_stays_until_it_is_let_go(
    stranger: Visitor, system: System, key: str | None
) -> None:
    page = await console(stranger, system, "overview")
    pressed = row(page, "Stages", "validation").get_by_role("button").first
    name = await pressed.inner_text()

    await pressed.focus()
    await pressed.hover()
    await (page.keyboard.down(key) if key else page.mouse.down())
    async with (
        page.expect_response("**/api/ops/queues"),
        page.expect_response("**/api/ops/series*"),
        page.expect_response("**/api/ops/projections"),
    ):
        await stranger.upload("news.jpg", jpeg())
    await page.evaluate("() => new Promise((next) => setTimeout(next))")
    await (page.keyboard.up(key) if key else page.mouse.up())

    await expect(page.get_by_role("dialog")).to_contain_text(name)


async def test_two_consoles_see_what_the_other_one_does(stranger: Visitor, system: System) -> None:
    page = await console(stranger, system, "overview")
    other = await page.context.new_page()
    await other.goto(f"{system.url}/console#overview")
    await expect(other.get_by_role("button", name="Pause erasure")).to_be_visible()

    await page.get_by_role("button", name="Pause erasure").click()
    await confirm(page, "Pause")

    await expect(row(other, "Stages", "erasure")).to_contain_text("paused")
    await other.get_by_role("button", name="Resume erasure").click()
    await confirm(other, "Resume")
    await expect(row(page, "Stages", "erasure")).to_contain_text("running")


async def test_the_overview_follows_the_lanes_without_being_asked(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "overview")
    await drain(system, "validation")
    photo = await stranger.upload("waits.jpg", jpeg())

    await expect(row(page, "Lanes", "validation")).to_contain_text("1 waiting")
    await operations(system, "queues/validation/resume", reason="a test")
    await expect(row(page, "Lanes", "validation")).not_to_contain_text("1 waiting")
    await ended(stranger, photo)


async def test_the_keyboard_alone_reaches_and_makes_a_change(
    stranger: Visitor, system: System
) -> None:
    page = await console(stranger, system, "overview")
    await page.keyboard.press("Tab")
    while await page.evaluate("document.activeElement.textContent") != "Controls":
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Controls", level=1)).to_be_focused()
    await expect(page.get_by_role("button", name="Limit erasure")).to_be_visible()
    while (
        await page.evaluate("document.activeElement.getAttribute('aria-label')") != "Limit erasure"
    ):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_label("Tasks at once")).to_be_focused()
    await page.keyboard.type("5")
    for _ in range(3):
        await page.keyboard.press("Tab")
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")

    await expect(row(page, "Stages", "erasure")).to_contain_text("5 at once")
    await operations(system, "queues/erasure/pause", reason="a test")
    await operations(system, "queues/erasure/resume", reason="a test")


async def test_a_view_says_that_it_is_old_while_the_gateway_does_not_answer(
    stranger: Visitor, system: System
) -> None:
    stranger.tolerated = ("ERR_INTERNET_DISCONNECTED",)
    page = await console(stranger, system, "controls")
    await expect(row(page, "Stages", "erasure")).to_be_visible()

    await page.context.set_offline(True)
    await page.get_by_role("button", name="Pause erasure").click()

    await expect(page.locator("#stale")).to_be_visible()
    await expect(row(page, "Stages", "erasure")).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.locator("#stale")).to_be_hidden()


async def test_the_overview_says_what_delays_erasures(stranger: Visitor, system: System) -> None:
    photo = await stranger.upload("twice.jpg", jpeg())
    await ended(stranger, photo)
    (await stranger.api.post(f"/api/photos/{photo}/reprocess")).raise_for_status()
    page = await console(stranger, system, "overview")

    note = page.get_by_text("removes pictures that a later job has replaced, after an hour")
    await expect(note).to_be_visible()


async def test_jobs_are_those_that_the_address_filters(stranger: Visitor, system: System) -> None:
    page = await console(stranger, system, "jobs?clientId=nobody-here")

    await expect(page.get_by_text("None", exact=True)).to_be_visible()


async def test_the_console_speaks_german(stranger: Visitor, system: System) -> None:
    await sign_in(stranger.page, system, "operator")
    await stranger.page.evaluate("localStorage.setItem('photolog-language', 'de')")

    await stranger.page.goto(f"{system.url}/console")

    await expect(stranger.page.get_by_role("heading", name="Übersicht")).to_be_visible()
