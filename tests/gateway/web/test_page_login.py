"""Signing in and out in a real browser: nobody is signed in as another without consent."""

import asyncio
import re
import uuid
from urllib.parse import quote

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from gateway.access.cookies import COOKIE
from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import LOCAL_CLIENT, mint
from tests.gateway.visitor import Visitor, jpeg


def token_of(system: System, client_id: str, role: str = "client") -> str:
    return mint(Settings(data=str(system.data)), client_id, role, 3600)


def link_of(system: System, client_id: str) -> str:
    """Return a link with a ticket, as `photolog link` prints it."""
    answer = httpx.post(
        f"{system.url}/api/login/tickets",
        headers={"Authorization": f"Bearer {token_of(system, client_id)}"},
        trust_env=False,
    )
    return system.url + answer.raise_for_status().json()["path"]


def someone() -> str:
    return f"client-{uuid.uuid4().hex[:8]}"


async def is_signed_in(page: Page, client_id: str) -> None:
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.locator("#who")).to_have_text(client_id)


async def test_a_link_signs_in_after_a_click_and_only_once(
    stranger: Visitor, system: System
) -> None:
    stranger.tolerated = ("status of 401",)
    page, name = stranger.page, someone()
    link = link_of(system, name)

    await page.goto(link)
    dialog = page.get_by_role("dialog", name=f"Sign in as {name}?")
    await expect(dialog).to_be_visible()
    assert page.url == f"{system.url}/"
    assert await page.context.cookies() == []
    await dialog.get_by_role("button", name=f"Sign in as {name}").click()
    await is_signed_in(page, name)
    (cookie,) = await page.context.cookies()
    assert (cookie.get("name"), cookie.get("httpOnly"), cookie.get("sameSite")) == (
        *(COOKIE, True),
        "Strict",
    )
    assert not cookie.get("value", "").startswith("ey")

    await page.get_by_role("button", name="Sign out").click()
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.get_by_role("alert").filter(has_text="already been used")).to_be_visible()


async def test_a_foreign_page_that_opens_a_link_changes_nothing_without_consent(
    visitor: Visitor, system: System
) -> None:
    page = visitor.page
    await expect(page.locator("#who")).not_to_be_empty()
    own = await page.locator("#who").text_content() or ""
    theirs = someone()

    link = quote(f'<a href="{link_of(system, theirs)}">Kittens</a>')
    await page.goto(f"data:text/html,{link}")
    await page.get_by_role("link", name="Kittens").click()
    question = f"You are signed in as {own}. Sign in as {theirs} instead?"
    await expect(page.get_by_role("dialog", name=question)).to_be_visible()
    await page.keyboard.press("Enter")  # the default keeps the current session
    await is_signed_in(page, own)
    await visitor.drop({"mine.jpg": jpeg()})
    await expect(visitor.card("mine.jpg")).to_have_attribute("data-status", "completed")

    photos = await visitor.api.get("/api/photos")
    assert [photo["originalFilename"] for photo in photos.json()["items"]] == ["mine.jpg"]


