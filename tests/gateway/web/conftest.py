"""Fixtures for the page: a complete Photolog, a browser, and a person who uses both."""

import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, async_playwright, expect

from ops.bench.system import System, running
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor
from tests.servers import unavailable

CHROMIUM = Path("/usr/bin/chromium")
DEADLINE_MS = 20_000


@pytest.fixture(scope="package")
def system() -> Generator[System]:
    """One system of each test process, for all tests of the page; its webhooks reach loopback."""
    with running(PHOTOLOG_WEBHOOK_PRIVATE_ADDRESSES="127.0.0.0/8") as system:
        yield system


@pytest.fixture(scope="package")
async def browser() -> AsyncGenerator[Browser]:
    """One browser of each test process; every test has a context of its own."""
    if not CHROMIUM.exists():
        unavailable(f"no browser at {CHROMIUM}: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def stranger(system: System, browser: Browser) -> AsyncGenerator[Visitor]:
    """A person with a token who has not signed in yet."""
    client_id = f"client-{uuid.uuid4().hex[:8]}"
    token = mint(Settings(data=str(system.data)), client_id, "client", 3600)
    context = await browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
    context.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Listen from the start: the browser takes a while to report the first one.
    page.on("filechooser", lambda _: None)
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    async with httpx.AsyncClient(
        base_url=system.url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        trust_env=False,
        verify=False,
    ) as api:
        visitor = Visitor(url=system.url, token=token, page=page, api=api, errors=errors)
        yield visitor
    await context.close()
    unexpected = [e for e in errors if not any(part in e for part in visitor.tolerated)]
    assert unexpected == [], unexpected


@pytest.fixture
async def visitor(stranger: Visitor) -> Visitor:
    """A person who is signed in, with the page live."""
    await stranger.sign_in()
    return stranger
