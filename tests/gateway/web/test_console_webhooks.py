"""Webhooks in the console: what was delivered, and what operators can do about it."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg
from tests.gateway.web.operators import WIDTHS, confirm, console, row, token_of
from tests.gateway.webhooks.receivers import Receiver, receiving, status


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def created(visitor: Visitor, receiver: Receiver) -> dict[str, Any]:
    """Create a webhook of the client for uploads, and return it with its secret."""
    wish = {"url": receiver.url(), "types": ["photo.uploaded"], "description": "the print shop"}
    return (await visitor.api.post("/api/webhooks", json=wish)).raise_for_status().json()


async def open_one(stranger: Visitor, system: System, webhook: dict[str, Any]) -> Page:
    """Open the webhook from the list."""
    page = await console(stranger, system, f"webhooks?clientId={webhook['clientId']}")
    await page.get_by_role("link", name=webhook["url"]).click()
    await expect(page.get_by_role("heading", name="Last deliveries")).to_be_visible()
    return page


@pytest.mark.parametrize("width", WIDTHS)
async def test_deliveries_are_listed_with_their_answers(
    stranger: Visitor, system: System, receiver: Receiver, width: int
) -> None:
    await stranger.page.set_viewport_size({"width": width, "height": 800})
    webhook = await created(stranger, receiver)
    receiver.answer = lambda _: status(503, body=b"the printer is out of <b>paper</b>")
    await stranger.upload("one.jpg", jpeg())
    await receiver.until(1)

    page = await open_one(stranger, system, webhook)

    delivery = row(page, "Last deliveries", "photo.uploaded").first
    await expect(delivery).to_contain_text("rejected, 503")
    await expect(delivery).to_contain_text("the printer is out of <b>paper</b>")
    await expect(page.locator(".facts")).to_contain_text("the print shop")
    await expect(page.locator(".facts .state")).to_have_text("failing")
    await expect(page.locator(".facts")).to_contain_text("ago · the receiver answered 503")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_a_webhook_is_disabled_and_enabled_with_a_reason(
    stranger: Visitor, system: System, receiver: Receiver
) -> None:
    webhook = await created(stranger, receiver)
    page = await open_one(stranger, system, webhook)

    await page.get_by_role("button", name="Disable").click()
    await confirm(page, "Disable", "the shop moves")
    await expect(page.locator(".facts")).to_contain_text("on request · the shop moves")
    await expect(page.locator(".facts .state")).to_have_text("disabled")
    await stranger.upload("meanwhile.jpg", jpeg())
    await page.get_by_role("button", name="Enable").click()
    await confirm(page, "Enable", "it has moved")

    (request,) = await receiver.until(1)
    assert request.event["data"]["originalFilename"] == "meanwhile.jpg"
    await expect(row(page, "Last deliveries", "delivered, 200")).to_have_count(1)


async def test_events_are_replayed_from_a_position(
    stranger: Visitor, system: System, receiver: Receiver
) -> None:
    stranger.tolerated = ("status of 400",)
    webhook = await created(stranger, receiver)
    await stranger.upload("one.jpg", jpeg())
    (first,) = await receiver.until(1)
    page = await open_one(stranger, system, webhook)

    await page.get_by_role("button", name="Replay").click()
    await page.get_by_role("dialog").get_by_label("After the position").fill("nonsense")
    await confirm(page, "Replay", "the shop lost it")
    await expect(page.get_by_role("status")).to_contain_text("position")
    await page.get_by_role("button", name="Replay").click()
    await (
        page.get_by_role("dialog").get_by_label("After the position").fill(webhook["positions"][0])
    )
    await confirm(page, "Replay", "the shop lost it")

    _, again = await receiver.until(2)
    assert again.position == first.position


async def test_a_rotated_secret_is_shown_once_and_signs(
    stranger: Visitor, system: System, receiver: Receiver
) -> None:
    webhook = await created(stranger, receiver)
    page = await open_one(stranger, system, webhook)

    await page.get_by_role("button", name="Rotate secret").click()
    await page.get_by_role("dialog").get_by_role("button", name="Rotate secret").click()
    shown = page.get_by_role("dialog", name="The new secret")
    secret = await shown.locator("code").inner_text()
    await shown.get_by_role("button", name="Close").click()

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_text(secret)).to_have_count(0)
    await expect(page.get_by_role("button", name="Rotate secret")).to_be_focused()
    await stranger.upload("one.jpg", jpeg())
    (request,) = await receiver.until(1)
    assert secret != webhook["secret"]
    assert request.is_signed_by(secret)
    assert request.is_signed_by(webhook["secret"]), "receivers can change over"


async def test_an_auditor_sees_deliveries_and_no_buttons(
    stranger: Visitor, system: System, receiver: Receiver
) -> None:
    webhook = await created(stranger, receiver)
    await stranger.upload("one.jpg", jpeg())
    await receiver.until(1)

    page = await console(stranger, system, f"webhook?id={webhook['id']}", "auditor")

    await expect(row(page, "Last deliveries", "photo.uploaded")).to_have_count(1)
    for action in ("Disable", "Replay", "Rotate secret"):
        await expect(page.get_by_role("button", name=action)).to_have_count(0)


async def test_a_webhook_that_does_not_exist_is_an_error(stranger: Visitor, system: System) -> None:
    stranger.tolerated = ("status of 404",)

    page = await console(stranger, system, "webhook?id=nothing")

    await expect(page.get_by_role("status")).to_contain_text("There is no webhook")


async def test_webhooks_of_everyone_are_named_as_such(
    stranger: Visitor, system: System, receiver: Receiver
) -> None:
    headers = {"Authorization": f"Bearer {token_of(system, 'operator')}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, trust_env=False) as client:
        wish = {"url": receiver.url("/all"), "types": ["photo.erased"]}
        made = (await client.post("/api/webhooks", json=wish)).raise_for_status().json()
        try:
            page = await console(stranger, system, "webhooks")

            await expect(row(page, "Webhooks", receiver.url("/all"))).to_contain_text("everyone")
        finally:
            await client.delete(f"/api/webhooks/{made['id']}")
