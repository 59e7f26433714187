"""The language of the page: chosen by the browser, changed by the person, and remembered."""

import re

import pytest
from playwright.async_api import Browser, expect

from gateway.web.pages import FOLDER, pages
from tests.gateway.visitor import Visitor, jpeg

LETTERS = re.compile(r">\s*[^<\s][^<]*<")
ALLOWED_IN_HTML = ("Photolog", "This page needs JavaScript")


async def choose(visitor: Visitor, language: str) -> None:
    """Choose the language by the list in the bar, and wait for the page in it."""
    page = visitor.page
    await page.locator("#language").select_option(language)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator("#connection")).to_have_attribute("data-state", "live")


@pytest.mark.parametrize(
    ("locale", "language", "heading"),
    [
        ("en-US", "en", "Sign in"),
        ("de-AT", "de", "Anmelden"),
        ("ja-JP", "en", "Sign in"),
    ],
)
async def test_the_browser_decides_the_language(
    stranger: Visitor, browser: Browser, locale: str, language: str, heading: str
) -> None:
    context = await browser.new_context(locale=locale)
    page = await context.new_page()

    await page.goto(stranger.url)

    await expect(page.get_by_role("heading", name=heading)).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await context.close()


async def test_the_choice_of_the_person_is_remembered(visitor: Visitor) -> None:
    page = visitor.page

    await choose(visitor, "de")
    await page.reload()

    await expect(page.get_by_role("button", name="Abmelden")).to_be_visible()
    await expect(page.locator("#language")).to_have_value("de")
    await choose(visitor, "en")
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_a_photo_is_shown_in_german(visitor: Visitor) -> None:
    page = visitor.page
    await choose(visitor, "de")
    await visitor.drop({"eins.jpg": jpeg()})
    await expect(visitor.card("eins.jpg")).to_have_attribute("data-status", "completed")

    await visitor.card("eins.jpg").get_by_role("link").click()

    viewer = page.get_by_role("dialog", name="eins.jpg")
    await expect(viewer.get_by_role("link", name="Original herunterladen")).to_be_visible()
    history = viewer.get_by_role("list", name="Verlauf")
    await expect(history).to_contain_text("Verarbeitung abgeschlossen")
    await expect(history.locator("li").first).to_have_text(re.compile(r"^Hochgeladen, [\d,]+\skB"))
    await viewer.get_by_role("button", name="Löschen").click()
    await expect(page.get_by_role("dialog", name="eins.jpg löschen?")).to_be_visible()


async def test_a_failure_is_explained_in_german(visitor: Visitor) -> None:
    await visitor.upload("bad.jpg", jpeg()[:20] + bytes(500))
    await choose(visitor, "de")
    card, reason = visitor.card("bad.jpg"), visitor.card("bad.jpg").locator(".trouble-text")
    words = "Aus der Datei lässt sich kein Bild lesen."
    await expect(card).to_have_attribute("data-status", "failed")
    await expect(reason).to_have_text(words)
    await visitor.page.reload()  # what live events said is gone
    await expect(reason).to_have_text(words)
    assert await reason.get_attribute("title") not in (None, "", words)

    await card.get_by_role("link").click()

    await expect(visitor.page.locator(".wall-note")).to_contain_text(words)
    await expect(visitor.page.locator(".viewer-state")).to_contain_text(words)
    for kind in ("stage.failed", "failed"):
        event = visitor.page.locator(f'.story [data-type="photo.processing.{kind}"]')
        await expect(event).to_contain_text(words)


async def test_an_unknown_address_is_explained_in_the_language_of_the_person(
    visitor: Visitor,
) -> None:
    visitor.tolerated = ("status of 404",)
    await choose(visitor, "de")

    await visitor.page.goto(f"{visitor.url}/nothing")

    await expect(visitor.page.get_by_role("heading", name="Seite nicht gefunden")).to_be_visible()


def test_the_html_of_the_page_has_no_texts_of_its_own() -> None:
    body = pages()["index.html"].body.decode().split("<body", 1)[1]

    texts = [found.strip("<> \n") for found in LETTERS.findall(body)]

    assert [one for one in texts if not one.startswith(ALLOWED_IN_HTML)] == []


def test_each_module_takes_its_sentences_from_the_texts() -> None:
    sentence = re.compile(r"""["`][A-Z][a-z]+ [a-z][^"`]*["`]""")
    for path in FOLDER.glob("*.js"):
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert sentence.findall(code) == [], path.name
