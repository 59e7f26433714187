"""Uploads that outlive a page: what was chosen is remembered until it is safe on the server."""

from playwright.async_api import expect

from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera

UPLOADS = "**/api/photos/upload"

UNTIL_STORED = """async number => {
  const opened = request =>
    new Promise(resolve => (request.onsuccess = () => resolve(request.result)));
  for (;;) {
    const known = await indexedDB.databases();  // to open one that is missing would make it
    if (known.some(({ name }) => name === "photolog-uploads")) {
      const database = await opened(indexedDB.open("photolog-uploads"));
      const all = await opened(database.transaction("files").objectStore("files").getAll());
      database.close();
      if (all.filter(({ file }) => file).length === number) return;
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}"""
"""Wait until the browser remembers so many files. The browser driver waits for no promise."""


async def hold_one_back(visitor: Visitor) -> None:
    """Choose a file while uploads do not reach the server, and wait until it is remembered."""
    page = visitor.page
    visitor.tolerated = ("net::ERR",)
    await page.route(UPLOADS, lambda route: route.abort())
    await visitor.drop({"patient.jpg": jpeg()})
    await page.evaluate(UNTIL_STORED, 1)


async def test_a_reload_continues_an_upload(visitor: Visitor) -> None:
    await hold_one_back(visitor)

    await visitor.page.unroute(UPLOADS)
    await visitor.page.reload()

    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")
    await visitor.page.evaluate(UNTIL_STORED, 0)


async def test_another_tab_continues_what_a_closed_one_has_left(visitor: Visitor) -> None:
    first = visitor.page
    await hold_one_back(visitor)
    visitor.page = await first.context.new_page()
    await visitor.page.goto(visitor.url)
    await visitor.until_all_is_loaded()
    assert await visitor.cards.count() == 0

    await first.close()

    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")


async def test_files_wait_for_their_person_when_another_one_signs_in_on_the_same_page(
    visitor: Visitor, system: System
) -> None:
    page = visitor.page
    await hold_one_back(visitor)
    other = mint(Settings(data=str(system.data)), "another-person", "client", 3600)
    second = await page.context.new_page()
    await second.goto(f"{visitor.url}/#token={other}")
    await second.get_by_role("button", name="Sign in as another-person").click()
    await expect(page.locator("#who")).to_have_text("another-person")
    await second.close()

    await page.goto("about:blank")
    await page.unroute(UPLOADS)
    await visitor.sign_in()

    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")


async def test_the_tray_says_where_photos_went_and_shows_what_was_added_last(
    visitor: Visitor,
) -> None:
    page, tray = visitor.page, visitor.page.locator("#tray")
    await visitor.upload("newest.jpg", jpeg())
    await expect(visitor.card("newest.jpg")).to_have_attribute("data-status", "completed")
    await visitor.drop({"old.jpg": taken_with_a_camera(), "also.jpg": taken_with_a_camera()})
    await expect(tray).to_contain_text("2 photos uploaded")
    await expect(tray).to_contain_text("sorted in at the date on which it was taken")

    await tray.get_by_role("button", name="Show what was added last").click()

    await expect(page.get_by_role("combobox", name="Order")).to_have_value("uploaded")
    today = page.get_by_role("region", name="Today").locator(".name")
    await expect(today).to_have_count(3)
    await expect(today.last).to_have_text("newest.jpg")
    await expect(page.locator(".frame:focus")).to_be_in_viewport()


async def test_files_are_never_uploaded_as_another_person(visitor: Visitor, system: System) -> None:
    page = visitor.page
    await hold_one_back(visitor)
    other = mint(Settings(data=str(system.data)), "another-person", "client", 3600)

    await page.goto("about:blank")
    await page.context.clear_cookies()
    await page.goto(f"{visitor.url}/#token={other}")
    await page.get_by_role("button", name="Sign in as another-person").click()
    await expect(page.get_by_role("heading", name="No photos yet")).to_be_visible()
    assert await visitor.cards.count() == 0

    await page.goto("about:blank")
    await page.context.clear_cookies()
    await page.unroute(UPLOADS)
    await visitor.sign_in()
    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")