async def test_agreeing_switches_the_client_in_every_tab(visitor: Visitor, system: System) -> None:
    await visitor.upload("mine.jpg", jpeg())
    await expect(visitor.card("mine.jpg")).to_be_visible()
    first, second, theirs = visitor.page, await visitor.page.context.new_page(), someone()

    await second.goto(f"{system.url}/#token={token_of(system, theirs)}")
    await second.get_by_role("button", name=f"Sign in as {theirs}").click()
    await is_signed_in(second, theirs)

    await is_signed_in(first, theirs)
    await expect(visitor.card("mine.jpg")).to_have_count(0)
    await second.get_by_role("button", name="Sign out").click()
    visitor.tolerated = ("status of 401",)
    await expect(first.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_late_answer_to_somebody_who_has_left_signs_nobody_else_out(
    visitor: Visitor, system: System
) -> None:
    visitor.tolerated = ("status of 401",)
    await visitor.upload("mine.jpg", jpeg())
    await expect(visitor.card("mine.jpg")).to_have_attribute("data-status", "completed")
    first, second, theirs = visitor.page, await visitor.page.context.new_page(), someone()
    asked, released = asyncio.Event(), asyncio.Event()

    async def answer_late(route: Route) -> None:
        asked.set()
        await released.wait()
        await route.fulfill(status=401, json={"code": "invalid-token"})

    await first.route("**/history", answer_late)
    await visitor.card("mine.jpg").get_by_role("link").click()
    await asked.wait()
    await second.goto(f"{system.url}/#token={token_of(system, theirs)}")
    await second.get_by_role("button", name=f"Sign in as {theirs}").click()
    await is_signed_in(first, theirs)

    async with first.expect_response("**/history"):
        released.set()

    await first.evaluate("() => new Promise(next => setTimeout(next))")
    await is_signed_in(first, theirs)
    await expect(first.locator("dialog[open]")).to_have_count(0)


async def test_a_link_for_the_signed_in_client_asks_nothing(
    visitor: Visitor, system: System
) -> None:
    page = visitor.page
    await expect(page.locator("#who")).not_to_be_empty()
    own = await page.locator("#who").text_content() or ""

    await page.goto("about:blank")
    await page.goto(link_of(system, own))

    await is_signed_in(page, own)
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_an_invalid_link_keeps_the_current_session(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 401",)
    page = visitor.page
    own = await page.locator("#who").text_content() or ""

    await page.goto("about:blank")
    await page.goto(f"{visitor.url}/#ticket=0-{'a' * 32}")

    await is_signed_in(page, own)
    await expect(page.locator("#notice")).to_contain_text("already been used")


@pytest.mark.parametrize("way", ["button", "Escape"])
async def test_declining_a_link_does_not_sign_in(
    stranger: Visitor, system: System, way: str
) -> None:
    page = stranger.page
    await page.goto(link_of(system, someone()))
    if way == "button":
        await page.get_by_role("button", name="Cancel").click()
    else:
        await page.get_by_role("dialog").wait_for()
        await page.keyboard.press("Escape")

    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await page.context.cookies() == []


async def test_the_sign_in_hint_leads_to_the_photos_of_the_command_line(
    stranger: Visitor, system: System
) -> None:
    """The command in the hint, without options, signs in the client of the command line."""
    stranger.tolerated = ("status of 401",)
    await stranger.page.goto(system.url)
    hint = await stranger.page.locator("#login-form").inner_text()

    assert "photolog link" in hint
    assert re.search(r"photolog \w+ --client", hint) is None
    await stranger.page.goto(link_of(system, LOCAL_CLIENT))
    await expect(
        stranger.page.get_by_role("dialog", name=f"Sign in as {LOCAL_CLIENT}?")
    ).to_be_visible()


async def test_a_revoked_page_is_signed_out(visitor: Visitor, system: System) -> None:
    visitor.tolerated = ("status of 401",)
    own = await visitor.page.locator("#who").text_content()

    answer = httpx.post(
        f"{system.url}/api/ops/tokens/revoke",
        json={"clientId": own},
        headers={"Authorization": f"Bearer {token_of(system, 'operator', 'operator')}"},
        trust_env=False,
    )

    assert answer.status_code == 200
    await expect(visitor.page.locator("#login-why")).to_contain_text("Your session has ended.")


async def test_a_sign_out_ends_every_tab_without_asking_the_server(visitor: Visitor) -> None:
    first = visitor.page
    await visitor.upload("private.jpg", jpeg())
    second = await first.context.new_page()
    await second.goto(visitor.url)
    card = second.locator(".card").filter(has_text="private.jpg")
    await expect(card).to_have_attribute("data-status", "completed")
    # Requests of the second tab get no answer from here on.
    await second.route("**/api/**", lambda _: None)

    await first.get_by_role("button", name="Sign out").click()

    await expect(second.locator("#login-why")).to_have_text("You have signed out in another tab.")
    await expect(second.locator(".card")).to_have_count(0)
    await visitor.upload("later.jpg", jpeg())
    await expect(second.locator(".card")).to_have_count(0)


async def test_a_sign_out_in_another_tab_leaves_nothing_of_the_person_on_the_page(
    visitor: Visitor,
) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 415", "ERR_INCOMPLETE_CHUNKED_ENCODING")
    await visitor.upload("private.jpg", jpeg())
    await visitor.drop({"secret plan.jpg": b"only words"})
    await expect(page.locator("#tray")).to_contain_text("secret plan.jpg")
    await visitor.card("private.jpg").get_by_role("link").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("dialog", name="Delete private.jpg?")).to_be_visible()
    other = await page.context.new_page()
    await other.goto(visitor.url)

    await other.get_by_role("button", name="Sign out").click()

    await expect(page.locator("#login-why")).to_have_text("You have signed out in another tab.")
    await expect(page.get_by_text("secret plan.jpg")).to_be_hidden()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await expect(page.locator("#connection-note")).to_be_hidden()
