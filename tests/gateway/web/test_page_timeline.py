"""The timeline: photos by date taken, of which only those near the window are in the page."""

import json

import pytest
from playwright.async_api import Page, expect

from ops.bench.filling import fill
from ops.bench.system import System
from tests.gateway.visitor import Visitor, jpeg, taken_with_a_camera

COUNT = 100_000
MOST_CARDS = 150

JUMP = """async fraction => {
  scrollTo(0, document.documentElement.scrollHeight * fraction);
  const isShown = () => {
    const cards = [...document.querySelectorAll(".card")].filter(card => {
      const { top, bottom } = card.getBoundingClientRect();
      return bottom > 60 && top < innerHeight;
    });
    return cards.length > 3 && cards.every(card => card.querySelector("canvas, .shown"));
  };
  do await new Promise(requestAnimationFrame); while (!isShown());
}"""

FIRST = """() => [...document.querySelectorAll(".card")]
  .map(card => [card.dataset.photoId, Math.round(card.getBoundingClientRect().top)])
  .filter(([, top]) => top > 60).sort((a, b) => a[1] - b[1])[0]"""


async def client_of(visitor: Visitor) -> str:
    return (await visitor.api.get("/api/me")).json()["identity"]["clientId"]


@pytest.fixture(params=[1280, 390])
async def large(stranger: Visitor, system: System, request: pytest.FixtureRequest) -> Visitor:
    """A person with 100,000 photos, on a desktop and on a phone."""
    await stranger.page.set_viewport_size({"width": request.param, "height": 800})
    await stranger.sign_in()
    for number, size in enumerate(((300, 200), (200, 300), (300, 225))):
        await stranger.upload(f"{number}.jpg", jpeg(size))
        await expect(stranger.card(f"{number}.jpg")).to_have_attribute("data-status", "completed")
    client_id = await client_of(stranger)
    fill(system, client_id, COUNT, latest="2024-06-30T18:00:00", every_s=2_700)
    await stranger.page.reload()
    await expect(stranger.page.locator(".thumbnail.shown").first).to_be_visible()
    # The first photos are shown before all days are known.
    await stranger.page.wait_for_function("() => document.documentElement.scrollHeight > 100_000")
    return stranger


async def first_shown(page: Page) -> tuple[str, int]:
    photo_id, top = await page.evaluate(FIRST)
    return photo_id, top


async def test_any_month_of_many_photos_is_shown_with_few_elements(
    large: Visitor,
) -> None:
    page = large.page
    for fraction in (0.5, 0.9, 0.2):
        await page.evaluate(JUMP, fraction)
        assert await large.cards.count() < MOST_CARDS

    await page.get_by_role("slider", name="Date").focus()
    await page.keyboard.press("End")
    await expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "December 2015")
    await page.keyboard.press("PageUp")
    await expect(page.get_by_role("heading", name="December 2016", exact=True)).to_be_in_viewport()


@pytest.fixture(params=[1280, 390])
async def years(stranger: Visitor, system: System, request: pytest.FixtureRequest) -> Visitor:
    """A person with two photos a month in 2011 and 2012, and one of today."""
    await stranger.page.set_viewport_size({"width": request.param, "height": 800})
    await stranger.sign_in()
    await stranger.upload("today.jpg", jpeg((300, 200)))
    await expect(stranger.card("today.jpg")).to_have_attribute("data-status", "completed")
    half_a_month_s = 1_314_900
    latest = "2012-12-28T12:00:00"
    fill(system, await client_of(stranger), 48, latest=latest, every_s=half_a_month_s)
    await stranger.page.reload()
    await expect(stranger.page.get_by_role("slider")).to_have_attribute("aria-valuemax", "24")
    return stranger


async def test_every_month_is_reached_by_key_and_stays_while_photos_load(years: Visitor) -> None:
    page, slider = years.page, years.page.get_by_role("slider", name="Date")
    await slider.focus()
    await page.keyboard.press("End")
    await expect(page.locator(".loading")).to_have_count(0)
    await expect(slider).to_have_attribute("aria-valuetext", "January 2011")
    passed = ["January 2011"]
    for at in range(23, -1, -1):
        await page.keyboard.press("ArrowUp")
        await expect(slider).to_have_attribute("aria-valuenow", str(at))
        passed.append(await slider.get_attribute("aria-valuetext") or "")
        heading = page.get_by_role("heading", name=passed[-1], exact=True)
        await expect(heading).to_be_in_viewport()
    assert len(set(passed)) == 25
    for at in range(1, 25):
        await page.keyboard.press("ArrowDown")
        await expect(slider).to_have_attribute("aria-valuenow", str(at))
        await expect(slider).to_have_attribute("aria-valuetext", passed[24 - at])

    await page.evaluate("scrollTo(0, 0)")
    await expect(slider).to_have_attribute("aria-valuenow", "0")
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await expect(slider).to_have_attribute("aria-valuenow", "24")


