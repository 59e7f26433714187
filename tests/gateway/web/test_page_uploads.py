"""Uploads that outlive a page: what was chosen is remembered until it is safe on the server."""

from playwright.async_api import expect

from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera

STORED = """async () => {
  const known = await indexedDB.databases();  // to open one that is missing would make it
  if (!known.some(({ name }) => name === "photolog-uploads")) return 0;
  return new Promise(resolve => {
    indexedDB.open("photolog-uploads").onsuccess = ({ target }) => {
      const all = target.result.transaction("files").objectStore("files").getAll();
      all.onsuccess = () => {
        target.result.close();
        resolve(all.result.filter(({ file }) => file).length);
      };
    };
  });
}"""


async def hold_one_back(visitor: Visitor) -> None:
    """Choose a file while uploads do not reach the server, and wait until it is remembered."""
    page = visitor.page
    visitor.tolerated = ("net::ERR",)
    await page.route("**/api/photos/upload", lambda route: route.abort())
    await visitor.drop({"patient.jpg": jpeg()})
    await page.wait_for_function(f"({STORED})().then(count => count === 1)")
    await page.unroute("**/api/photos/upload")


async def test_a_reload_continues_an_upload(visitor: Visitor) -> None:
    await hold_one_back(visitor)

    await visitor.page.reload()

    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")
    await visitor.page.wait_for_function(f"({STORED})().then(count => count === 0)")


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
    await visitor.sign_in()
    await expect(visitor.card("patient.jpg")).to_have_attribute("data-status", "completed")
