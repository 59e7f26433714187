"""No text on the page is cut off or covered, on a phone or a desktop."""

import pytest
from playwright.async_api import Page, expect

from domain.photo.formats import SUPPORTED
from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor, jpeg

WIDTHS = pytest.mark.parametrize("width", [390, 1280])

CUT_OFF = """() => [...document.querySelectorAll("body *")]
  .filter(element => element.checkVisibility({ visibilityProperty: true }))
  .filter(element => [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .filter(element => !element.closest(".visually-hidden") && !element.title)
  .filter(element => {
    const page = document.documentElement.clientWidth;
    const { left, right } = element.getBoundingClientRect();
    return left < 0 || right > page || element.scrollWidth > element.clientWidth + 1
      && getComputedStyle(element).display !== "inline"
      || element.scrollHeight > element.clientHeight + 1 && getComputedStyle(element).overflowY
        !== "visible";
  })
  .map(element => `${element.className || element.id || element.tagName}: ${element.textContent}`)
"""
"""Find elements whose text overflows them or the page; a title shows a name in full."""


async def cut_off(page: Page) -> list[str]:
    return await page.evaluate(CUT_OFF)


async def set_quota(visitor: Visitor, system: System, **quota: int) -> None:
    operator = mint(Settings(data=str(system.data)), "operator", "operator", 3600)
    client_id = (await visitor.api.get("/api/me")).json()["identity"]["clientId"]
    answer = await visitor.api.put(
        f"/api/ops/clients/{client_id}/quota",
        json=quota,
        headers={"Authorization": f"Bearer {operator}"},
    )
    assert answer.status_code == 200, answer.text


@WIDTHS
@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({"photos": 1}, "Delete photos, or ask the operator for more."),
        ({"bytes": 10_002_000}, "Wait for jobs to end, delete photos, or ask the operator"),
    ],
)
async def test_the_reason_of_a_rejected_upload_is_fully_visible(
    visitor: Visitor, system: System, quota: dict[str, int], words: str, width: int
) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 800})
    visitor.tolerated = ("507", "415")
    await visitor.upload("first.jpg", jpeg())
    await expect(visitor.card("first.jpg")).to_have_attribute("data-status", "completed")
    await visitor.drop({"notes.jpg": b"these are only words"})
    await expect(visitor.card("notes.jpg").locator(".trouble-text")).to_be_visible()
    await set_quota(visitor, system, **quota)

    await visitor.drop({"second.jpg": jpeg()})

    for name, text in (
        ("second.jpg", words),
        (
            "notes.jpg",
            f"none of the supported formats: {SUPPORTED}.",
        ),
    ):
        await expect(visitor.card(name).locator(".trouble-text")).to_contain_text(text)
    assert await cut_off(page) == []
