"""The words of the page, and what it offers to whom."""

import uuid
from datetime import datetime, timedelta

import httpx
import pytest
from playwright.async_api import expect

from ops.bench.system import System
from ops.config.settings import Settings
from ops.runtime.tokens import mint
from tests.gateway.visitor import Visitor, jpeg

LONGER_THAN_A_NOTICE_MS = 10_000


async def sign_in_as(stranger: Visitor, system: System, role: str) -> str:
    """Sign in as a new client without photos; return its id."""
    name = f"{role}-{uuid.uuid4().hex[:8]}"
    token = mint(Settings(data=str(system.data)), name, role, 3600)
    await stranger.page.goto(f"{stranger.url}/#token={token}")
    await stranger.page.get_by_role("button", name="Sign in as").click()
    await expect(stranger.page.locator("#connection")).to_have_text("Live")
    return name


async def test_an_auditor_is_offered_no_changes(stranger: Visitor, system: System) -> None:
    page = stranger.page
    name = await sign_in_as(stranger, system, "auditor")
    photo_id = await stranger.upload("another's.jpg", jpeg())

    await expect(page.locator("#who")).to_have_text(f"{name}, auditor")
    await expect(page.locator("#own")).to_contain_text("This page shows only your own photos")
    await expect(page.get_by_role("heading", name="No photos of your own")).to_be_visible()
    await expect(page.get_by_role("button", name="photos")).to_have_count(0)
    await stranger.drop({"dropped.jpg": jpeg()})
    await expect(stranger.cards).to_have_count(0)
    await page.goto(f"{stranger.url}/#photo/{photo_id}")
    viewer = page.get_by_role("dialog", name="another's.jpg")
    await expect(viewer.get_by_role("link", name="Download original")).to_be_visible()
    for change in ("Process again", "Delete"):
        await expect(viewer.get_by_role("button", name=change)).to_have_count(0)


async def test_a_phone_shows_who_is_signed_in(stranger: Visitor, system: System) -> None:
    await stranger.page.set_viewport_size({"width": 390, "height": 844})
    name = await sign_in_as(stranger, system, "client")

    await expect(stranger.page.locator("#who")).to_be_hidden()
    await expect(stranger.page.get_by_role("main").get_by_text(name, exact=True)).to_be_visible()


async def test_an_operator_sees_whose_photos_these_are_and_may_add_some(
    stranger: Visitor, system: System
) -> None:
    name = await sign_in_as(stranger, system, "operator")

    await expect(stranger.page.locator("#who")).to_have_text(f"{name}, operator")
    await expect(stranger.page.locator("#own")).to_contain_text(
        "This page shows only your own photos"
    )
    await stranger.drop({"mine.jpg": jpeg()})
    await expect(stranger.card("mine.jpg")).to_have_attribute("data-status", "completed")


async def test_an_operator_without_photos_is_led_to_the_console(
    stranger: Visitor, system: System
) -> None:
    page = stranger.page
    await sign_in_as(stranger, system, "operator")

    await page.get_by_role("link", name="Open the console").click()

    await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


async def test_an_operator_looks_at_the_library_of_a_client(
    stranger: Visitor, system: System
) -> None:
    page = stranger.page
    photo_id = await stranger.upload("theirs.jpg", jpeg())
    client_id = (await stranger.get(photo_id))["clientId"]
    await sign_in_as(stranger, system, "operator")
    await page.get_by_role("link", name="All clients").click()
    await page.get_by_label("Id begins with").fill(client_id[:-1])
    await page.get_by_role("button", name="Show").click()
    await (
        page.get_by_role("row")
        .filter(has_text=client_id)
        .get_by_role("link", name="Library")
        .click()
    )

    await expect(page.locator("#own")).to_contain_text(f"the library of {client_id}")
    await expect(stranger.card("theirs.jpg")).to_be_visible()
    await stranger.upload("later.jpg", jpeg())
    await expect(stranger.card("later.jpg")).to_be_visible()
    await expect(page.get_by_role("button", name="Add photos")).to_have_count(0)
    await stranger.card("theirs.jpg").get_by_role("link").click()
    viewer = page.get_by_role("dialog", name="theirs.jpg")
    await expect(viewer.get_by_role("button", name="Delete")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.locator("#own")).to_contain_text(f"the library of {client_id}")


async def test_a_client_cannot_look_at_the_library_of_another(visitor: Visitor) -> None:
    await visitor.page.goto(f"{visitor.url}/?client=somebody-else")

    await expect(visitor.page.get_by_role("heading", name="No photos yet")).to_be_visible()
    await expect(visitor.page.locator("#own")).to_contain_text(
        "These are your own photos: only operators and auditors can see those of somebody-else."
    )


