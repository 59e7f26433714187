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
    await expect(visitor.waiting("notes.jpg").locator(".reason")).to_be_visible()
    await set_quota(visitor, system, **quota)

    await visitor.drop({"second.jpg": jpeg()})

    for name, text in (
        ("second.jpg", words),
        (
            "notes.jpg",
            f"none of the supported formats: {SUPPORTED}.",
        ),
    ):
        await expect(visitor.waiting(name).locator(".reason")).to_contain_text(text)
    assert await cut_off(page) == []


BOTH = """() => ["#order", ".month"].map(name => {
  const range = document.createRange();
  const element = document.querySelector(name);
  range[element.matches("h2") ? "selectNodeContents" : "selectNode"](element);
  const { left, right, top, bottom } = range.getBoundingClientRect();
  return [left, right, top, bottom];
})"""
"""Where the choice of the order is, and the text of the first month."""


@pytest.mark.parametrize("width", [320, 390, 520, 3840])
async def test_the_order_and_the_first_month_never_cover_each_other(
    visitor: Visitor, width: int
) -> None:
    page = visitor.page
    await page.evaluate("localStorage.setItem('photolog-language', 'de')")
    await page.set_viewport_size({"width": width, "height": 800})
    await page.reload()
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    await visitor.drop({f"{'x' * 196}.jpg": jpeg()})
    await expect(page.locator(".card")).to_have_attribute("data-status", "completed")

    (left, right, top, bottom), (start, end, first, last) = await page.evaluate(BOTH)

    assert end <= left or right <= start or last <= top or bottom <= first
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
