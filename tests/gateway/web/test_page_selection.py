"""Many photos at once: select, download, delete."""

import io
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import expect

from ops.bench.filling import fill
from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg


@pytest.mark.parametrize("width", [1280, 390])
async def test_selected_photos_are_downloaded_and_deleted_together(
    visitor: Visitor, width: int
) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 800})
    data = {f"{number}.jpg": jpeg() for number in range(5)}
    for name, each in data.items():
        await visitor.upload(name, each)
    await expect(page.locator('.card[data-status="completed"]')).to_have_count(5)

    await visitor.card("4.jpg").hover()
    await visitor.card("4.jpg").get_by_role("checkbox").click()
    await visitor.card("1.jpg").get_by_role("link").click(modifiers=["Shift"])
    bar = page.get_by_role("region", name="Selected photos")
    await expect(bar).to_contain_text("4 selected")
    async with page.expect_download() as download:
        await bar.get_by_role("button", name="Download").click()
    path: Path = await (await download.value).path()
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.read("4.jpg") == data["4.jpg"]
        assert len(archive.namelist()) == 5

    await visitor.card("4.jpg").get_by_role("link").click()
    await bar.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete 3 photos").click()
    await expect(page.locator("#notice")).to_contain_text("3 photos deleted.")
    await expect(page.locator("#notice")).to_have_attribute("data-tone", "plain")
    await expect(page.locator("#batch")).to_be_hidden()
    await expect(visitor.cards.locator(".name")).to_have_text(["4.jpg", "0.jpg"])


async def test_a_day_is_selected_with_the_keyboard_and_released_with_escape(
    visitor: Visitor,
) -> None:
    page = visitor.page
    for name in ("one.jpg", "two.jpg"):
        await visitor.upload(name, jpeg())
    await expect(page.locator('.card[data-status="completed"]')).to_have_count(2)

    await page.get_by_role("button", name="Select all photos of this day: Today").press("Enter")
    await expect(page.locator("#selection")).to_contain_text("2 selected")
    await visitor.card("one.jpg").get_by_role("link").press("Space")
    await expect(page.locator("#selection")).to_contain_text("1 selected")
    await page.keyboard.press("Escape")
    await expect(page.locator("#selection")).to_be_hidden()


FOCUSED = """() => document.activeElement.getAttribute("aria-label")
  || document.activeElement.textContent"""


async def test_the_keyboard_selects_all_photos_reaches_the_bar_and_deletes(
    visitor: Visitor, system: System
) -> None:
    page, bar = visitor.page, visitor.page.get_by_role("region", name="Selected photos")
    visitor.tolerated = ("status of 500",)  # of clones, whose files are those of the deleted photo
    await visitor.upload("today.jpg", jpeg())
    await expect(visitor.card("today.jpg")).to_have_attribute("data-status", "completed")
    client_id = (await visitor.api.get("/api/me")).json()["identity"]["clientId"]
    fill(system, client_id, 120, latest="2020-06-30T18:00:00", every_s=172_800)
    await page.reload()
    await expect(page.get_by_role("slider")).to_be_visible()

    await page.get_by_role("link", name="today.jpg").focus()
    await page.keyboard.press("Control+a")
    await expect(bar).to_contain_text("121 selected")
    assert await page.evaluate("getSelection().toString()") == ""
    await page.keyboard.press("Tab")
    assert await page.evaluate(FOCUSED) == "Clear the selection"
    await page.keyboard.press("Escape")
    await expect(bar).to_be_hidden()

    await page.get_by_role("link", name="today.jpg").press("Space")
    for name in ("Clear the selection", "Download", "Process again", "Delete"):
        await page.keyboard.press("Tab")
        assert await page.evaluate(FOCUSED) == name
    await page.get_by_role("link", name="today.jpg").press("Delete")
    dialog = page.get_by_role("dialog", name="Delete 1 photo?")
    await expect(dialog).to_contain_text("This removes the original and")
    await expect(dialog.get_by_role("button", name="Keep it")).to_be_visible()
    await dialog.get_by_role("button", name="Delete 1 photo").click()
    await expect(page.locator("#notice")).to_contain_text("1 photo deleted.")


async def test_a_photo_keeps_the_focus_while_the_days_are_loaded_again(
    visitor: Visitor,
) -> None:
    page = visitor.page
    await visitor.upload("today.jpg", jpeg())
    await expect(visitor.card("today.jpg")).to_have_attribute("data-status", "completed")
    photo = visitor.card("today.jpg").get_by_role("link")
    await photo.focus()
    await page.evaluate("window.before = document.querySelector('.day')")
    order = "document.querySelector('#order').dispatchEvent(new Event('change'))"
    await page.evaluate(order)
    await page.wait_for_function("() => !window.before.isConnected")
    await expect(photo).to_be_focused()


async def test_days_are_not_a_stop_of_the_tab_key_each(visitor: Visitor, system: System) -> None:
    page = visitor.page
    await visitor.upload("today.jpg", jpeg())
    await expect(visitor.card("today.jpg")).to_have_attribute("data-status", "completed")
    client_id = (await visitor.api.get("/api/me")).json()["identity"]["clientId"]
    fill(system, client_id, 60, latest="2020-06-30T18:00:00", every_s=172_800)
    await page.reload()
    await expect(page.locator(".day")).not_to_have_count(1)
    await expect(page.get_by_role("slider")).to_be_visible()

    await page.get_by_role("link", name="today.jpg").focus()
    await page.keyboard.press("Tab")
    assert await page.evaluate(FOCUSED) == "Date"
    await page.get_by_role("link", name="today.jpg").focus()
    await page.keyboard.press("ArrowDown")
    day = await page.evaluate("document.activeElement.closest('.day').dataset.day")
    assert day.startswith("2020-06")
    await page.keyboard.press("Shift+Tab")
    assert (await page.evaluate(FOCUSED)).startswith("Select all photos of this day")
    assert await page.evaluate("document.activeElement.closest('.day').dataset.day") == day
