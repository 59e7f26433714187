"""Operators of the console in a browser, and what they find there."""

import asyncio
import uuid
from typing import Any

import httpx
from playwright.async_api import Locator, Page, expect

from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor, jpeg

WIDTHS = (1280, 390)


def token_of(system: System, role: str) -> str:
    return mint(Settings(data=str(system.data)), f"{role}-of-console", role, 3600)


async def sign_in(page: Page, system: System, role: str) -> None:
    await page.goto(system.url)
    await page.get_by_label("Token").fill(token_of(system, role))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#connection")).to_have_text("Live")


async def console(stranger: Visitor, system: System, view: str, role: str = "operator") -> Page:
    """Sign in, and open the view of the console."""
    page = stranger.page
    await sign_in(page, system, role)
    await page.goto(f"{system.url}/console#{view}")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


async def confirm(page: Page, button: str, reason: str = "a test", **fields: str) -> None:
    """Fill the open dialog, and press its button."""
    dialog = page.get_by_role("dialog")
    for label, value in fields.items():
        await dialog.get_by_label(label).fill(value)
    await dialog.get_by_label("Reason").fill(reason)
    await dialog.get_by_role("button", name=button).click()
    await expect(dialog).to_have_count(0)


async def operations(system: System, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token_of(system, 'operator')}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, trust_env=False) as client:
        return (await client.post(f"/api/ops/{path}", json=body)).raise_for_status()


async def failed_photos(stranger: Visitor, count: int) -> list[str]:
    """Upload files that no decoder can read, and wait until their jobs have failed."""
    ids = [
        await stranger.upload(f"bad{n}.jpg", jpeg()[:20] + uuid.uuid4().bytes * 30)
        for n in range(count)
    ]
    for each in ids:
        await ended(stranger, each, "failed")
    return ids


async def ended(stranger: Visitor, photo_id: str, status: str = "completed") -> None:
    """Wait until the photo has the status; the read model may not know it yet."""
    while (await stranger.api.get(f"/api/photos/{photo_id}")).json().get(
        "processingStatus"
    ) != status:
        await asyncio.sleep(0.1)


async def drain(system: System, stage: str) -> None:
    """Pause the stage, and wait until no worker begins a task of it."""
    headers = {"Authorization": f"Bearer {token_of(system, 'operator')}"}
    async with httpx.AsyncClient(
        base_url=system.url, headers=headers, trust_env=False, timeout=40
    ) as client:
        path = f"/api/ops/queues/{stage}/drain"
        await client.post(path, json={"reason": "a test"})
        assert (await client.get(path, params={"seconds": 30})).json()["idle"]


def row(page: Page, region: str, text: str) -> Locator:
    return page.get_by_role("region", name=region).get_by_role("row").filter(has_text=text)