async def test_a_client_reads_nothing_about_other_clients(visitor: Visitor) -> None:
    await expect(visitor.page.locator("#own")).to_be_hidden()


async def test_the_delete_dialog_says_what_stays(visitor: Visitor) -> None:
    await visitor.upload("kept.jpg", jpeg())
    await visitor.card("kept.jpg").get_by_role("link").click()
    await visitor.page.get_by_role("button", name="Delete").click()

    dialog = visitor.page.get_by_role("dialog", name="Delete kept.jpg?")
    await expect(dialog).to_contain_text("The photo's history stays")
    await expect(dialog).to_contain_text("file name and place")
    await dialog.get_by_role("button", name="Keep photo").click()
    await expect(visitor.page.get_by_role("dialog", name="kept.jpg")).to_be_visible()


async def test_a_completed_photo_can_be_processed_again(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.upload("twice.jpg", jpeg())
    await expect(visitor.card("twice.jpg")).to_have_attribute("data-status", "completed")
    await visitor.card("twice.jpg").get_by_role("link").click()

    await page.get_by_role("button", name="Process again").click()

    await expect(page.locator("#notice")).to_contain_text("twice.jpg was processed again.")
    completed = page.locator('.story [data-type="photo.processing.completed"]')
    await expect(completed).to_have_count(2)
    await expect(page.get_by_role("button", name="Process again")).to_be_visible()


async def test_an_unreadable_file_is_named_as_the_problem(
    visitor: Visitor,
) -> None:
    await visitor.upload("empty.jpg", jpeg()[:20] + bytes(500))
    await expect(visitor.card("empty.jpg")).to_have_attribute("data-status", "failed")

    await visitor.card("empty.jpg").get_by_role("link").click()

    state = visitor.page.locator(".viewer-state")
    await expect(state).to_contain_text("The file itself is the problem")


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_failed_photo_shows_its_name_and_reason_in_the_grid_and_in_the_viewer(
    visitor: Visitor, width: int
) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": width, "height": 800})
    await visitor.upload("empty.jpg", jpeg()[:20] + bytes(500))
    card = visitor.card("empty.jpg")
    await expect(card).to_have_attribute("data-status", "failed")

    for text in (".trouble-name", ".trouble-text"):
        await expect(card.locator(text)).to_be_visible()
    reason = await card.locator(".trouble-text").inner_text()
    assert reason != ""
    frame, box = await card.bounding_box(), await card.locator(".trouble-text").bounding_box()
    assert frame is not None
    assert box is not None
    assert box["y"] + box["height"] <= frame["y"] + frame["height"]
    await card.get_by_role("link").click()
    await expect(page.locator(".wall-note")).to_contain_text(reason)
    await expect(page.locator(".wall-note")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "de"])
async def test_sentences_about_one_and_many_have_forms_of_their_own(
    stranger: Visitor, language: str
) -> None:
    """No text speaks of one photo or task as of several."""
    stranger.tolerated = ("status of 401",)
    await stranger.page.goto(stranger.url)
    same = await stranger.page.evaluate(SAME_FORMS, language)

    assert same == []


SAME_FORMS = r"""async language => {
  const texts = (await import(`/pages/texts/${language}.js`)).texts;
  const { words } = await import(`/pages/texts/console-${language}.js`);
  const [one, many] = [/\b1 (photos|tasks|Fotos|Aufgaben)\b/, /\b(their|them|these|sie|ihre)\b/i];
  const verbs = "are|have|were|sind|waren|können|laufen|warten|haben";
  const plurals = new RegExp(`\\b1 (photo|task|Foto|Aufgabe) (${verbs})\\b`);
  const found = [];
  const look = (path, value) => {
    if (typeof value === "object" && value) {
      for (const [name, each] of Object.entries(value)) look(`${path}.${name}`, each);
    } else if (typeof value === "function" && value.length > 0) {
      let said;
      try { said = value(1, 1, 1); } catch { return; }
      if (typeof said !== "string" || !/\b1 (photo|task|Foto|Aufgabe)/.test(said)) return;
      const isOfMany = one.test(said) || plurals.test(said);
      if (isOfMany || value.length === 1 && many.test(said)) found.push(`${path}: ${said}`);
    }
  };
  look("texts", texts);
  look("words", words);
  return found;
}"""
"""Call every text with 1 for each count, and find those that speak of several."""


