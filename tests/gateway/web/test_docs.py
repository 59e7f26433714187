"""The documentation page in a real browser."""

from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.async_playwright import (  # pyright: ignore[reportMissingTypeStubs]
    Axe,
)
from playwright.async_api import expect

from gateway.web.pages import POLICY
from tests.gateway.visitor import Visitor

WIDTHS = (1280, 390)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture
async def documents(stranger: Visitor) -> Visitor:
    """Someone without a token who has opened the page."""
    await stranger.page.goto(f"{stranger.url}/docs")
    await expect(stranger.page.get_by_role("heading", name="Live events")).to_be_visible()
    return stranger


async def test_every_operation_and_message_is_on_the_page(documents: Visitor) -> None:
    openapi = httpx.get(f"{documents.url}/schema/openapi.json", trust_env=False).json()
    asyncapi = httpx.get(f"{documents.url}/schema/asyncapi.json", trust_env=False).json()
    wanted = {
        operation["operationId"]
        for item in openapi["paths"].values()
        for operation in item.values()
    }
    wanted |= {f"message-{name}" for name in asyncapi["components"]["messages"]}
    wanted |= {f"schema-{name}" for name in openapi["components"]["schemas"]}

    shown = await documents.page.evaluate("[...document.querySelectorAll('.card')].map(e => e.id)")

    assert wanted <= set(shown)
    assert len(shown) == len(set(shown))


async def test_an_operation_shows_what_to_send_and_what_can_go_wrong(documents: Visitor) -> None:
    page = documents.page
    await page.get_by_label("Filter the contents").fill("delete")
    await page.get_by_role("link", name="Delete a photo").click()
    card = page.locator("#deletePhoto")

    await expect(card.get_by_role("table", name="Parameters")).to_contain_text("photoId")
    await expect(card.get_by_role("table", name="Errors")).to_contain_text("photo-not-found")
    await expect(card).to_contain_text(f"curl -X DELETE '{documents.url}/api/photos/")
    await expect(card).to_be_in_viewport()


@pytest.mark.parametrize(
    ("operation", "needed"),
    [
        (
            "listPhotos",
            "an API key or a signed-in browser with the scope photos.read.",
        ),
        (
            "createWebhook",
            "with the scopes events.read and photos.write, or events.read and ops.write.",
        ),
        ("getMe", "Needs a token, an API key or a signed-in browser."),
        ("getLiveness", "Needs no token."),
    ],
)
async def test_an_operation_shows_the_scopes_that_it_needs(
    documents: Visitor, operation: str, needed: str
) -> None:
    card = documents.page.locator(f"#{operation}")
    await card.locator("> summary").click()

    await expect(card).to_contain_text(needed)


async def test_an_address_with_a_name_opens_what_it_names(stranger: Visitor) -> None:
    page = stranger.page
    await page.goto(f"{stranger.url}/docs#schema-Photo")
    card = page.locator("#schema-Photo")

    await expect(card.get_by_role("table", name="Fields of Photo")).to_contain_text("blurhash")
    await card.get_by_role("link", name="Exposure").click()

    await expect(page.locator("#schema-Exposure")).to_contain_text("fNumber")


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_page_fits_its_window_and_is_accessible(documents: Visitor, width: int) -> None:
    page = documents.page
    await page.set_viewport_size({"width": width, "height": 900})
    for opened in ("uploadPhoto", "listPhotos", "message-roomEvent", "schema-PhotoUploaded"):
        await page.locator(f"#{opened} > summary").click()

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) == 0
    axe: Any = Axe()  # it has no types
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        found = await axe.run(page)
        assert found.violations_count == 0, f"{theme}: {found.generate_report()}"


async def test_a_link_that_was_cut_off_shows_the_documents(stranger: Visitor) -> None:
    await stranger.page.goto(f"{stranger.url}/docs#schema-%E2%82")

    await expect(stranger.page.get_by_role("heading", name="Live events")).to_be_visible()
    await expect(stranger.page.locator("#notice")).to_be_hidden()


async def test_the_page_loads_nothing_from_elsewhere(documents: Visitor) -> None:
    answer = httpx.get(f"{documents.url}/docs", trust_env=False)

    assert answer.headers["Content-Security-Policy"] == POLICY.format(links="")
    loaded = await documents.page.evaluate(
        "performance.getEntriesByType('resource').map(each => each.name)"
    )
    assert all(name.startswith(documents.url) for name in loaded), loaded
