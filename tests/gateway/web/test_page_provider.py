"""Signing in at an OpenID provider, in a real browser."""

import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from gateway.access.cookies import COOKIE
from ops.bench.system import System, running
from tests.gateway.openid.provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from tests.gateway.web.conftest import DEADLINE_MS
from tests.gateway.web.test_page_accessibility import violations
from tests.ports import free_port


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, port: int) -> Generator[OpenIdProvider]:
    folder: Path = tmp_path_factory.mktemp("provider")
    with OpenIdProvider(folder, f"http://localhost:{port}") as running_provider:
        running_provider.knows("ann", name="Ann Lee", preferred_username="ann")
        yield running_provider


@pytest.fixture(scope="module")
def system(provider: OpenIdProvider, port: int) -> Generator[System]:
    """A system whose provider is another site than its page, as in real life."""
    settings = {
        "ISSUER": provider.issuer,
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "PUBLIC_URL": f"http://localhost:{port}",
        "NAME": "Example Login",
        "RETRY_S": "0.1",
    }
    environment = {f"PHOTOLOG_OIDC_{name}": value for name, value in settings.items()}
    with running("--port", f"{port}", "--workers", "0", **environment) as system:
        yield system


@pytest.fixture
async def page(browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)

    async def refuse(route: Route) -> None:
        await route.abort()

    # The provider's forms name fonts of another site, and this machine may have no network.
    await context.route(re.compile(r"^https://"), refuse)
    yield await context.new_page()
    await context.close()


async def sign_in(page: Page, port: int) -> None:
    await page.goto(f"http://localhost:{port}/")
    await page.get_by_role("link", name="Sign in with Example Login").click()
    await page.get_by_placeholder("Enter any login").fill("ann")
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(f"http://localhost:{port}/")


@pytest.mark.usefixtures("system")
async def test_a_person_signs_in_and_out_at_the_provider(page: Page, port: int) -> None:
    await sign_in(page, port)

    await expect(page.locator("#who")).to_have_text("Ann Lee")
    cookies = {each.get("name"): each for each in await page.context.cookies()}
    assert cookies[COOKIE].get("sameSite") == "Strict"
    await page.reload()
    await expect(page.locator("#who")).to_have_text("Ann Lee")

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()
    await page.wait_for_url(f"http://localhost:{port}/")
    await expect(page.get_by_role("link", name="Sign in with Example Login")).to_be_visible()


@pytest.mark.usefixtures("system")
async def test_a_cancelled_sign_in_says_so_and_can_begin_again(page: Page, port: int) -> None:
    await page.goto(f"http://localhost:{port}/")
    await expect(page.get_by_role("link", name="Sign in with Example Login")).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("link", name="Sign in with Example Login").click()
    await page.get_by_role("link", name="[ Cancel ]").click()

    await expect(page.get_by_role("heading", name="Sign-in failed")).to_be_visible()
    assert await violations(page) == []
    await expect(page.locator("#why")).to_contain_text("the sign-in was cancelled")
    await page.get_by_role("link", name="Try again").click()
    await expect(page.get_by_placeholder("Enter any login")).to_be_visible()


@pytest.mark.usefixtures("system")
async def test_a_sign_out_at_the_provider_ends_the_session_here(
    page: Page, port: int, provider: OpenIdProvider
) -> None:
    await sign_in(page, port)
    await expect(page.locator("#who")).to_have_text("Ann Lee")
    elsewhere = await page.context.new_page()

    await elsewhere.goto(f"{provider.issuer}/session/end")
    await elsewhere.get_by_role("button", name="Yes, sign me out").click()

    await expect(page.get_by_role("link", name="Sign in with Example Login")).to_be_visible()