@pytest.mark.parametrize("years", [1280], indirect=True)
async def test_every_month_is_reached_by_pointer_and_both_ends_have_their_year(
    years: Visitor,
) -> None:
    page, slider = years.page, years.page.get_by_role("slider", name="Date")
    rail = await page.locator("#scrubber").bounding_box()
    assert rail is not None
    await expect(page.locator(".scrubber-years span").last).to_have_text("2011")
    reached: set[str | None] = set()
    await page.mouse.move(rail["x"] + 20, rail["y"])
    await page.mouse.down()
    for y in range(0, int(rail["height"]) + 1, 6):
        await page.mouse.move(rail["x"] + 20, rail["y"] + y)
        reached.add(await slider.get_attribute("aria-valuenow"))
    await page.mouse.move(rail["x"] + 20, rail["y"] + rail["height"] + 50)
    await page.mouse.up()

    assert reached == {str(at) for at in range(25)}
    await expect(slider).to_have_attribute("aria-valuetext", "January 2011")


async def test_a_month_that_was_gone_to_stays_while_the_day_above_it_gets_its_height(
    stranger: Visitor,
) -> None:
    stranger.tolerated = ("status of 401",)
    await stranger.page.goto(stranger.url)
    found = await stranger.page.evaluate(
        """async () => {
          const { Geometry } = await import("/pages/geometry.js");
          const { newSection } = await import("/pages/sections.js");
          const sections = ["2017-01-01", "2016-12-31"].map(key => newSection(key, 32));
          const geometry = new Geometry({ sections }, () => undefined, () => true);
          geometry.resize(1280);
          geometry.measure();
          const y = geometry.topOf(sections[1]);
          return geometry.anchorAt(y - 0.5, sections);
        }"""
    )
    assert found == {"key": "2016-12-31", "photoIds": [], "offset": 0.5}


async def test_new_photos_do_not_move_what_is_looked_at_and_a_reload_returns_to_it(
    large: Visitor,
) -> None:
    page = large.page
    await page.evaluate(JUMP, 0.4)
    await expect(page.locator(".loading")).to_have_count(0)
    before = await first_shown(page)

    await large.drop({f"new {number}.jpg": jpeg() for number in range(3)})
    await expect(page.locator("#tray")).to_contain_text("3 photos uploaded")
    photo_id, top = await first_shown(page)
    assert (photo_id, top) == (before[0], pytest.approx(before[1], abs=2))

    settled = f"() => history.state?.place?.anchor?.photoIds.includes({json.dumps(before[0])})"
    await page.wait_for_function(settled)
    await page.reload()
    await expect(page.locator(f'[data-photo-id="{before[0]}"]')).to_be_in_viewport()
    await page.locator(f'[data-photo-id="{before[0]}"]').get_by_role("link").click()
    await page.go_back()
    await expect(page.locator(f'[data-photo-id="{before[0]}"]')).to_be_in_viewport()


async def test_a_photo_moves_to_the_day_on_which_it_was_taken(visitor: Visitor) -> None:
    await visitor.upload("now.jpg", jpeg())
    await visitor.upload("then.jpg", taken_with_a_camera())

    then = visitor.page.locator('.day[data-day="2014-04-24"]')
    await expect(then.get_by_role("heading", name="April 2014", exact=True)).to_be_visible()
    await expect(then.locator(".name")).to_have_text("then.jpg")
    await visitor.page.get_by_role("combobox", name="Order").select_option("uploaded")
    today = visitor.page.get_by_role("region", name="Today")
    await expect(today.locator(".name")).to_have_text(["then.jpg", "now.jpg"])
    await visitor.page.reload()
    await expect(today.locator(".name")).to_have_text(["then.jpg", "now.jpg"])