async def test_the_history_names_a_past_day_once(visitor: Visitor) -> None:
    page = visitor.page
    photo = await visitor.upload("yesterday.jpg", jpeg())
    await expect(visitor.card("yesterday.jpg")).to_have_attribute("data-status", "completed")
    days = page.locator(".story .date")
    today = datetime.fromisoformat((await visitor.get(photo))["uploadedAt"])
    await page.clock.set_fixed_time(today)

    await visitor.card("yesterday.jpg").get_by_role("link").click()
    await expect(page.locator('.story [data-type="photo.processing.completed"]')).to_be_visible()
    await expect(days).to_have_count(0)
    await page.clock.set_fixed_time(today + timedelta(days=1))
    await page.reload()

    await expect(page.locator('.story [data-type="photo.processing.completed"]')).to_be_visible()
    await expect(days).to_have_count(1)
    await expect(page.locator(".story li").first.locator(".date")).to_be_visible()


async def test_an_unknown_address_leads_to_the_photos(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 404",)

    answer = await page.goto(f"{visitor.url}/nothing")

    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    await page.get_by_role("link", name="Go to your photos").click()
    await expect(page.locator("#connection")).to_have_text("Live")


@pytest.mark.parametrize("accept", ["*/*", "application/json", None])
async def test_a_program_gets_a_problem_instead_of_a_page(
    visitor: Visitor, accept: str | None
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    async with httpx.AsyncClient(base_url=visitor.url, trust_env=False) as client:
        answer = await client.get("/nothing", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_missing_photo_offers_one_way_back(visitor: Visitor) -> None:
    page = visitor.page
    visitor.tolerated = ("status of 404",)
    await visitor.upload("there.jpg", jpeg())

    await page.goto(f"{visitor.url}/#photo/nope")

    viewer = page.get_by_role("dialog", name="Photo not found")
    await expect(viewer.get_by_role("button")).to_have_text(["Show all photos"])
    await viewer.get_by_role("button", name="Show all photos").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await visitor.card("there.jpg").get_by_role("link").click()
    await expect(page.get_by_role("button", name="Next photo")).to_be_visible()


async def test_a_rejected_file_looks_like_a_failure(visitor: Visitor) -> None:
    visitor.tolerated = ("status of 415",)

    await visitor.drop({"notes.jpg": b"these are only words"})

    title = visitor.waiting("notes.jpg").locator("h3.bad")
    await expect(title).to_have_text("Not uploaded")
    await expect(title.locator(".icon")).to_be_visible()


async def test_files_dropped_offline_are_uploaded_once_online(
    visitor: Visitor,
) -> None:
    page = visitor.page
    visitor.tolerated = ("ERR_INTERNET_DISCONNECTED",)
    await visitor.until_all_is_loaded()
    await page.context.set_offline(True)
    await visitor.drop({"later.jpg": jpeg()})

    await expect(visitor.waiting("later.jpg").locator(".reason")).to_have_text(
        "Will be uploaded when the server is back."
    )
    await page.context.set_offline(False)

    await expect(visitor.card("later.jpg")).to_have_attribute("data-status", "completed")


async def process_again(visitor: Visitor) -> None:
    """Upload a photo, process it again, and wait for the notice about it."""
    page = visitor.page
    await visitor.upload("twice.jpg", jpeg())
    await expect(visitor.card("twice.jpg")).to_have_attribute("data-status", "completed")
    await visitor.card("twice.jpg").get_by_role("link").click()
    await page.get_by_role("button", name="Process again").click()
    await expect(page.locator("#notice")).to_contain_text("twice.jpg was processed again.")


async def test_a_passing_notice_disappears_but_not_while_it_has_the_focus(
    stranger: Visitor,
) -> None:
    page, notice = stranger.page, stranger.page.locator("#notice")
    await page.clock.install()
    await stranger.sign_in()

    await process_again(stranger)
    await notice.get_by_role("button", name="Dismiss").focus()
    await page.clock.fast_forward(LONGER_THAN_A_NOTICE_MS)
    await expect(notice).to_be_visible()
    await page.get_by_role("button", name="Delete").focus()
    await page.clock.fast_forward(LONGER_THAN_A_NOTICE_MS)

    await expect(notice).to_be_hidden()


async def test_a_click_on_a_passing_notice_hides_it(visitor: Visitor) -> None:
    await process_again(visitor)

    await visitor.page.get_by_text("twice.jpg was processed again.").click()

    await expect(visitor.page.locator("#notice")).to_be_hidden()


async def test_photos_uploaded_before_are_dismissed_together(visitor: Visitor) -> None:
    photos = {name: jpeg() for name in ("one.jpg", "two.jpg")}
    for name, data in photos.items():
        await visitor.upload(name, data)
    await visitor.drop(photos)

    group = visitor.waiting("one.jpg")
    await expect(group.get_by_role("listitem")).to_have_count(2)
    await group.get_by_role("button", name="Dismiss all").click()

    await expect(visitor.page.locator("#tray")).to_be_hidden()
    await expect(visitor.card("one.jpg")).to_have_count(1)
